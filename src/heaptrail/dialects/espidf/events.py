"""Allocations as they happen on ESP chips: what alloc and free hooks print, and what the SystemView tool prints.

Hooks (CONFIG_HEAP_USE_HOOKS) are the user's own, so only the wordings in use are read: `alloc: 0x3ffb1234 allocated
36 bytes`, `ALLOC: 0x3ffb1234 size=36`, `free: 0x3ffb1234`, and a `Backtrace: PC:SP PC:SP` behind them. Those PCs are
already addresses of the calls (components/xtensa/include/esp_cpu_utils.h subtracts 3).

tools/esp_app_trace/sysviewtrace_proc.py prints `EVENT[n]: … esp_sysview_heap_trace_alloc … [addr: N, size: N, callers:
[…]]` in decimal, return addresses padded with zeros; then `[time] HEAP: Allocated N bytes @ 0x… from task "…" on core N
by:` with a file and line for each frame; and at the end a report that lists the live blocks in the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from heaptrail.dialects.text import HEX, Place, place
from heaptrail.model.observations import Block, Dump, Event, RawFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_HOOK_ALLOC = re.compile(
    rf"(?:\balloc|\bALLOC|\bAlloc): {HEX}[,:]?\s+(?:allocated\s+|size\s*[=:]?\s*)(\d{{1,10}})(?![\w.])"
)
_HOOK_FREE = re.compile(rf"(?:\bfreed?|\bFREE|\bFree): {HEX}(?:\s+freed)?\s*$")
_LOGGED_ALLOC = re.compile(rf"^\s*{HEX} allocated (\d{{1,10}}) bytes\s*$")
_LOGGED_FREE = re.compile(rf"^\s*{HEX} freed\s*$")
"""The same behind `W (1234) alloc: `, which is the log's tag and is gone."""
_BACKTRACE = re.compile(r"(?i)\bbacktrace:\s*(0x[0-9a-f].*)$")
_PC_SP = re.compile(r"0[xX]([0-9a-fA-F]{8}):0[xX][0-9a-fA-F]{8}(?![0-9a-fA-F])")
_BACKTRACE_LINES = 4

_TOOL_EVENT = re.compile(
    r"esp_sysview_heap_trace_(alloc|free)\(\d+\), plen \d+: "
    r"\[addr: (\d{1,20}),(?: size: (\d{1,12}),)? callers: \[([\d, ]*)\]\]"
)
_TOOL_LINE = re.compile(
    r"\bHEAP: (?:(Allocated) (\d{1,12}) bytes|Freed bytes) @ "
    r'0x([0-9a-fA-F]{1,16}) from task "([^"]{0,64})"'
)
_REPORT = re.compile(r"=+ HEAP TRACE REPORT =+")
_REPORT_END = re.compile(r"\bFound (\d{1,12}) leaked bytes in (\d{1,9}) blocks\b")


def _in_esp_memory(address: int) -> bool:
    """Whether data of an ESP chip can lie there: RAM and external RAM of all of them (soc/soc.h)."""
    return 0x3C00_0000 <= address < 0x4100_0000 or 0x4800_0000 <= address < 0x5100_0000


class Hooks:
    """Events with the backtrace that follows them, if one does."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._event: Event | None = None
        self._left = 0
        self._seen = False

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold, so that a backtrace far behind is not taken for this event's."""
        return self._left

    def tick(self, line: Line) -> list[AnyObservation]:
        """A line has passed: an event waits a few lines for its backtrace."""
        if self._event is None:
            return []
        self._left -= 1
        return self.close() if self._left == 0 or self._event.boot != line.boot else []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of these."""
        if self._event is not None:
            match = _BACKTRACE.search(line.text)
            if match is not None:
                pcs = [int(pc, 16) for pc in _PC_SP.findall(match[1])][: self._limits.frames_per_block]
                frames = tuple(RawFrame(pc=pc, kind="call") for pc in pcs)
                self._event = msgspec.structs.replace(self._event, frames=frames)
                return self.close()
        found: list[AnyObservation] = []
        match = _HOOK_ALLOC.search(line.text) or _LOGGED_ALLOC.match(line.text)
        if match is not None:
            if line.system != "espidf" and not _in_esp_memory(int(match[1], 16)):
                return None
            self._seen = True
            found += self.close()
            size = int(match[2])
            self._event = Event(op="alloc", address=int(match[1], 16), size_bytes=size, **place(line, "espidf"))
        else:
            match = (_HOOK_FREE.search(line.text) or _LOGGED_FREE.match(line.text)) if self._seen else None
            if match is None:
                return None
            found += self.close()
            self._event = Event(op="free", address=int(match[1], 16), **place(line, "espidf"))
        self._left = _BACKTRACE_LINES
        return found

    def close(self) -> list[AnyObservation]:
        """The event that waits for a backtrace, if any."""
        event, self._event, self._left = self._event, None, 0
        return [] if event is None else [event]


class ToolReport:
    """The SystemView tool's events and its report; frames where it printed the callers."""

    def __init__(self, limits: Limits, dumps: Iterator[int]) -> None:
        self._limits = limits
        self._dumps = dumps
        self._event: Event | None = None
        self._live: dict[int, Event] = {}
        self._where: Place | None = None
        self._number = 0
        self._blocks = 0

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of these."""
        text = line.text
        match = _TOOL_EVENT.search(text)
        if match is not None:
            found = self._close_event()
            pcs = [int(pc) for pc in match[4].replace(" ", "").split(",") if pc][: self._limits.frames_per_block]
            frames = tuple(RawFrame(pc=pc, kind="return") for pc in pcs if pc)
            size = None if match[3] is None else int(match[3])
            op: Literal["alloc", "free"] = "alloc" if match[1] == "alloc" else "free"
            where = place(line, "espidf")
            self._event = Event(op=op, address=int(match[2]), size_bytes=size, frames=frames, **where)
            return found
        match = _TOOL_LINE.search(text)
        if match is not None:
            return self._operation(line, match)
        if _REPORT.search(text):
            found = self.close()
            self._where = place(line, "espidf")
            self._number = next(self._dumps)
            return found
        match = _REPORT_END.search(text)
        if match is None or self._where is None:
            return None
        return self.close((int(match[1]), int(match[2])))

    def _operation(self, line: Line, match: re.Match[str]) -> list[AnyObservation]:
        allocated, size, address, task = match.groups()
        where = place(line, "espidf")
        if self._where is not None and allocated:
            return self._block(where, int(address, 16), int(size), task or None)
        held, self._event = self._event, None
        event = Event(
            op="alloc" if allocated else "free",
            address=int(address, 16),
            size_bytes=int(size) if allocated else None,
            task=task or None,
            **where,
        )
        found: list[AnyObservation] = []
        if held is not None and (held.op, held.address) == (event.op, event.address):
            event = msgspec.structs.replace(event, frames=held.frames, line=held.line)
        elif held is not None:
            found.append(self._keep(held))
        return [*found, self._keep(event)]

    def _keep(self, event: Event) -> Event:
        """Remember the callers of what is live, for the report that prints none."""
        if event.op == "free":
            self._live.pop(event.address, None)
        elif event.frames and len(self._live) < self._limits.records_per_dump:
            self._live[event.address] = event
        return event

    def _block(self, where: Place, address: int, size_bytes: int, task: str | None) -> list[AnyObservation]:
        self._blocks += 1
        if self._blocks > self._limits.records_per_dump:
            return []
        born = self._live.get(address)
        frames = born.frames if born is not None and born.size_bytes == size_bytes else ()
        return [
            Block(
                dump=self._number,
                address=address,
                size_bytes=size_bytes,
                size_kind="requested",
                task=task,
                frames=frames,
                **where,
            )
        ]

    def _close_event(self) -> list[AnyObservation]:
        event, self._event = self._event, None
        return [] if event is None else [self._keep(event)]

    def close(self, declared: tuple[int, int] | None = None) -> list[AnyObservation]:
        """End the report that is open, if any; `declared` are its bytes and blocks."""
        found = self._close_event()
        where, self._where = self._where, None
        blocks, self._blocks = self._blocks, 0
        if where is None:
            return found
        complete = None if declared is None else declared[1] == blocks <= self._limits.records_per_dump
        found.append(
            Dump(
                dump=self._number,
                declared_bytes=None if declared is None else declared[0],
                declared_blocks=None if declared is None else declared[1],
                complete=complete,
                **where,
            )
        )
        return found
