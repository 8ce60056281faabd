#!/usr/bin/env bash
# Runs one driver's features directly and through the proxy, compares what it printed and searches it for leaks.
#
#   run.sh DRIVER DIRECT PROXY_URI MEMBERS [OUT]
#
#   DRIVER   pymongo-current pymongo-4.17 pymongo-3.13 node-current node-4.17 mongosh rust legacy
#   DIRECT   a connection string, or the file OUT/DRIVER.direct of an earlier run, to be compared with again
#   MEMBERS  real=proxy,real=proxy,... in the order of the set's configuration
#   OUT      folder of the outputs (default: a fresh one below ${TMPDIR:-/tmp})
#
# Where the drivers are: TORANA_PY_CURRENT, TORANA_PY_417, TORANA_PY_313 (executables), TORANA_NODE (executable),
# TORANA_NODE_CURRENT, TORANA_NODE_417, TORANA_NODE_LEGACY (folders with node_modules), TORANA_MONGOSH (executable).
# LEAKS=no leaves the search out, as for a direct run against itself; DRIVER_SECONDS_MAX bounds each run.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
SECONDS_MAX="${DRIVER_SECONDS_MAX:-240}"
DATABASE="${DRIVER_DATABASE:-torana_drivers}"

die() { echo "run.sh: $*" >&2; exit 2; }

with_node() { NODE_PATH="$1/node_modules" NODE_NO_WARNINGS=1 limited "${TORANA_NODE:-node}" "${@:2}"; }
limited() { timeout --kill-after 5 "$SECONDS_MAX" "$@"; }

# features URI: runs the driver's script.
features() {
    case "$driver" in
        pymongo-current) limited "$TORANA_PY_CURRENT" -W ignore "$HERE/pymongo/features.py" "$1" "$DATABASE" ;;
        pymongo-4.17) limited "$TORANA_PY_417" -W ignore "$HERE/pymongo/features.py" "$1" "$DATABASE" ;;
        pymongo-3.13) limited "$TORANA_PY_313" -W ignore "$HERE/pymongo/features.py" "$1" "$DATABASE" ;;
        node-current) with_node "$TORANA_NODE_CURRENT" "$HERE/node/features.js" "$1" "$DATABASE" ;;
        node-4.17) with_node "$TORANA_NODE_417" "$HERE/node/features.js" "$1" "$DATABASE" ;;
        legacy) with_node "$TORANA_NODE_LEGACY" "$HERE/legacy/features.js" "$1" "$DATABASE" ;;
        mongosh) mongosh_features "$1" ;;
        rust) limited "${TORANA_RUST_FEATURES:-$(rust_features)}" "$1" "$DATABASE" ;;
        *) die "no driver $driver" ;;
    esac
}

# In a home of its own, where it sends no telemetry and remembers nothing.
mongosh_features() {
    mkdir -p "$out/home/.mongodb/mongosh"
    echo '{"enableTelemetry":false,"disableGreetingMessage":true}' >"$out/home/.mongodb/mongosh/config"
    HOME="$out/home" TORANA_DRIVERS_DATABASE="$DATABASE" \
        limited "$TORANA_MONGOSH" "$1&monitorCommands=true" --quiet --norc --file "$HERE/mongosh/features.js"
}

rust_features() {
    cargo build --quiet --manifest-path "$HERE/rust/Cargo.toml" >&2
    echo "${CARGO_TARGET_DIR:-$HERE/rust/target}/debug/features"
}

[ $# -ge 4 ] || die "usage: run.sh DRIVER DIRECT PROXY_URI MEMBERS [OUT]"
driver="$1" direct="$2" proxied="$3" members="$4"
out="${5:-$(mktemp -d "${TMPDIR:-/tmp}/drivers.XXXXXX")}"
mkdir -p "$out"
export PYTHONDONTWRITEBYTECODE=1

if [ ! -f "$direct" ]; then
    features "$direct" >"$out/$driver.direct" ||
        die "$driver failed on the direct connection with $?, see $out/$driver.direct"
    direct="$out/$driver.direct"
fi
# Through the proxy a failure is a difference: the comparison shows where it stopped.
features "$proxied" >"$out/$driver.proxied" || echo "$driver ended with $? through the proxy"

status=0
python3 "$HERE/compare.py" "$direct" "$out/$driver.proxied" --members "$members" || status=1
[ "${LEAKS:-yes}" = no ] || python3 "$HERE/leaks.py" "$out/$driver.proxied" --members "$members" || status=1
echo "$driver: $([ $status = 0 ] && echo same || echo DIFFERENT) (outputs in $out)"
exit $status
