# Words that every script of deploy/ says: progress lines, checks, one lock. Sourced, never run.
# It changes nothing of the shell that sources it but these functions and two variables.

TORANA_CACHE="${TORANA_CACHE:-${HOME:-/root}/.cache/torana}"
TORANA_REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

# die TEXT: what was wrong, on standard error, and out.
die() {
    printf 'torana: %s\n' "$*" >&2
    exit 1
}

# step NAME COMMAND...: one line of progress on standard error, "NAME ... ok, 4 s".
# What the command prints is shown only if it fails, because package clients talk a lot.
# The command runs in a subshell with errexit, so that its first failing line ends it.
step() {
    local name="$1" started="$SECONDS" log status=0
    shift
    log="$(mktemp)"
    printf '%s ... ' "$name" >&2
    # A background job, since bash ignores errexit in whatever stands in a condition.
    (set -euo pipefail; "$@") >"$log" 2>&1 </dev/null &
    wait "$!" || status=$?
    if [ "$status" = 0 ]; then
        printf 'ok, %d s\n' "$((SECONDS - started))" >&2
    else
        printf 'failed after %d s\n' "$((SECONDS - started))" >&2
        tail -n 40 "$log" >&2
    fi
    rm -f "$log"
    return "$status"
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
