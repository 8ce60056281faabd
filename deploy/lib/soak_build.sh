# Builds the soaks that are written in Rust; sourced after soak.sh.
#
#   soak_build                   SOAK_PROGRAM: benches/soak, built for release

soak_build() {
    step 'building the soak' cargo bench --no-run --quiet --manifest-path "$TORANA_REPO/Cargo.toml" --bench soak
    SOAK_PROGRAM="$(cargo bench --no-run --quiet --manifest-path "$TORANA_REPO/Cargo.toml" --bench soak \
        --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)"
}
