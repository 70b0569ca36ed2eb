"""AliOS Things (the rhino kernel).

Source: AliOS-Things' k_mm_debug.c, k_overview.c, tools/cli dumpsys and the documents of its debug component. `[HEAP]|`
tables are hexadecimal bytes. A block's address is that of its HEADER, its length what the caller can use; the caller
and, with RHINO_CONFIG_MM_TRACE_LVL, a short trace are return addresses. The `0x%p` of the listing doubles the prefix.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.dumps import LONGEST_LINE, Chain, Dumps, return_frames
from heaptrail.dialects.text import HEX, NAME_CHARACTERS, PROMPT, Place, place, problem
from heaptrail.model.evidence import FootprintRule
from heaptrail.model.observations import HeapSample, Task
from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_TOTALS_HEADING = re.compile(r"\[(HEAP|POOL)\]((?:\s*\|\s*\w+)+)\s*\|\s*$")
_TOTALS_ROW = re.compile(r"^(?:.*\])?\s*\|((?:\s*(?:0x[0-9A-Fa-f]{1,16}|\d{1,12})\s*\|){3,7})\s*$")
_BLOCKS_HEADING = re.compile(r"\bBlk_Addr\s+Stat\s+Len\s+Chk\s+Caller\b")
_BLOCK = re.compile(
    rf"^(?:.*\])?\s*{HEX}\s+(?P<bad>!?)(?P<state>used|free)\s+(?P<size>\d{{1,10}}|sentinel)\s+(?:OK|[0-9a-fA-F]{{1,8}})\s+"
    rf"0x(?P<caller>[0-9a-fA-F]{{1,16}})\s*(?:\((?P<trace>[^()]*)\))?\s*$"
)
_BLOCK_BEGINS = re.compile(r"^\s*(?:0x){1,2}[0-9a-fA-F]{6,16}\s+!?(?:used|free)\b")
_NEW_BLOCKS_END = re.compile(r"-New alloced blocks info ends\.")
_RULER = re.compile(r"^\s*-{8,}\s*\[?[A-Za-z]")
_TASK_BYTES_HEADING = re.compile(r"\bTaskName\s+Prio\s+StackSize\s+HeapAllocSize\b")
_TASK_BYTES_ROW = re.compile(r"^(?:.*\])?\s*(\S.{0,30}?)\s+(\d{1,4})\s+\d{1,9}\s+(\d{1,12})\s*$")
_OTHER_BYTES = re.compile(r"\bAllocated in ISR (-?\d{1,12}), Allocated by deleted task (\d{1,12})")
_TASKS_HEADING = re.compile(r"\bName\s+(ID\s+)?State\s+Prio\s+StackSize\s+MinFreesize\b")
_TASKS_ROW = re.compile(
    r"^(?:.*\])?\s*(?P<name>\S.{0,30}?)\s+(?:(?P<id>\d{1,6})\s+)?(?P<state>RDY|PEND|SUS|PEND_SUS|SLP|SLP_SUS|DELETED|ERROR)"
    r"\s+(?P<priority>\d{1,4})\s+(?P<stack>\d{1,9})\s+(?P<free>\d{1,9})\s+\d+\s+[YN]\b"
)
_OVERVIEW_HEADING = re.compile(r"\bTaskName\s+State\s+Prio\s+Stack\s+StackSize \(MinFree\)")
_OVERVIEW_ROW = re.compile(
    r"^(?:.*\])?\s*(?P<name>\S.{0,30}?)\s+(?P<state>[A-Z_]{3,8})\s+0x(?P<priority>[0-9A-F]{1,8})\s+0x[0-9A-F]{1,16}\s+"
    r"0x(?P<stack>[0-9A-F]{1,8})\(0x(?P<free>[0-9A-F]{1,8})\)\s*$"
)
_FIELDS = {
    "TotalSz": "total",
    "PoolSz": "total",
    "FreeSz": "free",
    "UsedSz": "used",
    "MinFreeSz": "min",
    "MaxFreeBlkSz": "largest",
    "SucAllocNum": "allocations",
    "SucFreeNum": "frees",
}
_LISTING_LINES = 400
_MISSES = 12
"""So many lines of other tasks in a row may fall into a table before it is over."""


class AliOs:
    """AliOS Things: heap overview, memory blocks, task tables."""

    name: ClassVar[str] = "alios"
    sample_line: ClassVar[str] = "0x0x20008b40  used     128   OK  0x0801c2f0"
    firmware_options: ClassVar[str] = "RHINO_CONFIG_MM_DEBUG, RHINO_CONFIG_MM_TRACE_LVL, RHINO_CONFIG_KOBJ_LIST"
    tells: ClassVar[str] = (
        "heap totals, tasks with stack reserve and heap bytes, live blocks with caller or short trace"
    )
    cannot_tell: ClassVar[str] = "owners of single blocks, frees as they happen"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="dumpsys mm", peek="dumpsys mm_info", collect="dumpsys mm_info", help=r"=+ ?Build-in Commands ?=+"
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"[HEAP]",
        b"[POOL]",
        b"Blk_Addr",
        b"HeapAllocSize",
        b"Allocated in ISR",
        b"MinFreesize",
        b"(MinFree)",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._dumps = Dumps("alios", limits)
        self._chain = Chain()
        self._header_bytes: int | None = None
        self._blocks: Place | None = None
        self._whole: bool | None = None
        self._ended = False
        self._last_line = 0
        self._left = 0
        self._kind = ""
        self._columns: tuple[str, ...] = ()

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        return max(self._left, 64 if self._blocks is not None else 0)

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        if len(line.text) > LONGEST_LINE:
            return []
        for reader in (self._heading, self._block, self._row):
            if (read := reader(line)) is not None:
                return read
        return []

    def _heading(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if _BLOCKS_HEADING.search(text):
            found = self._close_blocks()
            self._blocks = place(line, "alios")
            self._last_line = line.number
            return found
        if (match := _OTHER_BYTES.search(text)) is not None:
            return self._other_bytes(line, int(match[1]), int(match[2]))
        kind = ""
        if (match := _TOTALS_HEADING.search(text)) is not None:
            kind = match[1]
            self._columns = tuple(cell.strip() for cell in match[2].split("|")[1:])
        elif _TASK_BYTES_HEADING.search(text):
            kind = "bytes"
        elif (match := _TASKS_HEADING.search(text)) is not None:
            kind = "tasks" if match[1] else "old tasks"
        elif _OVERVIEW_HEADING.search(text):
            kind = "overview"
        if not kind:
            return None
        self._kind, self._left = kind, _MISSES
        return self._close_blocks()

    def _other_bytes(self, line: Line, in_interrupts: int, of_dead: int) -> list[AnyObservation]:
        self._left = 0
        where = place(line, "alios")
        found: list[AnyObservation] = []
        if in_interrupts >= 0:  # the pool that the kernel subtracts may be larger
            found.append(Task(name="ISR", heap_bytes=in_interrupts, **where))
        if of_dead:
            found.append(problem(where, "dead_owner", f"{of_dead:,} B were allocated by tasks that have ended"))
        return found

    def _block(self, line: Line) -> list[AnyObservation] | None:
        if self._blocks is None:
            return None
        text = line.text
        if _NEW_BLOCKS_END.search(text):
            self._whole = self._whole is not False
            return self._close_blocks()
        if line.number - self._last_line > _LISTING_LINES or _RULER.match(text) or PROMPT.match(text):
            return self._close_blocks()
        match = _BLOCK.match(text)
        where = place(line, "alios")
        if match is None:
            if not _BLOCK_BEGINS.match(text):
                return None
            self._whole = False
            return [problem(where, "torn_record", "a line of the listing is torn and left out")]
        self._last_line = line.number
        return self._listed(where, match)

    def _listed(self, where: Place, match: re.Match[str]) -> list[AnyObservation]:
        address = int(match[1], 16)
        if match["bad"]:
            self._whole = False
            return [problem(where, "corrupt", f"the header of the block at 0x{address:08x} is overwritten")]
        if match["size"] == "sentinel":  # the end of a region, so all of its blocks are listed
            self._chain.end(address)
            self._ended = True
            return []
        size_bytes = int(match["size"])
        self._chain.add(address, size_bytes)
        if match["state"] == "free":
            return []
        if self._dumps.where is None and self._blocks is not None:
            self._dumps.open(self._blocks)
        frames = return_frames(match["trace"] or f"0x{match['caller']}", self._limits)
        return self._dumps.add(where, address=address, size_bytes=size_bytes, size_kind="requested", frames=frames)

    def _close_blocks(self) -> list[AnyObservation]:
        begun, self._blocks = self._blocks, None
        whole, self._whole = self._whole, None
        ended, self._ended = self._ended, False
        chain, self._chain = self._chain, Chain()
        if begun is None:
            return []
        found: list[AnyObservation] = []
        if ended:
            self._header_bytes = chain.header_bytes or self._header_bytes
            if chain.misfits:
                text = f"the listing has {plural(chain.misfits, 'gap')} between its blocks: lines are missing"
                found.append(problem(begun, "missing_records", text))
            whole = whole is not False and not chain.misfits
        return found + self._dumps.close(complete=whole)

    def _row(self, line: Line) -> list[AnyObservation] | None:
        if self._left == 0:
            return None
        self._left -= 1
        if self._kind in ("HEAP", "POOL"):
            found = self._totals(line)
        elif self._kind == "bytes":
            found = self._task_bytes(line)
        else:
            found = self._task(line)
        if found is not None:
            self._left = 0 if self._kind in ("HEAP", "POOL") else _MISSES
        return found

    def _totals(self, line: Line) -> list[AnyObservation] | None:
        match = _TOTALS_ROW.match(line.text)
        printed = [] if match is None else match[1].replace("|", " ").split()
        figures = [int(figure, 16 if figure.startswith("0x") else 10) for figure in printed]
        if len(figures) != len(self._columns):
            return None
        cells = {_FIELDS.get(name, name): figure for name, figure in zip(self._columns, figures, strict=True)}
        if not {"total", "free", "used"} <= cells.keys():
            return None
        where = place(line, "alios")
        if cells["used"] + cells["free"] != cells["total"]:
            return [problem(where, "torn_record", "the row of the heap contradicts itself; it is left out")]
        return [
            HeapSample(
                heap=None if self._kind == "HEAP" else "pool",
                total_bytes=cells["total"],
                free_bytes=cells["free"],
                used_bytes=cells["used"],
                min_free_bytes=cells.get("min"),
                largest_free_bytes=cells.get("largest"),
                allocations=cells.get("allocations"),
                frees=cells.get("frees"),
                **where,
            )
        ]

    def _task_bytes(self, line: Line) -> list[AnyObservation] | None:
        match = _TASK_BYTES_ROW.match(line.text)
        if match is None:
            return None
        # StackSize is in words of the CPU here, other than in `tasklist`.
        where = place(line, "alios")
        return [Task(name=match[1], priority=int(match[2]), heap_bytes=int(match[3]), **where)]

    def _task(self, line: Line) -> list[AnyObservation] | None:
        match = (_OVERVIEW_ROW if self._kind == "overview" else _TASKS_ROW).match(line.text)
        if match is None or len(match["name"]) > NAME_CHARACTERS:
            return None
        base = 16 if self._kind == "overview" else 10
        stack, free = int(match["stack"], base), int(match["free"], base)
        cells = match.groupdict()
        in_bytes = self._kind != "old tasks"  # the older table mixes bytes and words
        return [
            Task(
                name=match["name"],
                id=int(cells["id"]) if cells.get("id") else None,
                state=match["state"],
                priority=int(match["priority"], base),
                stack_size_bytes=stack if in_bytes else None,
                stack_free_min_bytes=free if in_bytes else None,
                **place(line, "alios"),
            )
        ]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset."""
        self._left = 0
        return self._close_blocks()

    def footprint(self) -> FootprintRule | None:
        """The header as the distance between the blocks shows it; lengths are already rounded to the alignment."""
        header = self._header_bytes
        if header is None or header % 4:
            return None
        basis = f"AliOS's blocks stand {header} bytes further apart than their lengths"
        return FootprintRule(header_bytes=header, align_bytes=4, basis=basis)
