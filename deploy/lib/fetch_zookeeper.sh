# ZooKeeper and the Java that runs it, as Debian has them. Sourced by fetch.sh.

ZOOKEEPER_JAR=/usr/share/java/zookeeper.jar

_zookeeper_ready() { [ -e "$ZOOKEEPER_JAR" ] && command -v java >/dev/null; }

fetch_zookeeper() {
    # The package has no service: nothing is started by installing it.
    _zookeeper_ready || step 'installing zookeeper' apt_install zookeeper default-jre-headless || return 1
    provides TORANA_JAVA "$(command -v java)"
    provides TORANA_ZOOKEEPER_JAR "$ZOOKEEPER_JAR"
}
