# What tools/gdb/goroutine-gdb.py says of the 1,003 goroutines of c_tests/gdb_goroutines.c, of a live process (LIVE) or a core file.
import re

import gdb


def fail(what, text=""):
    print("FAILED: %s\n%s" % (what, text[:4000]))
    gdb.execute("kill" if LIVE else "python pass")
    gdb.execute("quit 1")


def count(text, pattern):
    return len(re.findall(pattern, text, re.M))


for setting in ("pagination off", "confirm off", "width 0", "breakpoint pending on"):
    gdb.execute("set " + setting)
if LIVE:
    gdb.execute("break gdb_ready")
    gdb.execute("run", to_string=True)
before = gdb.execute("bt", to_string=True)
lines = gdb.execute("info goroutines", to_string=True)
holder, writer, one = (re.search(r'^goroutine (\d+) "%s"' % name, lines, re.M)[1] for name in ("holder", "writer", "one"))
# Of a core file nobody knows when it is looked at.
left = r"for 59 min" if LIVE else r"until \d+\.\d{3} s of CLOCK_MONOTONIC"
for pattern, n in (
    (r"^goroutine \d+ ", 1003),
    (r"^1003 goroutines$", 1),
    (r"is parked: receives from channel 0x[0-9a-f]+; began in receives\b", 597),
    (r"is parked: receives from channel 0x[0-9a-f]+; began in outermost_emitted", 1),
    (r"is parked: waits for mutex 0x[0-9a-f]+, held by goroutine %s; began in locks" % holder, 200),
    (r'^goroutine \d+ "to write" is parked: waits for readers-writer lock 0x[0-9a-f]+, held by goroutine %s; began in locks_to_write' % writer, 1),
    (r'^goroutine \d+ "to read" is parked: waits to read readers-writer lock 0x[0-9a-f]+, held by goroutine %s; began in locks_to_read' % writer, 1),
    (r'^goroutine \d+ "awaits one" is parked: awaits promise 0x[0-9a-f]+ of goroutine %s; began in awaits_one' % one, 1),
    (r"is parked: sleeps for ever; began in sleeps", 100),
    (r'^goroutine \d+ "sleeper" is parked: sleeps %s; began in sleeps_long' % left, 1),
    (r"is parked: sleeps %s; began in .*, attached" % left, 1),
    (r'^goroutine \d+ "in time" is parked: receives from channel 0x[0-9a-f]+; began in receives_in_time', 1),
    (r"is parked: awaits promise 0x[0-9a-f]+; began in awaits", 96),
    (r'^goroutine \d+ "bound" is parked.* daemon, bound; spawned at 0x[0-9a-f]+ in spawn_named \(.*gdb_goroutines\.c:\d+\)$', 1),
    (r'^goroutine \d+ "spinner" runs on worker [01], thread \d+; began in spins; spawned at 0x[0-9a-f]+ in spawn_named \(.*gdb_goroutines\.c:\d+\)$', 1),
    (r"is runnable", 0),
):
    if count(lines, pattern) != n:
        fail("%d of %d: %s" % (count(lines, pattern), n, pattern), lines)
nested = re.search(r'^goroutine (\d+) "nested"', lines, re.M)[1]
trace = gdb.execute("goroutine %s bt" % nested, to_string=True)
order = ["goroutine_channel_receive", "receives", "innermost_emitted", "middle_emitted", "outermost_emitted", r"goroutine_asm_entry\w*"]
if not re.search(r"^#0 (.*\n)*" + r"(.*\n)*?".join(r"#\d+ .*\b%s\b.*\n" % name for name in order) + r"\Z", trace, re.M):
    fail("the stack of a parked one", trace)
numbers = [int(n) for n in re.findall(r"^#(\d+)", trace, re.M)]
if numbers != list(range(len(numbers))):
    fail("numbers of frames", trace)
first_two = gdb.execute("goroutine %s bt 2" % nested, to_string=True)
if re.findall(r"^#.*", first_two, re.M) != re.findall(r"^#.*", trace, re.M)[:2]:
    fail("the first two frames of a parked one", first_two)
spinner = re.search(r'^goroutine (\d+) "spinner"', lines, re.M)[1]
if "spins" not in gdb.execute("goroutine %s bt" % spinner, to_string=True):
    fail("the stack of a running one")
everything = gdb.execute("goroutine all bt", to_string=True)
if count(everything, r"^#\d+ .*\b(receives|receives_in_time|locks|sleeps|sleeps_long|awaits|spins|locks_to_write|locks_to_read|awaits_one)\b") != 1003 or count(everything, r"^goroutine \d+ ") != 1003:
    fail("goroutine all bt", everything)
# Whatever language the selected frame is in.
gdb.execute("set language rust", to_string=True)
if gdb.execute("info goroutines", to_string=True).count("\n") != lines.count("\n"):
    fail("info goroutines in another language")
if gdb.parameter("language") != "rust":
    fail("the language afterwards")
gdb.execute("set language auto", to_string=True)
# Nothing was changed by looking.
if gdb.execute("bt", to_string=True) != before:
    fail("the thread's own stack afterwards", gdb.execute("bt", to_string=True))
try:
    gdb.execute("goroutine 999999 bt", to_string=True)
    fail("no such goroutine")
except gdb.error:
    pass
print("1003 goroutines, %d frames of them" % count(everything, r"^#"))
if LIVE:
    gdb.execute("kill", to_string=True)
gdb.execute("quit 0")
