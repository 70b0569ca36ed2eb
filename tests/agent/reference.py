"""What the agent is to do, written as plainly as it can be: dictionaries and lists, no table but in its limits.

`tests/agent/model.c` drives the real one with the same operations; `test_model.py` holds the two together. One thing is
looser: the agent may forget a freed address, so whether a second free of it is a double one is asked of the agent
(`Agent.doubles_left`), which must be right about the address freed last, and must never accuse another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

RECORDS, SITES, STACKS, FRAMES, THREADS = 8, 6, 7, 16, 3
NAMES = ("", "AudioRender", "Demux", "(null)", "Tmr Svc", "XPlayer")
FILTERS = ("AudioRender", "Demux", "(null)", "ISR")
ISR = 0xFFFFFFFF
WORD = 1 << 32
OTHER, NO_STACK = 0, 1

Stack = tuple[int, ...]


class Operation(NamedTuple):
    """A line of model.c's input; with `interrupting` it comes in the middle of the next backtrace."""

    kind: str
    values: tuple[int, int, int, int, int]
    interrupting: bool = False

    def line(self) -> str:
        return f"{'q' * self.interrupting}{self.kind} {' '.join(map(str, self.values))}"


@dataclass
class Record:
    size: int
    over: int
    birth: int
    site: int
    thread: str


@dataclass
class Site:
    stack: Stack = ()
    live: int = 0
    live_bytes: int = 0
    allocs: int = 0
    frees: int = 0
    failed: int = 0
    unrecorded: int = 0
    first: int = 0
    last: int = 0
    oldest: int = 0
    freed_by: Stack = ()
    freer: int | None = None  # who called the allocator at the free whose stack is `freed_by`


def frames_of(stack: int) -> Stack:
    """The stack that model.c plays for a number."""
    return tuple(0xA0 if i == 0 else 0x1000 * stack + i for i in range(stack % 5))


@dataclass
class Agent:
    """The reference."""

    streams: bool = False
    doubles_left: int = 0
    mode: str = "off"
    fails: bool = False
    pending: Operation | None = None
    within: int = 0
    task: int = 0
    events: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.mode = "off"
        self.born = 0
        self.records: dict[int, Record] = {}
        self.sites = [Site(), Site()]
        self.stacks: list[Stack] = []
        self.site_of: dict[Stack, int] = {}
        self.threads: dict[int, str] = {}
        self.filters: set[str] = set()
        self.totals = dict.fromkeys(("dropped", "free_dropped", "missed", "paused", "nulls"), 0)
        self.unknown = 0
        self.doubles = 0
        self.freed: set[int] = set()
        self.freed_last: int | None = None
        self.events = dict.fromkeys(("ALLOC", "FREE", "FREE_AT", "FAILED", "REALLOC", "DOUBLE_FREE"), 0)

    # -- What happens around an operation

    def run(self, operation: Operation) -> None:
        if operation.interrupting:
            self.pending = operation
        else:
            self._run(operation, 0)

    def _run(self, operation: Operation, within: int) -> None:
        v = operation.values
        self.within = within
        self.task = v[3] if operation.kind == "f" else v[4]
        getattr(self, f"_do_{operation.kind}")(v, within)

    def _backtrace(self, stack: int) -> Stack:
        failing, self.fails = self.fails, False
        if self.pending is not None:
            interrupting, mine, self.pending = self.pending, self.task, None
            self._run(interrupting, 1)
            self.task, self.within = mine, 0
        return () if failing else frames_of(stack)

    def _thread(self) -> str:
        """The running task's name of its first sight."""
        number = ISR if self.within else self.task
        if number not in self.threads and len(self.threads) < THREADS:
            self.threads[number] = self._name()
        return self.threads.get(number, "(other)")

    def _name(self) -> str:
        return "ISR" if self.within else "(start-up)" if self.task == 0 else NAMES[self.task]

    def _wanted(self) -> bool:
        thread = self._thread()
        return not self.filters or (self._name() if thread == "(other)" else thread) in self.filters

    def _event(self, kind: str) -> None:
        self.events[kind] += 1
        if self.streams:
            self._thread()

    # -- Control

    def _do_s(self, v: tuple[int, ...], _within: int) -> None:
        self._reset()
        self.born = v[1]
        self.filters = {name for i, name in enumerate(FILTERS) if v[0] >> i & 1}
        self.mode = "filtered" if self.filters else "on"

    def _do_c(self, _v: tuple[int, ...], _within: int) -> None:
        self._reset()

    def _do_x(self, _v: tuple[int, ...], _within: int) -> None:
        self.mode = "off"

    def _do_p(self, _v: tuple[int, ...], _within: int) -> None:
        self.mode = "paused" if self.mode in ("on", "filtered") else self.mode

    def _do_u(self, _v: tuple[int, ...], _within: int) -> None:
        if self.mode == "paused":
            self.mode = "filtered" if self.filters else "on"

    def _do_b(self, _v: tuple[int, ...], _within: int) -> None:
        self.fails = True

    # -- Hooks

    def _captured(self, stack: int) -> Stack:
        if self.mode == "on" or (self.mode == "filtered" and self._wanted()):
            return self._backtrace(stack)
        return ()

    def _do_m(self, v: tuple[int, ...], _within: int) -> None:
        address, size, over, stack, _ = v
        if self.mode != "off":
            frames = self._captured(stack)
            self._allocated(address, size, over if over and over < 255 else 255, frames)

    def _do_r(self, v: tuple[int, ...], _within: int) -> None:
        old, new, size, stack, _ = v
        if self.mode == "off":
            return
        frames = self._captured(stack)
        if self.mode != "off" and old in self.records and new:
            record = self.records.pop(old)
            if old != new:
                self._remember(old)
            self._event("REALLOC")
            self._sum(record, -1)
            self._vacate(new)
            record.size, record.over = size, 255
            self.records[new] = record
            self._sum(record, 1)
        else:
            self._allocated(new, size, 255, frames)

    def _allocated(self, address: int, size: int, over: int, frames: Stack) -> None:
        if self.mode == "paused":
            if address:
                self._vacate(address)
                self.totals["paused"] += 1
            return
        if self.mode == "off":
            return
        thread = self._thread()
        if address:
            self._vacate(address)
        if self.mode == "filtered" and not self._wanted():
            return
        number = self._site(frames)
        site = self.sites[number]
        if not address:
            site.failed += 1
            self._event("FAILED")
            return
        self.born = (self.born + 1) % WORD
        self._event("ALLOC")
        site.first = self.born if site.allocs == 0 else site.first
        site.last = self.born
        site.allocs += 1
        if len(self.records) == RECORDS:
            site.unrecorded += 1
            return
        self.records[address] = Record(size, over, self.born, number, thread)
        self._sum(self.records[address], 1)

    def _do_f(self, v: tuple[int, ...], within: int) -> None:
        address, caller, stack = v[0], v[1] + 0x100 * within, v[2]
        if self.mode == "off":
            return
        record = self.records.pop(address, None)
        if record is None:
            self._freed_without_record(address, stack)
            return
        site = self.sites[record.site]
        site.oldest = max(site.oldest, (self.born - record.birth) % WORD)
        self._sum(record, -1)
        site.frees += 1
        self._remember(address)
        if site.freer == caller and site.freed_by:
            self._event("FREE")
            return
        frames = self._backtrace(stack)
        number = self._intern(frames)
        self._event("FREE")
        self.totals["free_dropped"] += frames != () and number is None
        site.freed_by, site.freer = (frames, caller) if number is not None else ((), None)

    def _freed_without_record(self, address: int, stack: int) -> None:
        if address == 0:
            self._intern(self._backtrace(stack))
            self.totals["nulls"] += 1
            self._thread()
        elif address in self.freed and self.doubles_left:
            self.doubles_left -= 1
            self.doubles += 1
            self._intern(self._backtrace(stack))
            self._thread()
            self._event("DOUBLE_FREE")
        else:
            assert address != self.freed_last, f"a second free of {address:#x} at once, and it was not seen"
            self.unknown += 1
            self._event("FREE_AT")

    def _remember(self, address: int) -> None:
        self.freed.add(address)
        self.freed_last = address

    def _vacate(self, address: int) -> None:
        """Another block is at this address now, so whatever was thought of it is over."""
        self.freed.discard(address)
        self.freed_last = None if self.freed_last == address else self.freed_last
        record = self.records.pop(address, None)
        if record is not None:
            self._sum(record, -1)
            self.totals["missed"] += 1

    def _sum(self, record: Record, sign: int) -> None:
        site = self.sites[record.site]
        site.live += sign
        site.live_bytes = (site.live_bytes + sign * min(record.size, WORD - 1)) % WORD

    # -- Stacks and sites

    def _intern(self, frames: Stack) -> int | None:
        if not frames:
            return None
        if frames not in self.stacks:
            if len(self.stacks) == STACKS or sum(map(len, self.stacks)) + len(frames) > FRAMES:
                return None
            self.stacks.append(frames)
        return self.stacks.index(frames)

    def _site(self, frames: Stack) -> int:
        if not frames:
            return NO_STACK
        if self._intern(frames) is None or (frames not in self.site_of and len(self.sites) == SITES):
            self.totals["dropped"] += 1
            return OTHER
        if frames not in self.site_of:
            self.site_of[frames] = len(self.sites)
            self.sites.append(Site(frames))
        return self.site_of[frames]
