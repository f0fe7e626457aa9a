#!/usr/bin/env bash
# A trace of the demonstration's program, read by tools/trace_check.py, and by Perfetto's trace processor where there is one
# (PERFETTO_TRACE_PROCESSOR, or trace_processor_shell in PATH), and drawn by tools/trace2svg. What is not there is skipped by name.
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

"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Iinclude demo/hand/*.c -o "$work/hand" \
    -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries"
GOROUTINE_TRACE=$work/demo.json timeout 120 "$work/hand" 2000 >"$work/hand.txt" || fail "the demonstration with a trace (see $work/hand.txt)"
rm -f "$work"/demo.json.* # of its second runtime, which yields millions of times: as big as a trace can get
line=$(tools/trace_check.py "$work/demo.json" --slices 5000) || fail "$work/demo.json"
echo "traces: the demonstration: $line"

# A check that finds nothing would pass for ever.
broken() {
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
    case "no end": events = [e for e in events if e["name"] != "trace"]
json.dump(events, sys.stdout)
PYTHON
    ! tools/trace_check.py "$work/broken.json" >"$work/broken.txt" 2>&1 || fail "trace_check.py finds nothing wrong with $1"
    rm "$work/broken.json"
}
for what in "a slice that ends before it begins" "a slice that ends inside the next" "a flow from nowhere" \
    "a flow that leads to no slice" "a state that stays open" "no end"; do
    broken "$what"
done

processor=${PERFETTO_TRACE_PROCESSOR:-$(command -v trace_processor_shell || true)}
if [[ -z $processor ]]; then
    echo "skipped: Perfetto's trace processor reads the trace (no trace_processor_shell)"
else
    query="select count(*), min(dur), (select count(*) from stats where severity = 'error' and value > 0) from slice"
    answer=$("$processor" -q <(echo "$query;") "$work/demo.json" 2>/dev/null | tail -n 1)
    IFS=, read -r slices shortest errors <<<"$answer"
    [[ $slices -ge 5000 && $shortest -ge 0 && $errors -eq 0 ]] || fail "Perfetto's trace processor: $answer (slices, shortest, errors)"
    echo "traces: Perfetto's trace processor finds $slices slices, the shortest of $shortest ns"
fi

tools/trace2svg "$work/demo.json" -o "$work/demo.svg"
python3 - "$work/demo.svg" <<'PYTHON' || fail "the picture"
import sys, xml.dom.minidom
picture = xml.dom.minidom.parse(sys.argv[1])
boxes = [r for r in picture.getElementsByTagName("rect") if r.getElementsByTagName("title")]
texts = [t.firstChild.data for t in picture.getElementsByTagName("text")]
assert len(boxes) > 20, len(boxes)
assert any(t.startswith("gr-worker-") for t in texts), texts
assert all(float(b.getAttribute("width")) > 0 and float(b.getAttribute("height")) > 0 for b in boxes)
PYTHON
echo "traces: drawn in $work/demo.svg"
