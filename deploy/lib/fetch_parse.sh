# Parse Server and its JavaScript SDK, in one folder. Sourced by fetch.sh, after fetch_drivers.sh.

PARSE_VERSION=9.10.0

fetch_parse() {
    into "parse-$PARSE_VERSION" _fetch_parse "$PARSE_VERSION" || return 1
    provides TORANA_PARSE "$TORANA_CACHE/parse-$PARSE_VERSION"
}

# Parse Server brings the SDK of its own version along. Its batches find no route with a router later than 2.2.0.
_fetch_parse() {
    (cd "$2" && echo '{"private":true,"overrides":{"router":"2.2.0"}}' >package.json &&
        twice npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error \
            "parse-server@$1")
    [ -e "$2/node_modules/parse/node.js" ]
}
