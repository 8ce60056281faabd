# What soaks share; sourced as `. "$TORANA_SOAK_LIB"`.
#
#   soak_stand [ARGUMENT...]     a set of three with torana in front of it, torana started with these arguments
#   figure NAME VALUE [UNIT]     a line of the result, in one form for all soaks
#   soak_fails TEXT              says what was found, and ends with status 1
set -euo pipefail
. "$TORANA_REPO/deploy/lib/common.sh"
. "$TORANA_REPO/deploy/lib/stand.sh"

soak_stand() {
    stand_begin
    stand_build
    stand_set 3
    stand_torana "$@"
}

figure() { printf 'figure %s: %s%s\n' "$1" "$2" "${3:+ $3}"; }

soak_fails() {
    printf 'found: %s\n' "$*"
    [ -z "${STAND:-}" ] || tail -n 40 "$STAND/torana.err" 2>/dev/null || true
    exit 1
}
