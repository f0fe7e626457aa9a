#!/usr/bin/env bash
# The proof matrix: a Go library inside Bun and Node.js, called directly and through libgoroutine; with every host, place and Go
# version that is installed (`make deps-hosts deps-go`; what is missing is reported by name as skipped). Usage: tools/hosts.sh [PATTERN]:
# only cases whose name, such as `bun-1.3.14 main direct vm go-1.27.3`, matches the regular expression.
#
# A way is none (no library at all: what the host does by itself), loop (the same, and its event loop turns afterwards), direct (what hosts
# do today), lane, bound, promises (through libgoroutine). A case passes when it does what it must:
#   none, loop, lane, bound, promises    end with status 0 and `ok`, within HOSTS_SECONDS (60)
#   direct                               is shown, whatever it does within HOSTS_DIRECT_SECONDS (15)
#   `must_hang`, below                   runs into that limit: the failure that libgoroutine is there for is a real one
# It prints a table in Markdown, and at the end `N passed, N failed, N skipped: hosts`.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$target/foreign
work=$out/hosts
log=$work/log
limit=${HOSTS_SECONDS:-60}
direct_limit=${HOSTS_DIRECT_SECONDS:-15}
pattern=${1-.}
rm -rf "$log"
mkdir -p "$log" "$out/log"
# shellcheck source=tools/foreign-versions.sh
. tools/foreign-versions.sh

# Bun up to 1.3.14 suspends its main thread with a signal whose handler must run on that thread's own stack: each of these does. And a worker of
# it whose script was interrupted never turns its event loop again, library or not; so nobody can ask for a promise there.
must_hang='^bun-1\.3\.14 (main direct (vm|wasm|profiler)|worker loop vm) '
loop_stands='^bun-1\.3\.14 worker promises vm '

places=(main worker)
ways=(none loop direct lane bound promises)
cases=(suite vm wasm profiler terminate)

[[ -e $target/release/libgoroutine.so ]] || cargo build --quiet --release --lib
ln -sfn libgoroutine.so "$target/release/libgoroutine.so.1" # the loader looks for the soname
export SUITE_ENVIRONMENT=seen LIBGOROUTINE=$target/release/libgoroutine.so NODE_ADDON=$work/addon.node
KOFFI=$(npm_of koffi "$koffi_version")
export KOFFI

skipped=0
skip() {
    echo "skipped: hosts: $1"
    skipped=$((skipped + 1))
}

# ---- Who is there ----

declare -A program # of a host: what its cases run
hosts=()
versions=("- $(uname -sr) on $(uname -m), $(ldd --version 2>&1 | sed -n 1p)")
for version in "${bun_versions[@]}"; do
    bun=$(bun_of "$version")
    if [[ -x $bun && $("$bun" --version) == "$version" ]]; then
        hosts+=("bun-$version")
        program[bun-$version]="$bun case.mjs bun"
        versions+=("- Bun $version, with bun:ffi")
    else
        skip "bun $version (make deps-hosts)"
    fi
done

# Shared by all workers, and never unloaded: threads of libgoroutine call it.
build_addon() {
    "${CC:-cc}" -std=gnu11 -O2 -g -Wall -Wextra -Werror -fPIC -shared -pthread -Iinclude -I"$(node_of)/include/node" \
        examples/foreign/hosts/addon.c -o "$NODE_ADDON" \
        -L"$target/release" -lgoroutine "-Wl,-rpath,$target/release" -Wl,-z,nodelete
}
node=$(node_of)/bin/node
if [[ ! -x $node || $("$node" --version) != "v$node_version" ]]; then
    skip "node $node_version, koffi $koffi_version (make deps-hosts)"
else
    build_addon
    hosts+=(node)
    program[node]="$node --expose-gc case.mjs node"
    versions+=("- Node.js $node_version, with an addon")
    if "$node" -e 'require(process.env.KOFFI)' 2>/dev/null; then
        hosts+=(koffi)
        program[koffi]="$node --expose-gc case.mjs koffi"
        versions+=("- Node.js $node_version, with koffi $koffi_version")
    else
        skip "koffi $koffi_version (make deps-hosts)"
    fi
fi

gos=()
for version in "${go_versions[@]}"; do
    status=0
    tools/go-suite.sh "$version" 2>"$out/log/suite-$version.log" || status=$?
    case $status in
    0)
        gos+=("$version")
        versions+=("- $("$(go_of "$version")" version)")
        ;;
    77) skip "go $version (make deps-go)" ;;
    *)
        cat "$out/log/suite-$version.log" >&2
        echo "FAILED: hosts: go $version: the library does not build"
        exit 1
        ;;
    esac
done

# ---- The cases ----

# run NAME PROGRAM...: one case. Its verdict is in a file beside its log.
run() {
    local name=$1 file=$log/${1// /_} seconds=$limit status=0 begin=$EPOCHSECONDS
    ! [[ $name == *' direct '* || $name =~ $must_hang ]] || seconds=$direct_limit
    # The outer redirection is for bash, which has its own word on a program that dies of a signal.
    {
        (cd examples/foreign/hosts && exec timeout --signal=KILL "$seconds" "${@:2}") </dev/null >"$file.log" 2>&1 || status=$?
    } 2>/dev/null
    if [[ $status -eq 0 && $(tail -n 1 "$file.log") == ok ]]; then
        echo ok
    elif [[ $status -eq 137 && $((EPOCHSECONDS - begin)) -ge $((seconds - 1)) ]]; then # timeout dies of its signal, too
        echo hangs
    elif [[ $status -gt 128 ]]; then
        echo "SIG$(kill -l $((status - 128)))"
    else
        echo "fails ($status)"
    fi >"$file.verdict"
}

list=()
declare -A cell # "HOST PLACE WAY CASE": "GO verdict" of each, by lines
for host in "${hosts[@]}"; do
    for place in "${places[@]}"; do
        for way in "${ways[@]}"; do
            for case in "${cases[@]}"; do
                [[ "$way $case" != @(none|loop)" suite" ]] || continue
                with=("${gos[@]/#/go-}")
                [[ $way != @(none|loop) ]] || with=(-)
                for go in "${with[@]}"; do
                    name="$host $place $way $case $go"
                    if ! [[ $name =~ $pattern ]]; then
                        continue
                    elif [[ $name =~ $loop_stands ]]; then
                        skip "$name (the host's own loop stands still then: see loop)"
                        cell["$host $place $way $case"]+="$go not asked"$'\n'
                    else
                        list+=("$name")
                    fi
                done
            done
        done
    done
done
if [[ ${#list[@]} -eq 0 ]]; then
    echo "0 passed, 0 failed, $skipped skipped: hosts"
    [[ $pattern == . ]] || { echo "hosts.sh: nothing is called like $pattern" >&2 && exit 2; }
    exit
fi

begin=$SECONDS
ulimit -c 0
running=0
for name in "${list[@]}"; do
    read -r host place way case go <<<"$name"
    if [[ $running -eq 2 ]]; then
        wait -n
    else
        running=$((running + 1))
    fi
    # shellcheck disable=SC2086 # a command with its arguments
    run "$name" ${program[$host]} "$way" "$place" "$case" "$out/suite-${go#go-}/libsuite.so" &
done
wait
took=$((SECONDS - begin))

# ---- What came of it ----

passed=0
failed=0
declare -A direct # how many of each verdict
failures=()
for name in "${list[@]}"; do
    read -r host place way case go <<<"$name"
    verdict=$(<"$log/${name// /_}.verdict")
    cell["$host $place $way $case"]+="$go $verdict"$'\n'
    must=ok
    if [[ $name =~ $must_hang ]]; then
        must=hangs
    elif [[ $way == direct ]]; then
        direct[$verdict]=$((${direct[$verdict]:-0} + 1))
        continue
    fi
    if [[ $verdict == "$must" ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("FAILED: hosts: $name: $verdict, and must be: $must")
    fi
done

# show CELL: the verdict, and where the Go versions differ, each one's.
show() {
    local go verdict all
    [[ -n ${cell[$1]-} ]] || { echo "" && return; }
    all=$(sort -uk 2 <<<"${cell[$1]%$'\n'}")
    if [[ $(wc -l <<<"$all") -eq 1 ]]; then
        verdict=${all#* }
        [[ $verdict == @(ok|not asked) ]] || verdict="**$verdict**"
        echo "$verdict"
        return
    fi
    while read -r go verdict; do
        [[ $verdict == ok ]] || verdict="**$verdict**"
        echo "${go#go-} $verdict"
    done <<<"${cell[$1]%$'\n'}" | paste -sd, | sed 's/,/, /g'
}

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit+=" with changes"
printf '%s\n' "libgoroutine $(sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -n 1), commit $commit:" "" "${versions[@]}" ""
echo "| host | thread | way | ${cases[*]} |" | sed -E 's/ (suite|vm|wasm|profiler|terminate)/ | \1/g; s/way \| \|/way |/'
echo "|---|---|---|---|---|---|---|---|"
for host in "${hosts[@]}"; do
    for place in "${places[@]}"; do
        for way in "${ways[@]}"; do
            row="| $host | $place | $way |"
            some=
            for case in "${cases[@]}"; do
                shown=$(show "$host $place $way $case")
                some+=$shown
                row+=" $shown |"
            done
            [[ -z $some ]] || echo "$row"
        done
    done
done
echo
for verdict in "${!direct[@]}"; do echo "direct, but for those that must hang: ${direct[$verdict]} $verdict"; done | sort
echo "$took s, ${#list[@]} cases, two at a time"
if ((failed > 0)); then
    printf '%s\n' "${failures[@]}"
    for name in "${list[@]}"; do
        file=$log/${name// /_}
        [[ "${failures[*]}" != *" $name: "* ]] || { echo "-- $name" && tail -n 20 "$file.log"; } >&2
    done
fi
echo "$passed passed, $failed failed, $skipped skipped: hosts"
((failed == 0))
