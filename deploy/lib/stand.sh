# A stand to show or to strain torana on: a folder, a replica set on free ports, torana in front. Sourced by
# deploy/demo and the soaks, after fetch.sh.
#
#   stand_begin                  a folder of its own; whatever is started here ends with the script
#   stand_set [COUNT]            COUNT (3) mongods and one replSetInitiate: STAND_MEMBERS, STAND_MEMBER_PIDS, STAND_SET_URI
#                                (STAND_ELECTION_MS, exported: the election time-out, 5000)
#   stand_target                 a set of one, which nothing stands in front of: STAND_TARGET_URI
#   stand_zookeeper              one ZooKeeper server: STAND_ZOOKEEPER
#   stand_parse URI              Parse Server on a database: STAND_PARSE
#   stand_torana [ARGUMENT...]   torana, built for release, in front: STAND_READY, STAND_URI, STAND_ADMIN, STAND_TORANA_PID
#   stand_end                    ends all of it; called on exit by itself

stand_begin() {
    STAND="$(mktemp -d)"
    export STAND
    STAND_PIDS=()
    STAND_MEMBERS=()
    STAND_MEMBER_PIDS=()
    trap stand_end EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# By process id, in reverse: torana first, so that it does not look for its members.
stand_end() {
    local index pid
    end_group
    for ((index = ${#STAND_PIDS[@]} - 1; index >= 0; index--)); do
        pid="${STAND_PIDS[index]}"
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    STAND_PIDS=()
    rm -rf "$STAND"
}

# stand_start NAME PROGRAM...: in the background, its output in $STAND/NAME.log and .err; sets STAND_PID. The kernel
# ends it even if this script is killed, since bash cannot then.
stand_start() {
    local name="$1"
    shift
    setpriv --pdeathsig KILL -- "$@" >>"$STAND/$name.log" 2>>"$STAND/$name.err" </dev/null &
    STAND_PID=$!
    STAND_PIDS+=("$STAND_PID")
}

# stand_ports COUNT: sets STAND_PORT to the first of COUNT consecutive free ports. They are locked as those of the
# tests are (tests/support/ports.rs), so that both can run at once.
stand_ports() {
    local count="$1" port lock locks="${TMPDIR:-/tmp}/torana-ports" tries
    mkdir -p "$locks"
    for ((tries = 0; tries < 50; tries++)); do
        STAND_PORT="$("$TORANA_PY_CURRENT" "$TORANA_REPO/deploy/lib/free_ports.py" "$count")"
        for ((port = STAND_PORT; port < STAND_PORT + count; port++)); do
            exec {lock}>"$locks/$port"
            flock -n "$lock" || continue 2
        done
        return 0
    done
    die "no $count consecutive free ports"
}

stand_set() {
    local count="${1:-3}" index
    stand_ports "$count"
    for ((index = 0; index < count; index++)); do
        mkdir -p "$STAND/data-$index"
        stand_start "mongod-$index" "$TORANA_MONGOD_60" --replSet rs0 --bind_ip 127.0.0.1 --port $((STAND_PORT + index)) \
            --dbpath "$STAND/data-$index" --nounixsocket --oplogSize 256 --wiredTigerCacheSizeGB 0.25 \
            --setParameter enableTestCommands=1
        STAND_MEMBER_PIDS+=("$STAND_PID")
        STAND_MEMBERS+=("127.0.0.1:$((STAND_PORT + index))")
    done
    local list
    list="$(IFS=,; printf %s "${STAND_MEMBERS[*]}")"
    STAND_SET_URI="mongodb://$list/?replicaSet=rs0"
    step "starting a replica set on $list" "$TORANA_PY_CURRENT" "$TORANA_REPO/deploy/lib/initiate.py" "${STAND_MEMBERS[@]}"
}

stand_target() {
    stand_ports 1
    mkdir -p "$STAND/data-target"
    stand_start target "$TORANA_MONGOD_60" --replSet rs0 --bind_ip 127.0.0.1 --port "$STAND_PORT" --dbpath "$STAND/data-target" \
        --nounixsocket --oplogSize 256 --wiredTigerCacheSizeGB 0.25
    STAND_TARGET_URI="mongodb://127.0.0.1:$STAND_PORT/?replicaSet=rs0"
    step "starting another set on 127.0.0.1:$STAND_PORT" "$TORANA_PY_CURRENT" "$TORANA_REPO/deploy/lib/initiate.py" "127.0.0.1:$STAND_PORT"
}

stand_zookeeper() {
    stand_ports 1
    STAND_ZOOKEEPER="127.0.0.1:$STAND_PORT"
    mkdir -p "$STAND/zookeeper"
    printf '%s\n' "dataDir=$STAND/zookeeper" "clientPort=$STAND_PORT" clientPortAddress=127.0.0.1 tickTime=500 \
        maxClientCnxns=0 '4lw.commands.whitelist=srvr' >"$STAND/zoo.cfg"
    stand_start zookeeper "$TORANA_JAVA" -Xmx256m -XX:+UseSerialGC -Dzookeeper.admin.enableServer=false \
        -cp "$TORANA_ZOOKEEPER_JAR:$(dirname "$TORANA_ZOOKEEPER_JAR")/slf4j-simple.jar" \
        org.apache.zookeeper.server.ZooKeeperServerMain "$STAND/zoo.cfg"
    step "starting ZooKeeper on $STAND_ZOOKEEPER" _stand_await zookeeper "$STAND_PID" "$STAND_ZOOKEEPER" srvr Mode:
}

# Its keys are all `demo`.
stand_parse() {
    stand_ports 1
    local address="127.0.0.1:$STAND_PORT"
    STAND_PARSE="http://$address/parse"
    (cd "$STAND" && mkdir -p parse-logs)
    stand_start parse env PARSE_SERVER_LOGS_FOLDER="$STAND/parse-logs" \
        "$TORANA_NODE" "$TORANA_PARSE/node_modules/parse-server/bin/parse-server" --appId demo --masterKey demo \
        --databaseURI "$1" --host 127.0.0.1 --port "$STAND_PORT" --serverURL "$STAND_PARSE"
    step "starting Parse Server on $STAND_PARSE" _stand_await parse "$STAND_PID" "$address" \
        $'GET /parse/health HTTP/1.0\r\n\r\n' '"status":"ok"'
}

# _stand_await NAME PID HOST:PORT QUESTION ANSWER: until it says so.
_stand_await() {
    local name="$1" pid="$2" host="${3%:*}" port="${3##*:}" tries said
    for ((tries = 0; tries < 600; tries++)); do
        said="$( (exec 3<>"/dev/tcp/$host/$port" && printf '%s' "$4" >&3 && timeout 5 cat <&3) 2>/dev/null || true)"
        [[ "$said" != *"$5"* ]] || return 0
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "$name did not get ready; what it said:"
    tail -n 30 "$STAND/$name.log" "$STAND/$name.err"
    return 1
}

# The release build, for what is measured or shown; STAND_TORANA names another program, which is taken as it is.
stand_build() {
    [ -z "${STAND_TORANA:-}" ] || return 0
    STAND_TORANA="${CARGO_TARGET_DIR:-$TORANA_REPO/target}/release/torana"
    step 'building torana (release, some minutes the first time)' cargo build --release --quiet --manifest-path "$TORANA_REPO/Cargo.toml" --bin torana
}

stand_torana() {
    [ -n "${STAND_TORANA:-}" ] || stand_build
    # Eight listeners, for members that join later, and the admin endpoint.
    stand_ports 9
    STAND_ADMIN="127.0.0.1:$((STAND_PORT + 8))"
    stand_start torana "$STAND_TORANA" serve "$STAND_SET_URI" --listen "127.0.0.1:$STAND_PORT" --admin "$STAND_ADMIN" "$@"
    export STAND_TORANA_PID="$STAND_PID"
    step 'starting torana in front of it' _stand_await_ready
    STAND_READY="$(grep -m 1 '^torana ready:' "$STAND/torana.log")"
    local listeners
    listeners="$(grep -o '[^ ]*->' <<<"$STAND_READY" | sed 's/->$//' | paste -sd, -)"
    STAND_URI="mongodb://$listeners/?replicaSet=rs0"
}

_stand_await_ready() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        grep -q '^torana ready:' "$STAND/torana.log" && return 0
        if ! kill -0 "$STAND_TORANA_PID" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo 'torana did not get ready; its log:'
    cat "$STAND/torana.err"
    return 1
}
