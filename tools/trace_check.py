#!/usr/bin/env python3
"""Reads a trace as its viewers do, and says what they would stumble over. Usage: trace_check.py FILE [--slices N] [--named NAME]... [--sums]

The rules are those of the trace event format, which Perfetto's and Chrome's importers share:
  - the file is a JSON array of objects, each with ph, pid, tid, name, and but for metadata ts;
  - on each thread's track slices lie one after the other or one inside the other, and none ends before it begins;
  - asynchronous slices (ph b, e) of one id and category are closed innermost first, in the order of their times;
  - where a goroutine's track says that it waits, the slice that ends there stops for the same;
  - each flow has one begin (ph s), inside a slice, and one end (ph f), at a slice's begin, not before it;
  - the last event tells how many events the trace has and how many are missing.
Prints a line of sums; with --sums what tools/trace_sums.sql finds in Perfetto's tables. Exit status 1: something is wrong, and what.
"""

import argparse
import collections
import json
import sys


def ns(event, key="ts"):
    """Microseconds with three decimals, exactly."""
    return round(event[key] * 1000)


def fail(message, event=None):
    sys.exit(f"trace_check.py: {message}" + (f": {json.dumps(event)}" if event else ""))


def slices_nest(track):
    """`track`: (begin, end, event), sorted. Gives nothing, or what overlaps."""
    stack = []
    for begin, end, event in track:
        while stack and stack[-1][0] <= begin:
            stack.pop()
        if stack and end > stack[-1][0]:
            fail("slices overlap", event)
        stack.append((end, event))


def check(events):
    tracks = collections.defaultdict(list)
    names = {}
    asynchronous = collections.defaultdict(list)
    stops = {}
    marked = collections.Counter()
    begins, ends = {}, {}
    sums = None
    for event in events:
        for key in ("ph", "pid", "tid", "name"):
            if key not in event:
                fail(f"no {key}", event)
        phase = event["ph"]
        if phase == "M":
            if event["name"] == "thread_name":
                names[event["tid"]] = event["args"]["name"]
            continue
        if not isinstance(event.get("ts"), (int, float)) or event["ts"] < 0:
            fail("no time, or one before the trace", event)
        if phase == "X":
            if event["dur"] < 0:
                fail("a slice that ends before it begins", event)
            begin = ns(event)
            end = begin + ns(event, "dur")
            tracks[event["tid"]].append((begin, end, event))
            if "stops for" in event["args"]:
                stops[event["args"]["goroutine"], end] = event["args"]["stops for"]
        elif phase in "be":
            asynchronous[event["cat"], event["id"]].append(event)
        elif phase in "sf":
            side = begins if phase == "s" else ends
            if event["id"] in side:
                fail("a flow twice", event)
            side[event["id"]] = event
        elif phase == "i":
            marked[event["tid"] if event["s"] == "t" else None] += 1
            if event["s"] == "g":
                sums = event["args"]
        else:
            fail("an unknown phase", event)

    for tid, track in tracks.items():
        if tid not in names:
            fail(f"thread {tid} has no name")
        track.sort(key=lambda slice: (slice[0], -slice[1]))
        slices_nest(track)
    for (_, id), steps in asynchronous.items():
        open_ones, last = [], 0
        for step in steps:
            if ns(step) < last:
                fail("an asynchronous slice goes back in time", step)
            last = ns(step)
            if step["ph"] == "b":
                open_ones.append(step["name"])
                stop = stops.get((id, ns(step)))
                if stop and step["name"].startswith("waits") and step["name"] != f"waits: {stop}":
                    fail(f"a track says what its slice does not, {stop}", step)
            elif not open_ones or open_ones.pop() != step["name"]:
                fail("an asynchronous slice ends that is not the innermost one", step)
        if open_ones:
            fail(f"asynchronous slices stay open: {open_ones}")
    starts = {(tid, begin) for tid, track in tracks.items() for begin, _, _ in track}
    for id, end in ends.items():
        if id not in begins:
            fail("a flow from nowhere", end)
        if (end["tid"], ns(end)) not in starts:
            fail("a flow that leads to no slice", end)
    if sums is None:
        fail("the trace has no end")
    on_threads = sum(len(track) for track in tracks.values()) + sum(n for tid, n in marked.items() if tid is not None)
    threads = sorted(names.get(tid, "") for tid in {*tracks, *marked} - {None})
    tables = {
        "shown": on_threads + marked[None] + sum(step["ph"] == "b" for steps in asynchronous.values() for step in steps),
        "on_threads": on_threads,
        "ns_on_threads": sum(end - begin for track in tracks.values() for begin, end, _ in track),
        "open": 0,
        "flows": len(ends),
        "threads": " ".join(threads),
        "without_a_name": 0,
        "errors": 0,
    }
    return tracks, names, sums, tables


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--slices", type=int, default=1, help="so many slices at least")
    parser.add_argument("--named", action="append", default=[], help="a slice of this name is there")
    parser.add_argument("--sums", action="store_true", help="print what tools/trace_sums.sql is to find")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as file:
        events = json.load(file)
    tracks, names, sums, tables = check(events)
    slices = sum(len(track) for track in tracks.values())
    if slices < arguments.slices:
        fail(f"{slices} slices, not {arguments.slices}")
    there = {event["name"] for track in tracks.values() for _, _, event in track}
    for name in arguments.named:
        if name not in there:
            fail(f"no slice is called {name}")
    if arguments.sums:
        print(",".join(json.dumps(key) for key in tables), ",".join(json.dumps(value) for value in tables.values()), sep="\n")
        return
    print(f"{slices} slices on {len(tracks)} of {len(names)} threads, {sums['events']} events, {sums['lost']} lost")


main()
