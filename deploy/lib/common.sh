# Words that every script of deploy/ says: progress lines, checks, one lock. Sourced, never run.

# Some runners start without HOME; cargo and npm then look into the password file too.
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
TORANA_CACHE="${TORANA_CACHE:-${HOME:?}/.cache/torana}"
TORANA_REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export TORANA_CACHE TORANA_REPO

# die TEXT: what was wrong, on standard error, and out.
die() {
    printf 'torana: %s\n' "$*" >&2
    exit 1
}

# step NAME COMMAND...: one line of progress on standard error, "NAME ... ok, 4 s".
# What the command prints is shown only if it fails, because package clients talk a lot.
# A function given runs in a fresh bash with errexit, so that its first failing line ends it: in this one errexit
# is ignored wherever a caller looks at the status. It sees exported variables only.
step() {
    local name="$1" started="$SECONDS" log status=0
    shift
    log="$(mktemp)"
    STEP_LOG="$log"
    printf '%s ... ' "$name" >&2
    in_group bash -euo pipefail -c "$(declare -f)"$'\n"$@"' "$1" "$@" >"$log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        printf 'ok, %d s\n' "$((SECONDS - started))" >&2
    else
        printf 'failed after %d s\n' "$((SECONDS - started))" >&2
        tail -n 40 "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

# in_group COMMAND...: runs it in the background in a process group of its own and waits. bash handles a signal only
# once a foreground command has ended. A trap that calls end_group ends it with all that it started.
IN_GROUP=
in_group() {
    local status=0
    set -m
    "$@" </dev/null &
    IN_GROUP=$!
    set +m
    wait "$IN_GROUP" || status=$?
    IN_GROUP=
    return "$status"
}

end_group() {
    rm -f "${STEP_LOG:-}"
    [ -n "$IN_GROUP" ] || return 0
    kill -TERM -- "-$IN_GROUP" 2>/dev/null || true
    wait "$IN_GROUP" 2>/dev/null || true
    IN_GROUP=
}

# twice COMMAND...: once more after a failure, for registries that hiccup.
twice() {
    "$@" || { sleep 2; "$@"; }
}

# into FOLDER FUNCTION...: makes $TORANA_CACHE/FOLDER by running FUNCTION with a temporary folder as its
# last argument, then renames it, so that a cache never holds half of anything. Does nothing if it is there.
into() {
    local target="$TORANA_CACHE/$1" making
    shift
    [ -e "$target" ] && return 0
    making="$(mktemp -d "$TORANA_CACHE/.making.XXXXXX")"
    step "fetching ${target##*/}" "$@" "$making" || { rm -rf "$making"; return 1; }
    chmod 755 "$making"
    mv -T "$making" "$target"
}

# apt_install PACKAGE...: system wide, so only for what Debian is asked to have anyway.
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    twice apt-get -q -o DPkg::Lock::Timeout=300 update
    twice apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}
