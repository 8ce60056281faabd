# Builds the soaks that are written in Rust; sourced after soak.sh.
#
#   soak_build                   SOAK_PROGRAM: benches/soak, built for release; one that is set already is taken as it is

soak_build() {
    [ -z "${SOAK_PROGRAM:-}" ] || return 0
    step 'building the soak' cargo bench --no-run --quiet --manifest-path "$TORANA_REPO/Cargo.toml" --bench soak
    # torana itself is built beside it, and named too.
    SOAK_PROGRAM="$(cargo bench --no-run --quiet --manifest-path "$TORANA_REPO/Cargo.toml" --bench soak \
        --message-format=json | sed -n '/"kind":\["bench"\]/s/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)"
}
