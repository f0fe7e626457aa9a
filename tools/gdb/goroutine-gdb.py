# Goroutines in GDB: of a live process or a core file, with libgoroutine shared or static, stripped of its debug information or not.
#
#   (gdb) source goroutine-gdb.py
#   (gdb) info goroutines              a line for each
#   (gdb) goroutine 17 bt              any command, as if goroutine 17 were a thread
#   (gdb) goroutine all bt             the same for all
#
# Emitted code has the names that it was registered with (goroutine_code_register), if GDB reads them: `maint info jit` lists what it has read.
#
# How: the library has a table of addresses and offsets (src/inspect/layout.rs). A goroutine that is parked or runnable has its registers in its control
# block; an unwinder puts them in place of the caller's registers of the innermost frame, so that GDB goes on from there. That writes nothing,
# so it works on core files.
import re
import struct
import time

import gdb
from gdb.unwinder import Unwinder, register_unwinder

WORDS = ("count", "regions", "regions_count", "region_shift", "colours", "block_bytes", "forks_word", "forks", "id", "flags",
         "foreign_sp", "park", "waits", "spawn_flags", "entry", "name", "rsp", "rbx", "rbp", "r12", "r13", "r14", "r15",
         "worker_index", "mutex_word", "mutex_shift", "tls_offset", "site", "rwlock_writer", "settler_word", "settler_mask")
REGISTERS = ("rbx", "rbp", "r12", "r13", "r14", "r15")
KINDS = ("waits for its ticket, committed by {symbol}", "sleeps{until}", "waits for mutex {object:#x}{holder}", "waits for readers-writer lock {object:#x}{writer}",
         "waits for semaphore {object:#x}", "waits for wait group {object:#x}", "waits for condition {object:#x}",
         "sends to channel {object:#x}", "receives from channel {object:#x}", "selects", "awaits promise {object:#x}{settler}",
         "waits for a descriptor", "waits for a file operation", "waits for its call on lane {object:#x}",
         "waits for a thread to bind to", "waits for a worker", "waits for the next callback",
         "waits to read readers-writer lock {object:#x}{writer}", "waits for a once, of mutex {object:#x}{holder}")
FLAG_BOUND, FLAG_ATTACHED, FLAG_CANCEL = 1, 2, 4
SPAWN_FLAGS = ((4, "daemon"), (2, "priority"), (8, "pinned"))
WAITING, COMMITTING = 1, 3
KIND_SHIFT = 56
TIMED = 1 << 63  # whatever it waits for, it has a time-out
FOR_EVER = (1 << KIND_SHIFT) - 1


def memory(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word(address):
    return struct.unpack("<Q", memory(address, 8))[0]


def evaluate(expression):
    """An expression of C, whatever language the selected frame is in."""
    language = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        return int(gdb.parse_and_eval(expression))
    finally:
        gdb.execute("set language %s" % language, to_string=True)


def symbol(address):
    text = gdb.execute("info symbol %d" % address, to_string=True).strip()
    return "%#x" % address if text.startswith("No symbol") else text.split(" in section ")[0]


def source(site):
    """The call that returns to there: function, file and line, as far as they are known."""
    function, line = re.sub(r" \+ \d+$", "", symbol(site - 1)), gdb.find_pc_line(site - 1)
    return "%#x in %s%s" % (site, function, " (%s:%d)" % (line.symtab.filename, line.line) if line.symtab else "")


def lasting(ns):
    """As goroutine_dump says it."""
    ms = ns // 1000000
    if ms <= 0:
        return ""
    return " for %d ms" % ms if ms < 1000 else " for %d.%d s" % (ms // 1000, ms // 100 % 10) if ms < 120000 else " for %d min" % (ms // 60000)


def until(deadline):
    """How long is left, of a process on this machine; of a core file, or from elsewhere, what time it waits for: what time it is, nobody knows."""
    if deadline == FOR_EVER:
        return " for ever"
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is not None and connection.type == "native":
        return lasting(deadline - time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    return " until %d.%03d s of CLOCK_MONOTONIC" % (deadline // 10**9, deadline // 10**6 % 1000)


class Library:
    def __init__(self):
        try:
            at = evaluate("(unsigned long)&goroutine_debug_layout")
        except gdb.error as error:
            raise gdb.GdbError("libgoroutine is not in this program, or all its symbols are stripped (%s)" % error)
        values = struct.unpack("<%dQ" % len(WORDS), memory(at, 8 * len(WORDS)))
        if values[0] < len(WORDS):
            raise gdb.GdbError("this libgoroutine is older than goroutine-gdb.py")
        for name, value in zip(WORDS, values):
            setattr(self, name, value)
        self.forks_now = struct.unpack("<I", memory(self.forks_word, 4))[0]
        self.running = self.threads()

    def threads(self):
        """By goroutine: the thread that runs it, and the worker the thread holds, or None."""
        running = {}
        if not self.tls_offset or gdb.selected_thread() is None:
            return running
        offset = self.tls_offset - (1 << 64) if self.tls_offset >> 63 else self.tls_offset
        selected, frame = gdb.selected_thread(), gdb.selected_frame()
        try:
            for thread in gdb.selected_inferior().threads():
                thread.switch()
                fs = evaluate("(unsigned long)$fs_base")
                try:
                    block, worker = struct.unpack("<QQ", memory(fs + offset, 16))
                except gdb.MemoryError:
                    continue  # a thread that is only just made
                running[block] = (thread, word(worker + self.worker_index) if worker else None)
        finally:
            selected.switch()
            frame.select()
        return running

    def blocks(self):
        """Every control block that is in use, as (address, bytes)."""
        regions = memory(self.regions, self.regions_count)
        region = 0
        while True:
            match = re.compile(rb"[^\0]").search(regions, region)
            if not match:
                return
            region = match.start()
            stack_class = regions[region] & 0x7F
            base, size = region << self.region_shift, 1 << stack_class
            slab = max(1 << self.region_shift, size)
            for stack in range(base, base + slab, size) if regions[region] < 0x80 else ():  # 0x80: of linked segments
                colour = (stack >> stack_class) % self.colours
                at = stack + size - colour * 64 - self.block_bytes
                try:
                    block = memory(at, self.block_bytes)
                except gdb.MemoryError:
                    continue  # not in the core file: never touched
                if struct.unpack_from("<Q", block, self.id)[0] and struct.unpack_from("<I", block, self.forks)[0] == self.forks_now:
                    yield at, block
            region += slab >> self.region_shift

    def goroutines(self):
        return sorted((Goroutine(self, at, block) for at, block in self.blocks()), key=lambda g: g.id)

    def holder(self, mutex):
        return self.held_by(word(mutex + self.mutex_word))

    def writer(self, lock):
        return self.held_by(word(lock + self.rwlock_writer))

    def held_by(self, owner):
        number = owner >> self.mutex_shift
        if not number:
            return ""
        return ", held by a thread of the program's" if number & 1 else ", held by goroutine %d" % (number >> 1)

    def settler(self, promise):
        """Of a promise that anybody may settle: nobody."""
        block = word(promise + self.settler_word) & self.settler_mask
        return " of goroutine %d" % word(block + self.id) if block else ""


class Goroutine:
    def __init__(self, library, address, block):
        self.library, self.address = library, address

        def field(name, form="<Q"):
            return struct.unpack_from(form, block, getattr(library, name))[0]

        self.id = field("id")
        self.flags, self.spawn_flags = field("flags", "<I"), field("spawn_flags", "<I")
        self.foreign, self.entry, self.site = field("foreign_sp"), field("entry"), field("site")
        self.parked = field("park") & 3 in (WAITING, COMMITTING)
        self.waits, self.sp = field("waits"), field("rsp")
        self.registers = {name: field(name) for name in REGISTERS}
        name = field("name")
        self.name = gdb.selected_inferior().read_memory(name, 64).tobytes().split(b"\0")[0].decode("utf-8", "replace") if name else ""
        self.thread, self.worker = library.running.get(address, (None, None))

    def state(self):
        if self.thread is not None:
            what = "is in foreign code" if self.foreign else "runs"
            where = "" if self.worker is None else " on worker %d," % self.worker
            return "%s%s thread %d" % (what, where or " on", self.thread.num)
        if not self.parked:
            return "is runnable"
        kind, object = (self.waits & ~TIMED) >> KIND_SHIFT, self.waits & (1 << KIND_SHIFT) - 1
        if kind >= len(KINDS):
            return "is parked"
        said = {name: say(object) for name, say in (("symbol", symbol), ("until", until), ("holder", self.library.holder),
                                                    ("writer", self.library.writer), ("settler", self.library.settler)) if "{%s}" % name in KINDS[kind]}
        return "is parked: " + KINDS[kind].format(object=object, **said)

    def line(self):
        flags = [name for flag, name in SPAWN_FLAGS if self.spawn_flags & flag]
        flags += ["bound"] * bool(self.flags & FLAG_BOUND) + ["attached"] * bool(self.flags & FLAG_ATTACHED)
        flags += ["told to stop"] * bool(self.flags & FLAG_CANCEL)
        name = ' "%s"' % self.name if self.name else ""
        site = "; spawned at %s" % source(self.site) if self.site else ""
        return "goroutine %d%s %s; began in %s%s%s" % (self.id, name, self.state(), symbol(self.entry), "".join(", " + f for f in flags), site)


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Elsewhere(Unwinder):
    """While it has a goroutine, the innermost frame of the selected thread was called by that goroutine."""

    def __init__(self):
        super().__init__("goroutine")
        self.goroutine = None

    def __call__(self, pending):
        g = self.goroutine
        if g is None:
            return None
        here = int(pending.read_register("rip")) & (1 << 64) - 1, int(pending.read_register("rsp")) & (1 << 64) - 1
        if here != self.innermost:
            return None
        info = pending.create_unwind_info(FrameId(gdb.Value(g.sp - 16), gdb.Value(here[0])))
        info.add_saved_register("rip", gdb.Value(word(g.sp)))
        info.add_saved_register("rsp", gdb.Value(g.sp + 8))
        for name, value in g.registers.items():
            info.add_saved_register(name, gdb.Value(value if value < 1 << 63 else value - (1 << 64)))
        return info

    def run(self, g, command):
        """The command, in the goroutine's innermost frame."""
        gdb.newest_frame().select()
        frame = gdb.newest_frame()
        while frame.type() == gdb.INLINE_FRAME:
            frame = frame.older()
        self.innermost = tuple(int(frame.read_register(r)) & (1 << 64) - 1 for r in ("rip", "rsp"))
        self.goroutine = g
        try:
            gdb.invalidate_cached_frames()
            pc, frame, skipped = word(g.sp), gdb.newest_frame(), 0
            while frame is not None and frame.pc() != pc:
                frame, skipped = frame.older(), skipped + 1
            if frame is None:
                raise gdb.GdbError("goroutine %d: no frames" % g.id)
            frame.select()
            is_trace = command.split()[0] in ("bt", "backtrace", "where")
            if is_trace:  # a count is of the goroutine's own frames
                command = re.sub(r"(?<=\s)\d+\s*$", lambda m: str(int(m[0]) + skipped), command)
            text = gdb.execute(command, to_string=True)
            if is_trace:
                lines = text.splitlines(True)
                first = next((i for i, line in enumerate(lines) if re.match(r"#%d\s" % skipped, line)), 0)
                text = "".join(re.sub(r"^#(\d+)( *)", lambda m: ("#%d" % (int(m[1]) - skipped)).ljust(3) + " ", line) for line in lines[first:])
            return text
        finally:
            self.goroutine = None
            gdb.invalidate_cached_frames()


elsewhere = Elsewhere()
register_unwinder(None, elsewhere, replace=True)


def in_goroutine(g, command):
    thread, frame = gdb.selected_thread(), gdb.selected_frame()
    try:
        if g.thread is not None:
            g.thread.switch()
            return gdb.execute(command, to_string=True)
        return elsewhere.run(g, command)
    finally:
        thread.switch()
        try:
            frame.select()
        except gdb.error:
            gdb.newest_frame().select()
        # A frame of no language leaves GDB in that of the frame before, the library's.
        gdb.execute("set language %s" % gdb.parameter("language"), to_string=True)


class InfoGoroutines(gdb.Command):
    """info goroutines: what every goroutine does, a line each."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        goroutines = Library().goroutines()
        for g in goroutines:
            print(g.line())
        print("%d goroutines" % len(goroutines))


class GoroutineCommand(gdb.Command):
    """goroutine ID COMMAND: the command (bt, frame, info registers, ...) in that goroutine. goroutine all COMMAND: in each."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        which, _, command = argument.strip().partition(" ")
        if which != "all" and not which.isdigit():
            raise gdb.GdbError("usage: goroutine ID|all COMMAND")
        chosen = [g for g in Library().goroutines() if which == "all" or g.id == int(which)]
        if not chosen and which != "all":
            raise gdb.GdbError("no goroutine %s" % which)
        for g in chosen:
            if which == "all" or not command:
                print(("\n" if command else "") + g.line())
            if command:
                print(in_goroutine(g, command), end="")


InfoGoroutines()
GoroutineCommand()
