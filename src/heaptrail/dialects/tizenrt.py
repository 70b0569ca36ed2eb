"""TizenRT, Samsung's descendant of NuttX.

Source: TizenRT's os/mm/mm_heap/mm_heapinfo.c, apps/system/utils (heapinfo, ps) and the mem_leak_checker. `heapinfo`
sizes hold the node's header and its addresses are those of the header; `mem_leak` prints the caller's pointer and the
size without the header. The owner is one return address; that of a loadable app must be rebased by `Text Addr` first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import msgspec

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.dumps import LONGEST_LINE, Chain, Dumps, return_frames
from heaptrail.dialects.text import HEX, NAME_CHARACTERS, PROMPT, Place, place, problem
from heaptrail.model.observations import HeapSample, Task
from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_SUMMARY = re.compile(r"\bSummary of (?:Total )?Heap Usages \(Size in Bytes\)")
_HEAP_NUMBER = re.compile(r"\bHEAP\[(\d{1,2})\] (?:has|Allocation)")
_FIGURES = (
    ("total", re.compile(r"\bTotal\s+:\s+(\d{1,12})\s+\(100%\)")),
    ("used", re.compile(r"- Allocated \(Current / Peak\)\s+:\s+(\d{1,12}) \(\d+%\) / (\d{1,12}) \(\d+%\)")),
    ("free", re.compile(r"- Free \(Current\)\s+:\s+(\d{1,12}) \(\d+%\)")),
    ("holes", re.compile(r"- Number of Free Node\s+:\s+(\d{1,9})\s*$")),
    ("largest", re.compile(r"- Largest Free Node Size\s+:\s+(\d{1,12})\s*$")),
)
_DEAD = re.compile(r"\. by Dead Threads \(\*\) \(1\)\s+:\s+(\d{1,12})\s*$")
_SUMMARY_LINES = 40
_REGION = re.compile(r"\bREGION #(\d+) Start=(?:0x){1,2}([0-9a-fA-F]{1,16}), End=(?:0x){1,2}([0-9a-fA-F]{1,16})")
_NODES_HEADING = re.compile(r"\bMemAddr \|\s+Size\s+\| Status \|\s+Owner\s+\|\s+Pid\s+\|")
_NODES_END = re.compile(r"\*\* PID\(S\) in Pid")
_NODE = re.compile(
    rf"^(?:.*\])?\s*{HEX}\s+\|\s+(?P<size>\d{{1,10}}) \|\s+(?P<state>[AF])\s+\|"
    r"(?:\s+0x\s*(?P<owner>[0-9a-fA-F]{1,16}) \|\s+(?P<pid>\d{1,5})\s*(?:\(S\))?\|?|\s+\|\s+\|)\s*$"
)
_NODE_BEGINS = re.compile(r"^\s*0x[0-9a-fA-F]{6,16}\s+\|")
_LEAK_HEADING = re.compile(r"\bType\s+\|\s+Addr\s+\|\s+Size(?:\(byte\))?\s+\|\s+Owner\s+\|\s+PID\b")
_LEAK = re.compile(rf"\bLEAK\s+\|\s+{HEX}\s+\|\s+(\d{{1,10}})\s+\|\s+{HEX}\s+\|\s+(\d{{1,5}})\s*$")
_BROKEN = re.compile(rf"\bBROKEN\s*\|\s+{HEX}\s*$")
_LEAK_BEGINS = re.compile(r"^\s*(?:LEAK|BROKEN)\s*\|")
_LEAKS_END = re.compile(r"\*\*\* (?:(\d{1,9}) LEAKS, (\d{1,9}) BROKENS\.|NO MEMORY LEAK\.)")
_TEXT_ADDRESS = re.compile(rf"(?:\[(\S{{1,31}})\] )?Text Addr : {HEX}, Text Size : (\d{{1,10}})")
_THREADS_HEADING = re.compile(r"\bPID \|(\s+PPID \|)?\s+STACK \|\s+CURR_HEAP \|\s+PEAK_HEAP \|\s+NAME\s*$")
_PS_HEADING = re.compile(r"\bPID \| PRIO \| FLAG \|\s+TYPE\s+\| NP \|\s+STATUS\s+\|(?: CPU \|)? NAME\s*$")
_ASSERT_HEADING = re.compile(r"\bNAME \|\s+PID \|\s+PRI \|\s+USED / TOTAL STACK\b")
_ASSERT_ROW = re.compile(
    r"^\s*(?P<name>\S.{0,30}?)\s+\|\s+(?P<id>\d{1,5}) \|\s+(?P<pri>\d{1,3}) \|\s+\d{1,9} /\s+(?P<size>\d{1,9}) \|"
)
"""The list of tasks that an assertion prints (os/arch/arm/src/common/up_assert.c): the peak of the stack's use."""
_FUNCTION = re.compile(r"^\s*[a-z]+_\w+: ?")
"""The debug macros print the name of the function in front of each line."""
_AT_FAILURE = re.compile(r"- (largest|total) free size\s*:\s*(\d{1,12})\s*$")
_FAILED = re.compile(r"\bAllocation failed from (\w+) heap")
_NOBODY = "dead"
"""The owner of the nodes that mark a region's ends (mm_addregion): no address."""
_IN_INTERRUPT = 32767
_LISTING_LINES = 400
_MISSES = 12
"""So many lines of other tasks in a row may fall into a table before it is over."""


class TizenRt:
    """TizenRT: heapinfo, mem_leak, tasks."""

    name: ClassVar[str] = "tizenrt"
    sample_line: ClassVar[str] = "LEAK   | 0x2020a1c0 |       128  |  0xe00a4d1 | 12"
    firmware_options: ClassVar[str] = "CONFIG_DEBUG_MM_HEAPINFO, CONFIG_MEM_LEAK_CHECKER"
    tells: ClassVar[str] = "heap totals, threads with heap bytes, live nodes with owner, blocks that nothing refers to"
    cannot_tell: ClassVar[str] = "more than one frame, where an app's code lies before it is rebased"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="heapinfo", peek="heapinfo -a", collect="heapinfo -a", prompt=r"TASH>>", help=r"TASH command list"
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"Heap Usages",
        b"HEAP[",
        b"(100%)",
        b"REGION #",
        b"MemAddr |",
        b" Owner ",
        b"LEAK   |",
        b"LEAK |",
        b"LEAK \xc2\xa0",
        b" BROKENS.",
        b"NO MEMORY LEAK.",
        b"Text Addr : ",
        b"CURR_HEAP |",
        b"| PRIO |",
        b" TOTAL STACK |",
        b"Allocation failed from",
        b"largest free size",
        b"total free size",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._dumps = Dumps("tizenrt", limits)
        self._summary: Place | None = None
        self._figures: dict[str, int] = {}
        self._heap: str | None = None
        self._listing: Place | None = None
        self._leaks = False
        self._region: tuple[int, int] | None = None
        self._chain = Chain(header_bytes=0)
        self._free_nodes = False
        self._whole = True
        self._last_line = 0
        self._left = 0
        self._kind = ""
        self._largest_bytes: int | None = None

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        return max(self._left, 64 if self._listing is not None else 0, 24 if self._summary is not None else 0)

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        if len(line.text) > LONGEST_LINE:
            return []
        if (match := _FUNCTION.match(line.text)) is not None:
            line = msgspec.structs.replace(line, text=line.text[match.end() :])
        for reader in (self._heading, self._leak, self._node, self._figure, self._row):
            if (read := reader(line)) is not None:
                return read
        return []

    def _heading(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if _SUMMARY.search(text):
            found = self._close_listing() + self._close_summary()
            self._summary = place(line, "tizenrt")
            self._left = 0
            return found
        if (match := _HEAP_NUMBER.search(text)) is not None:
            self._heap = match[1]
            return []
        if (match := _REGION.search(text)) is not None:
            found = self._close_listing()
            self._region = (int(match[2], 16), int(match[3], 16))
            return found
        if (leaks := _LEAK_HEADING.search(text) is not None) or _NODES_HEADING.search(text):
            return self._begin(line, leaks=leaks)
        headings = (("threads", _THREADS_HEADING), ("ps", _PS_HEADING), ("assert", _ASSERT_HEADING))
        kind = next((kind for kind, heading in headings if heading.search(text)), "")
        if kind:
            self._kind, self._left = kind, _MISSES
            return self._close_listing() + self._close_summary()
        return self._rare(line)

    def _begin(self, line: Line, *, leaks: bool) -> list[AnyObservation]:
        region = self._region
        found = self._close_listing()
        self._listing, self._leaks, self._region = place(line, "tizenrt"), leaks, region
        self._last_line = line.number
        return found

    def _rare(self, line: Line) -> list[AnyObservation] | None:
        where = place(line, "tizenrt")
        if (match := _TEXT_ADDRESS.search(line.text)) is not None:
            at = f"0x{match[2].lower()} ({int(match[3]):,} B)"
            # Behind a terminal's stamp, a short name in brackets was taken for a tag and is gone.
            text = f"{match[1] or 'an app'} was loaded at {at}: its owners must be rebased before look-up"
            return [problem(where, "relocated_text", text)]
        if (match := _FAILED.search(line.text)) is not None:
            self._largest_bytes = None
            return [problem(where, "alloc_failed", f"an allocation from the {match[1]} heap failed")]
        if (match := _AT_FAILURE.search(line.text)) is not None:
            if match[1] == "largest":
                self._largest_bytes = int(match[2])
                return []
            largest, self._largest_bytes = self._largest_bytes, None
            return [HeapSample(free_bytes=int(match[2]), largest_free_bytes=largest, **where)]
        return None

    def _leak(self, line: Line) -> list[AnyObservation] | None:
        """The mem_leak checker: blocks that no word of RAM points to."""
        text = line.text
        where = place(line, "tizenrt")
        if (match := _LEAKS_END.search(text)) is not None:
            return self._end_leaks(where, int(match[1] or 0))
        match = _LEAK.search(text)
        if match is not None and not self._leaks:  # a second heap's leaks are listed without a heading
            return self._begin(line, leaks=True) + (self._leak(line) or [])
        if self._listing is None or not self._leaks:
            return None
        self._expire(line)
        return self._leak_row(line, match)

    def _leak_row(self, line: Line, match: re.Match[str] | None) -> list[AnyObservation] | None:
        where = place(line, "tizenrt")
        if match is not None:
            self._last_line = line.number
            if self._dumps.where is None:
                self._dumps.open(self._listing or where)
            return self._dumps.add(
                where,
                address=int(match[1], 16),
                size_bytes=int(match[2]),
                size_kind="requested",
                task_id=int(match[4]),
                frames=return_frames(f"0x{match[3]}", self._limits),
            )
        if (broken := _BROKEN.search(line.text)) is not None:
            return [problem(where, "corrupt", f"the leak checker found a broken node at 0x{broken[1].lower()}")]
        if _LEAK_BEGINS.match(line.text):
            self._whole = False
            return [problem(where, "torn_record", "a line of the listing is torn and left out")]
        return None

    def _expire(self, line: Line) -> None:
        """A listing whose end was lost is not continued by what is printed much later."""
        if line.number - self._last_line > _LISTING_LINES:
            self._last_line = line.number
            self._whole = False

    def _end_leaks(self, where: Place, declared: int) -> list[AnyObservation]:
        begun = self._listing if self._leaks and self._listing is not None else where
        if self._dumps.where is None or not self._leaks:
            found = self._close_listing()
            self._dumps.open(begun)
        else:
            found = []
        shown, whole = self._dumps.blocks, self._whole
        if shown != declared:
            text = f"the listing declares {plural(declared, 'leak')} and shows {shown:,}"
            found.append(problem(begun, "missing_records", text))
        found += self._dumps.close(complete=whole and shown == declared, declared_blocks=declared)
        self._reset_listing()
        return found

    def _node(self, line: Line) -> list[AnyObservation] | None:
        """`heapinfo -a` and `-p PID`: all nodes of a region, or those of one task."""
        if self._listing is None or self._leaks:
            return None
        text = line.text
        if _NODES_END.search(text) or PROMPT.match(text) or line.number - self._last_line > _LISTING_LINES:
            return self._close_listing(ended=_NODES_END.search(text) is not None)
        match = _NODE.match(text)
        where = place(line, "tizenrt")
        if match is None:
            if not _NODE_BEGINS.match(text):
                return None
            self._whole = False
            return [problem(where, "torn_record", "a line of the listing is torn and left out")]
        self._last_line = line.number
        address, size_bytes = int(match[1], 16), int(match["size"])
        self._chain.add(address, size_bytes)
        if match["state"] == "F" or match["owner"] is None:
            self._free_nodes = True
            return []
        if self._dumps.where is None:
            self._dumps.open(self._listing)
        pid = int(match["pid"])
        return self._dumps.add(
            where,
            address=address,
            size_bytes=size_bytes,
            size_kind="block",
            task="INT Context" if pid == _IN_INTERRUPT else None,
            task_id=None if pid == _IN_INTERRUPT else pid,
            frames=() if match["owner"].lower() == _NOBODY else return_frames(f"0x{match['owner']}", self._limits),
        )

    def _close_listing(self, *, ended: bool = False) -> list[AnyObservation]:
        found: list[AnyObservation] = []
        begun, region = self._listing, self._region
        if self._leaks and self._dumps.where is not None:
            self._whole = False
            found.append(problem(self._dumps.where, "missing_records", "the listing ends without its totals"))
        whole: bool | None = None if self._whole else False
        if ended and self._free_nodes and begun is not None and region is not None:
            self._chain.end(region[1])
            # With the free nodes listed, the nodes of a region follow each other without a gap.
            whole = self._whole and self._chain.misfits == 0
            if not whole:
                found.append(
                    problem(begun, "missing_records", "the listing has gaps between its nodes: lines are missing")
                )
        found += self._dumps.close(complete=whole)
        self._reset_listing()
        return found

    def _reset_listing(self) -> None:
        self._listing = None
        self._leaks = False
        self._region = None
        self._chain = Chain(header_bytes=0)
        self._free_nodes = False
        self._whole = True

    def _figure(self, line: Line) -> list[AnyObservation] | None:
        if self._summary is None:
            return None
        if line.number - self._summary["line"] > _SUMMARY_LINES:
            return self._close_summary()
        if (match := _DEAD.search(line.text)) is not None:
            found = self._close_summary()
            if int(match[1]):
                text = f"{int(match[1]):,} B were allocated by threads that have ended"
                found.append(problem(place(line, "tizenrt"), "dead_owner", text))
            return found
        for key, pattern in _FIGURES:
            if (match := pattern.search(line.text)) is not None:
                self._figures[key] = int(match[1])
                if key == "used":
                    self._figures["peak"] = int(match[2])
                return []
        return None

    def _close_summary(self) -> list[AnyObservation]:
        where, self._summary = self._summary, None
        figures, self._figures = self._figures, {}
        heap, self._heap = self._heap, None
        if where is None:
            return []
        total, used, free = (figures.get(key) for key in ("total", "used", "free"))
        if total is None or used is None or free is None:
            return [problem(where, "torn_record", "the summary of the heap lacks a line; it is left out")]
        if max(used, free, figures.get("largest", 0)) > total:
            return [problem(where, "torn_record", "the summary of the heap contradicts itself; it is left out")]
        return [
            HeapSample(
                heap=heap,
                total_bytes=total,
                used_bytes=used,
                free_bytes=free,
                max_used_bytes=figures.get("peak"),
                largest_free_bytes=figures.get("largest"),
                free_blocks=figures.get("holes"),
                **where,
            )
        ]

    def _row(self, line: Line) -> list[AnyObservation] | None:
        if self._left == 0:
            return None
        self._left -= 1
        if self._kind == "assert":
            return self._asserted(line)
        cells = [cell.strip() for cell in line.text.split("|")]
        if not re.fullmatch(r"\d{1,5}", cells[0]) or len(cells[-1]) > NAME_CHARACTERS + 2:
            return None
        name = cells[-1].removesuffix("()")
        where = place(line, "tizenrt")
        if self._kind == "threads" and len(cells) in (5, 6) and all(cell.isdigit() for cell in cells[1:-1]):
            self._left = _MISSES
            stack, heap = map(int, cells[-4:-2])
            return [Task(name=name, id=int(cells[0]), stack_size_bytes=stack, heap_bytes=heap, **where)]
        if self._kind == "ps" and len(cells) in (7, 8) and cells[1].isdigit():
            self._left = _MISSES
            return [Task(name=name, id=int(cells[0]), priority=int(cells[1]), state=cells[5], **where)]
        return None

    def _asserted(self, line: Line) -> list[AnyObservation] | None:
        match = _ASSERT_ROW.match(line.text)
        if match is None:
            return None
        self._left = _MISSES
        return [
            Task(
                name=match["name"],
                id=int(match["id"]),
                priority=int(match["pri"]),
                stack_size_bytes=int(match["size"]),
                **place(line, "tizenrt"),
            )
        ]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset."""
        self._left = 0
        return self._close_listing() + self._close_summary()

    def footprint(self) -> FootprintRule | None:
        """None: `heapinfo`'s sizes are what `free` falls by, and `mem_leak` does not show the header."""
        return None
