#!/usr/bin/env bash
# Builds examples/foreign/go into target/foreign/suite-VERSION/libsuite.so with one of the Go versions that deps.sh installs.
# Status 77: that version is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/foreign
# shellcheck source=tools/foreign-versions.sh
. tools/foreign-versions.sh

go=$(go_of "$version")
suite=$out/suite-$version/libsuite.so
[[ -x $go ]] || { echo "go-suite.sh: Go $version is not installed: make deps-go" >&2 && exit 77; }
if [[ ! -e $suite || -n $(find examples/foreign/go -newer "$suite") ]]; then
    cd examples/foreign/go
    env -u GOFLAGS GOTOOLCHAIN=local CGO_ENABLED=1 CC="${CC:-cc}" GOCACHE="$out/go-cache" GOPATH="$out/go-path" \
        "$go" build -buildmode=c-shared -trimpath -o "$suite" .
fi
