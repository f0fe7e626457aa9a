# Steps through the assembly one instruction at a time and asks for a backtrace at each: it must end at a goroutine's first
# instructions or at the thread's start, without an error, and on a goroutine's stack it must contain that goroutine's function.
# Three times: the switches, the foreign calls, and the linked segments, where a backtrace goes to and fro between the two stacks and must have the C
# function between the language's.
import gdb

ENDS = ("goroutine_asm_entry", "goroutine_asm_return", "goroutine_asm_leave", "clone3", "__clone3", "start_thread", "__GI___clone3")
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

THREAD_ENDS = ("clone3", "__clone3", "start_thread", "__GI___clone3")


def verdict(here, names):
    """What is wrong with a backtrace from this function; None: nothing."""
    if names[-1] not in ENDS:
        return "no end"
    fresh = here in ("goroutine_asm_entry", "goroutine_asm_leave") or names == ["goroutine_asm_run", "goroutine_asm_entry"]
    user = [n for n in names if n in ("unwind_worker", "unwind_main", "body")]
    if names[-1] not in THREAD_ENDS and not user and not fresh and "goroutine_asm_entry" not in names[:3]:
        return "no user function"
    if "unwind_deeper" in names and "unwind_calls" not in names[names.index("unwind_deeper"):]:
        return "no caller before the link"
    if "unwind_callback" in names:
        below = names[names.index("unwind_callback"):]
        if "unwind_c" not in below or "unwind_calls" not in below[below.index("unwind_c"):]:
            return "no C function between"
    return None


def walk(arguments, first, others, steps):
    """Runs the program, from a breakpoint at `first` on. Gives the instructions seen and those with a bad backtrace."""
    gdb.execute("set args " + arguments)
    gdb.execute("break " + first)
    gdb.execute("run", to_string=True)
    gdb.execute("delete")
    # Bound goroutines need other threads now and then, but never while one instruction is stepped.
    gdb.execute("set scheduler-locking step")
    checked, outside, bad, deep, linked = set(), 0, {}, 0, 0
    for _ in range(steps):
        here = gdb.newest_frame().name() or "?"
        if here.startswith(("goroutine_asm", "__morestack", "goroutine_ffi", "goroutine_callback", "execute_ffi")):
            outside = 0
            pc = int(gdb.parse_and_eval("$pc"))
            checked.add(pc)
            try:
                names = backtrace()
                wrong = verdict(here, names)
                if wrong:
                    bad[pc] = [wrong] + names
                deep += "unwind_callback" in names and "unwind_calls" in names
                linked += "unwind_deeper" in names and "__morestack" in names
            except gdb.error as error:
                bad[pc] = [here, str(error)]
        else:
            outside += 1
            if bytes(gdb.selected_inferior().read_memory(gdb.newest_frame().pc(), 2)) == b"\x0f\x05":
                outside = OUTSIDE + 1  # a system call may wait for a thread that is locked out while we step
        if outside > OUTSIDE:
            outside = 0
            for name in others:
                gdb.execute("tbreak " + name, to_string=True)
            gdb.execute("continue", to_string=True)
            gdb.execute("delete")
        else:
            gdb.execute("stepi", to_string=True)
    gdb.execute("kill")
    for pc, names in sorted(bad.items()):
        print("bad backtrace at", hex(pc), names[:12])
    return checked, bad, deep, linked


switches = ("goroutine_asm_yield", "goroutine_asm_park", "goroutine_asm_run", "goroutine_asm_leave")
calls = ("goroutine_asm_native_call", "goroutine_asm_ffi_slow", "goroutine_asm_blocking_call", "goroutine_asm_ffi_blocking",
         "goroutine_asm_callback", "goroutine_asm_ffi_checked")
links = ("goroutine_asm_more_stack_prologue",)
checked, bad, _, _ = walk("", switches[0], switches, STEPS)
more, more_bad, deep, _ = walk("calls", calls[0], calls, 2 * STEPS)
crossing, crossing_bad, _, linked = walk("calls", links[0], links, STEPS)
bad.update(more_bad)
bad.update(crossing_bad)
more |= crossing
print("%d instructions unwound, %d bad" % (len(checked | more), len(bad)))
gdb.execute("quit %d" % (1 if bad or len(checked) < 100 or len(more) < 150 or deep < 30 or linked < 30 else 0))
