#!/usr/bin/env bash
# Traces of the demonstration's program and of c_tests/test_trace.c, read by tools/trace_check.py, and by Perfetto's trace processor where
# there is one (PERFETTO_TRACE_PROCESSOR, trace_processor_shell in PATH, or what `make deps-trace` installs); the first one is drawn by
# tools/trace2svg. What is not there is skipped by name.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
work=$target/trace
mkdir -p "$work"
rm -f "$work"/*.json* "$work"/*.svg
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname

if ! command -v python3 >/dev/null; then
    echo "skipped: traces (no python3)"
    exit
fi

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

out=$target/foreign # for perfetto_of
# shellcheck source=tools/foreign-versions.sh
. tools/foreign-versions.sh
processor=()
if [[ -n ${PERFETTO_TRACE_PROCESSOR-} ]]; then
    processor=("$PERFETTO_TRACE_PROCESSOR")
elif command -v trace_processor_shell >/dev/null; then
    processor=(trace_processor_shell)
elif [[ -e $(perfetto_of)/trace_processor.wasm ]] && command -v node >/dev/null; then
    processor=(tools/trace_processor.js "$(perfetto_of)")
fi

# perfetto TRACE: what its trace processor finds in a trace.
perfetto() {
    timeout 120 "${processor[@]}" -q tools/trace_sums.sql "$1" 2>"$work/perfetto.txt" ||
        fail "Perfetto's trace processor on $1 (see $work/perfetto.txt)"
}

# same_sums NAME TRACE
same_sums() {
    local ours theirs
    ours=$(tools/trace_check.py "$2" --sums)
    theirs=$(perfetto "$2") || exit
    [[ $ours == "$theirs" ]] || fail "$1: Perfetto's trace processor finds $theirs, not $ours"
    echo "traces: $1: Perfetto's trace processor finds the same"
}

"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Iinclude demo/hand/*.c -o "$work/hand" \
    -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries"
GOROUTINE_TRACE=$work/demo.json timeout 120 "$work/hand" 2000 >"$work/hand.txt" || fail "the demonstration with a trace (see $work/hand.txt)"
rm -f "$work"/demo.json.* # of its second runtime, which yields millions of times: as big as a trace can get
line=$(tools/trace_check.py "$work/demo.json" --slices 5000) || fail "$work/demo.json"
echo "traces: the demonstration: $line"

"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -pthread -Iinclude c_tests/test_trace.c -o "$work/test_trace" \
    -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries"
timeout 120 "$work/test_trace" "$work/everything.json" || fail "test_trace.c, its trace"
line=$(tools/trace_check.py "$work/everything.json" --slices 30 --named receives --named blocks) || fail "$work/everything.json"
echo "traces: the C test: $line"

if [[ ${#processor[@]} -eq 0 ]]; then
    echo "skipped: Perfetto's trace processor reads the traces (not installed: make deps-trace)"
else
    same_sums "the demonstration" "$work/demo.json"
    same_sums "the C test" "$work/everything.json"
fi

# What of a trace is wrong in $work/broken.json.
break_it() {
    python3 - "$work/demo.json" "$1" >"$work/broken.json" <<'PYTHON'
import json, sys
events = json.load(open(sys.argv[1]))
slices = [e for e in events if e["ph"] == "X"]
tid = slices[0]["tid"]
slices = sorted((e for e in slices if e["tid"] == tid and "cat" not in e), key=lambda e: e["ts"])
def first(phase): return next(e for e in events if e["ph"] == phase)
match sys.argv[2]:
    case "a slice that ends before it begins": slices[10]["dur"] = -1.0
    case "a slice that ends inside the next": slices[10]["dur"] = slices[11]["ts"] + slices[11]["dur"] / 2 - slices[10]["ts"]
    case "a flow from nowhere": events.remove(first("s"))
    case "a flow that leads to no slice": first("f")["ts"] += 0.001
    case "a state that stays open": events.remove(first("e"))
    case "a state that is not what its slice stops for":
        next(e for e in events if e["ph"] == "b" and e["name"] == "waits: promise")["name"] = "waits: descriptor"
    case "a thread without a name": events.remove(next(e for e in events if e["name"] == "thread_name" and e["tid"] == tid))
    case "no end": events = [e for e in events if e["name"] != "trace"]
json.dump(events, sys.stdout)
PYTHON
}

# A check that finds nothing would pass for ever. Perfetto's finds what it looks for: not where exactly a flow ends, nor what states are called.
for what in "a slice that ends before it begins" "a slice that ends inside the next" "a flow from nowhere" \
    "a flow that leads to no slice" "a state that stays open" "a state that is not what its slice stops for" \
    "a thread without a name" "no end"; do
    break_it "$what"
    ! tools/trace_check.py "$work/broken.json" >"$work/broken.txt" 2>&1 || fail "trace_check.py finds nothing wrong with $what"
    case $what in *"to no slice" | *"stops for") continue ;; esac
    [[ ${#processor[@]} -ne 0 ]] || continue
    theirs=$(perfetto "$work/broken.json") || exit
    [[ $theirs != "$(tools/trace_check.py "$work/demo.json" --sums)" ]] || fail "Perfetto's trace processor finds nothing wrong with $what"
done
rm "$work/broken.json"

# Of a process that died: what was shown as open is, and nothing else is wrong.
if [[ ${#processor[@]} -ne 0 ]]; then
    head -c $(($(stat -c %s "$work/demo.json") / 2)) "$work/demo.json" >"$work/cut.json"
    theirs=$(perfetto "$work/cut.json") || exit
    IFS=, read -r shown on_threads _ open _ _ unnamed errors <<<"${theirs##*$'\n'}"
    [[ $on_threads -gt 1000 && $shown -gt $on_threads && $open -gt 0 && $open -le $((shown - on_threads)) && $unnamed -eq 0 && $errors -eq 0 ]] ||
        fail "Perfetto's trace processor on half a trace: $shown slices, $on_threads on threads, $open open, $unnamed unnamed, $errors errors"
    echo "traces: half a trace: Perfetto's trace processor finds $shown slices, $open open"
fi

tools/trace2svg "$work/demo.json" -o "$work/demo.svg"
tools/trace2svg "$work/everything.json" -o "$work/near.svg" --from 1 --to 1.06
python3 - "$work/demo.svg" "$work/near.svg" <<'PYTHON' || fail "the pictures"
import sys, xml.dom.minidom
picture = xml.dom.minidom.parse(sys.argv[1])
boxes = [r for r in picture.getElementsByTagName("rect") if r.getElementsByTagName("title")]
texts = [t.firstChild.data for t in picture.getElementsByTagName("text")]
assert len(boxes) > 20, len(boxes)
assert any(t.startswith("gr-worker-") for t in texts), texts
assert all(float(b.getAttribute("width")) > 0 and float(b.getAttribute("height")) > 0 for b in boxes)
times = [t.firstChild.data for t in xml.dom.minidom.parse(sys.argv[2]).getElementsByTagName("text") if t.getAttribute("text-anchor") == "middle"]
assert len(times) > 4 and len(set(times)) == len(times), times
PYTHON
echo "traces: drawn in $work/demo.svg"
