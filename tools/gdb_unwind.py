# Steps through the assembly one instruction at a time and asks for a backtrace at each: it must end at a goroutine's first
# instructions or at the thread's start, without an error, and on a goroutine's stack it must contain that goroutine's function.
import gdb

ENDS = ("goroutine_asm_entry", "goroutine_asm_return", "clone3", "__clone3", "start_thread", "__GI___clone3")
STEPS = 4000
OUTSIDE = 300  # instructions elsewhere, before it runs on to the next switch


def backtrace():
    names = []
    frame = gdb.newest_frame()
    while frame is not None and len(names) < 60:
        names.append(frame.name() or "?")
        frame = frame.older()
    return names


for setting in ("pagination off", "confirm off", "language c", "breakpoint pending off"):
    gdb.execute("set " + setting)
gdb.execute("break goroutine_asm_yield")
gdb.execute("run", to_string=True)
gdb.execute("delete")
gdb.execute("set scheduler-locking on")

checked, outside, bad = set(), 0, {}
for _ in range(STEPS):
    here = gdb.newest_frame().name() or "?"
    if here.startswith("goroutine_asm"):
        outside = 0
        pc = int(gdb.parse_and_eval("$pc"))
        checked.add(pc)
        try:
            names = backtrace()
            where = "thread" if names[-1] in ("clone3", "__clone3", "start_thread", "__GI___clone3") else "goroutine"
            fresh = here == "goroutine_asm_entry" or names == ["goroutine_asm_run", "goroutine_asm_entry"]
            user = any(n in ("unwind_worker", "unwind_main", "body") for n in names)
            if names[-1] not in ENDS:
                bad[pc] = names
            elif where == "goroutine" and not user and not fresh and "goroutine_asm_entry" not in names[:3]:
                bad[pc] = names
        except gdb.error as error:
            bad[pc] = [here, str(error)]
    else:
        outside += 1
    if outside > OUTSIDE:
        outside = 0
        for name in ("goroutine_asm_yield", "goroutine_asm_park", "goroutine_asm_run", "goroutine_asm_leave"):
            gdb.execute("tbreak " + name, to_string=True)
        gdb.execute("continue", to_string=True)
        gdb.execute("delete")
    else:
        gdb.execute("stepi", to_string=True)

for pc, names in sorted(bad.items()):
    print("bad backtrace at", hex(pc), names[:8])
print("%d instructions unwound, %d bad" % (len(checked), len(bad)))
gdb.execute("kill")
gdb.execute("quit %d" % (1 if bad or len(checked) < 100 else 0))
