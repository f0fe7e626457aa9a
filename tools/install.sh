#!/usr/bin/env bash
# tools/install.sh install|uninstall PREFIX LIBDIR DESTDIR: called by the Makefile. Builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -ne 4 || $2 != /* || $3 != /* ]]; then
    echo "usage: tools/install.sh install|uninstall PREFIX LIBDIR DESTDIR (PREFIX and LIBDIR absolute)" >&2
    exit 2
fi
verb=$1 prefix=$2 libdir=$3 root=$4
built=${CARGO_TARGET_DIR:-target}/release
version=$(sed -nE '0,/^version/s/^version = "(.*)"$/\1/p' Cargo.toml)
include=$prefix/include
cmake=$libdir/cmake/goroutine
licences=$prefix/share/licenses/goroutine

if [[ $verb == uninstall ]]; then
    for header in include/*.h include/*.hpp; do
        rm -f "$root$include/$(basename "$header")"
    done
    rm -f "$root$libdir"/libgoroutine.{a,so,so.1,"so.$version"} "$root$libdir/pkgconfig/goroutine.pc"
    rm -f "$root$cmake"/goroutineConfig{,Version}.cmake "$root$licences"/LICENSE-{MIT,APACHE}
    rmdir --ignore-fail-on-non-empty "$root$cmake" "$root$licences" 2>/dev/null || true
    exit
fi

# from_template NAME DIRECTORY. Paths below the prefix are written in terms of it, so that pkg-config can move it.
from_template() {
    sed -e "s|@PREFIX@|$prefix|" -e "s|@LIBDIR@|${libdir/#"$prefix"\//\$\{prefix\}/}|" -e "s|@VERSION@|$version|" \
        -e "s|@MAJOR@|${version%%.*}|" -e "s|@NATIVE_LIBS@|$(<tools/native-libs.txt)|" \
        -e "s|@INCLUDE_FROM_LIBDIR@|$(realpath -m --relative-to "$libdir" "$include")|" \
        "tools/$1.in" >"$root$2/$1"
    chmod 644 "$root$2/$1"
}

install -d "$root$include" "$root$libdir/pkgconfig" "$root$cmake" "$root$licences"
for header in include/*.h include/*.hpp; do
    [[ ! -e $header ]] || install -m 644 "$header" "$root$include"
done
install -m 755 "$built/libgoroutine.so" "$root$libdir/libgoroutine.so.$version"
ln -sf "libgoroutine.so.$version" "$root$libdir/libgoroutine.so.1"
ln -sf libgoroutine.so.1 "$root$libdir/libgoroutine.so"
install -m 644 "$built/libgoroutine.a" "$root$libdir"
install -m 644 LICENSE-MIT LICENSE-APACHE "$root$licences"
from_template goroutine.pc "$libdir/pkgconfig"
from_template goroutineConfig.cmake "$cmake"
from_template goroutineConfigVersion.cmake "$cmake"
