# ZooKeeper and the Java that runs it, as Debian has them. Sourced by fetch.sh.

ZOOKEEPER_JAR=/usr/share/java/zookeeper.jar

_zookeeper_ready() { [ -e "$ZOOKEEPER_JAR" ] && command -v java >/dev/null; }

# Only the tests use it so far, so it is installed only when $1 says `tests`.
fetch_zookeeper() {
    # The package has no service: nothing is started by installing it.
    if [ "$1" = tests ] && ! _zookeeper_ready; then
        step 'installing zookeeper' apt_install zookeeper default-jre-headless || return 1
    fi
    if _zookeeper_ready; then
        provides TORANA_JAVA "$(command -v java)"
        provides TORANA_ZOOKEEPER_JAR "$ZOOKEEPER_JAR"
    fi
}
