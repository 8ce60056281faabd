#!/usr/bin/env bash
# Makes everything real that torana is tested against available in a cache folder: mongods, drivers, mongosh, Parse
# Server, ZooKeeper.
#
#   . deploy/lib/fetch.sh && torana_fetch [tests]     in a script: fetches what is missing, exports the TORANA_* variables
#   deploy/lib/fetch.sh [tests]                       by hand: the same, printing the variables as export lines
#
# `tests` adds what only the tests use and takes minutes to build.
#
# It needs Debian 12, root (to install Debian packages that are missing) and the package registries, nothing else.
# The cache is ${TORANA_CACHE:-$HOME/.cache/torana}; each part appears there by one rename, and a lock lets two
# runs at once wait for each other. The variables stand in env.sh of the cache too, where the tests find them.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$TORANA_REPO/deploy/lib/fetch_mongod.sh"
. "$TORANA_REPO/deploy/lib/fetch_drivers.sh"
. "$TORANA_REPO/deploy/lib/fetch_parse.sh"
. "$TORANA_REPO/deploy/lib/fetch_zookeeper.sh"

# provides NAME VALUE: exports it, and remembers it for env.sh.
provides() {
    [ -e "$2" ] || die "$1 should be $2, which is missing: remove its folder and fetch again"
    export "$1=$2"
    _provided+="export $1='$2'"$'\n'
}

torana_fetch() {
    local lock status=0
    mkdir -p "$TORANA_CACHE"
    exec {lock}>"$TORANA_CACHE/.lock"
    flock -n "$lock" || step 'waiting for another fetch to end' flock -w 1800 "$lock"
    _fetch_all "${1:-}" || status=$?
    exec {lock}>&-
    [ "$status" = 0 ] || die "fetching failed, see above; what was fetched before stays in $TORANA_CACHE"
}

_fetch_all() {
    # Whoever holds the lock is alone: what a run that was killed left half made can go.
    rm -rf "$TORANA_CACHE"/.making.*
    _provided=''
    fetch_python && fetch_mongods && fetch_node && fetch_rust_features "$1" || return 1
    fetch_parse && fetch_zookeeper || return 1
    printf '%s' "$_provided" >"$TORANA_CACHE/.env.sh.new"
    mv "$TORANA_CACHE/.env.sh.new" "$TORANA_CACHE/env.sh"
}

# The yardstick of the benches, and of nothing else: not part of torana_fetch.
torana_fetch_haproxy() {
    command -v haproxy >/dev/null || step 'installing haproxy' apt_install haproxy
    export TORANA_HAPROXY="$(command -v haproxy)"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    trap end_group EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    torana_fetch "$@"
    cat "$TORANA_CACHE/env.sh"
fi
