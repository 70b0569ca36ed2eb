"""LiteOS and OpenHarmony's LiteOS-M and LiteOS-A.

Source: kernel_liteos_m and kernel_liteos_a (los_memory.c, the shell's memory and task commands), LiteOS (los_memory.c,
mem_shellcmd.c), and OpenHarmony's documents. Everything in these tables is hexadecimal, even counts, but `free` is
decimal. A node's size holds its header; frames are return addresses (LR), 0 stands for none. No owner is printed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.dumps import LONGEST_LINE, Dumps, return_frames
from heaptrail.dialects.text import HEX, NAME_CHARACTERS, PROMPT, Place, place, problem
from heaptrail.model.observations import HeapSample, Task

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_NODES_HEADING = re.compile(r"\bnode\s+(size\s+)?LR\[0\](?:\s+LR\[\d\d?\])*\s*$")
_SECTIONS_HEADING = re.compile(r"\btext\s+data\s+rodata\s+bss\s*$")
_NODE = re.compile(rf"^(?:.*\])?\s*{HEX}\s*:\s+{HEX}(?P<frames>(?:\s+0[xX][0-9a-fA-F]{{1,16}}(?!\S))*)\s*$")
_NODE_BEGINS = re.compile(r"^\s*0x[0-9a-fA-F]{6,16}\s*:")
_POOL_HEADING = re.compile(r"\bpool addr\s+pool size\s+used size\s+free size\s+max free\b")
_POOL_ROW = re.compile(r"^(?:.*\])?\s*((?:0x[0-9a-fA-F]{1,16}\s+){6,7}0x[0-9a-fA-F]{1,16})\s*$")
_FREE_COMMAND = re.compile(r"[#>$]\s*free(?:\s+(-[km]))?\s*$")
_FREE_HEADING = re.compile(r"(?:^|\s)total\s+used\s+free(?:\s+heap)?\s*$")
_FREE_ROW = re.compile(r"(?:^|\s)(Mem1?):\s+(\d{1,10})\s+(\d{1,10})\s+(\d{1,10})(?:\s+(\d{1,10}))?\s*$")
_TASK_HEADING = re.compile(r"\bName\s+TaskEntryAddr\s+TID\s+(.*\bStatus\s+(.*\S))\s*$")
_TASK_ROW = re.compile(
    r"^(?:.*\])?\s*(?P<name>\S.{0,60}?)\s+0x[0-9a-fA-F]{1,16}\s+0x(?P<id>[0-9a-fA-F]{1,8})\s+(?:0x[0-9a-fA-F]{1,8}\s+-?\d{1,3}\s+)?"
    r"(?P<priority>\d{1,3})\s+(?P<state>[A-Z][A-Za-z]+)\s+(?P<rest>\S.*?)\s*$"
)
_PAGE_BYTES = 4096
_LISTING_LINES = 400
_MISSES = 12
"""So many lines of other tasks in a row may fall into a table before it is over."""


class LiteOs:
    """LiteOS and OpenHarmony: pools, used nodes with callers, tasks."""

    name: ClassVar[str] = "liteos"
    sample_line: ClassVar[str] = "0x20006a10: 0x418  0x0800b21e  0x0800b2d4  0x08004c10"
    firmware_options: ClassVar[str] = "LOSCFG_MEM_LEAKCHECK, LOSCFG_MEM_RECORD_LR_CNT 3, LOSCFG_MEM_WATERLINE"
    tells: ClassVar[str] = "heap totals, tasks with heap bytes, used nodes with up to three return addresses"
    cannot_tell: ClassVar[str] = "owners of nodes, sizes in LiteOS-A's newer listing, whether a listing is whole"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="free", prompt=r"(?:OHOS|Huawei LiteOS|LiteOS) ?(?:[:/]\S*)? ?[#$]", help=r"\*+ ?shell commands: ?\*+"
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"LR[0]",
        b"pool addr",
        b"# free",
        b"used          free",
        b"used free",
        b"used \xc2\xa0",
        b"Mem:",
        b"Mem1:",
        b"TaskEntryAddr",
        b"LOS_MemIntegrityCheck",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._dumps = Dumps("liteos", limits)
        self._nodes: Place | None = None
        self._depth = 0
        self._whole = True
        self._last_line = 0
        self._option: str | None = None
        self._left = 0
        self._kind = ""
        self._columns: tuple[str, ...] = ()

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        return max(self._left, 64 if self._nodes is not None else 0)

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        if len(line.text) > LONGEST_LINE:
            return []
        for reader in (self._heading, self._node, self._row):
            if (read := reader(line)) is not None:
                return read
        return []

    def _heading(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if (match := _NODES_HEADING.search(text)) is not None:
            self._depth = match[0].count("LR[")
            return self._begin_nodes(line, with_sizes=match[1] is not None)
        if _SECTIONS_HEADING.search(text):  # what the sections take is printed as a row `Mem:`, too
            self._left = 0
            return []
        if "LOS_MemIntegrityCheck error" in text:
            return [problem(place(line, "liteos"), "corrupt", "the heap's own check failed; its nodes are not listed")]
        if (match := _FREE_COMMAND.search(text)) is not None:
            self._option = match[1] or ""
            return self._close_nodes()
        kind = "pool" if _POOL_HEADING.search(text) else "free" if _FREE_HEADING.search(text) else ""
        if (match := _TASK_HEADING.search(text)) is not None:
            kind = "task"
            self._columns = tuple(match[2].split())
        if not kind:
            return None
        self._kind, self._left = kind, _MISSES
        return self._close_nodes()

    def _begin_nodes(self, line: Line, *, with_sizes: bool) -> list[AnyObservation]:
        found = self._close_nodes()
        where = place(line, "liteos")
        if not with_sizes:
            text = "this listing of nodes prints no sizes (LiteOS-A); it is left out"
            return [*found, problem(where, "missing_sizes", text)]
        self._nodes = where
        self._last_line = line.number
        self._left = 0
        return found

    def _node(self, line: Line) -> list[AnyObservation] | None:
        if self._nodes is None:
            return None
        if line.number - self._last_line > _LISTING_LINES or PROMPT.match(line.text):
            return self._close_nodes()
        match = _NODE.match(line.text)
        where = place(line, "liteos")
        if match is None or len(match["frames"].split()) != self._depth:
            if _NODE_BEGINS.match(line.text):
                self._whole = False
                return [problem(where, "torn_record", "a line of the listing is torn and left out")]
            return None
        self._last_line = line.number
        if self._dumps.where is None:
            self._dumps.open(self._nodes)
        return self._dumps.add(
            where,
            address=int(match[1], 16),
            size_bytes=int(match[2], 16),
            size_kind="block",
            frames=return_frames(match["frames"], self._limits),
        )

    def _close_nodes(self) -> list[AnyObservation]:
        self._nodes = None
        whole, self._whole = self._whole, True
        return self._dumps.close(complete=None if whole else False)

    def _row(self, line: Line) -> list[AnyObservation] | None:
        if self._left == 0:
            return None
        self._left -= 1
        found = {"pool": self._pool, "free": self._free, "task": self._task}[self._kind](line)
        if found is not None:
            self._left = _MISSES
        return found

    def _pool(self, line: Line) -> list[AnyObservation] | None:
        match = _POOL_ROW.match(line.text)
        if match is None:
            return None
        figures = [int(figure, 16) for figure in match[1].split()]
        base, total, used, free, largest, used_nodes, free_nodes = figures[:7]
        if max(used, free, largest) > total:
            return [problem(place(line, "liteos"), "torn_record", "the row of the pool contradicts itself")]
        return [
            HeapSample(
                heap=f"0x{base:08x}",
                total_bytes=total,
                used_bytes=used,
                free_bytes=free,
                largest_free_bytes=largest,
                used_blocks=used_nodes,
                free_blocks=free_nodes,
                max_used_bytes=figures[7] if len(figures) > 7 else None,
                **place(line, "liteos"),
            )
        ]

    def _free(self, line: Line) -> list[AnyObservation] | None:
        """`free` in bytes, `free -k` and `free -m` look alike; the memory of a board is a number of whole pages."""
        match = _FREE_ROW.search(line.text)
        if match is None:
            return None
        where = place(line, "liteos")
        total, used, free = int(match[2]), int(match[3]), int(match[4])
        in_bytes = self._option == "" or (self._option is None and total >= 1 << 20 and total % _PAGE_BYTES == 0)
        if not in_bytes:
            text = "`free` printed rounded or unknown units; use it without -k and -m"
            return [problem(where, "unknown_unit", text)]
        if used + free != total:
            return [problem(where, "torn_record", f"the row {match[1]} of `free` contradicts itself; it is left out")]
        found: list[AnyObservation] = [
            HeapSample(heap=match[1], total_bytes=total, used_bytes=used, free_bytes=free, **where)
        ]
        if match[5]:
            found.append(HeapSample(heap="heap", used_bytes=int(match[5]), **where))
        return found

    def _task(self, line: Line) -> list[AnyObservation] | None:
        match = _TASK_ROW.match(line.text)
        if match is None:
            return None
        if len(match["name"]) > NAME_CHARACTERS:
            return [problem(place(line, "liteos"), "torn_record", "a row of the task table holds another line")]
        values = match["rest"].split()
        cells = dict(zip(self._columns, values, strict=False))
        heap = _figure(cells.get("AllocSize"))
        if self._columns[-1] == "MEMUSE":
            heap = _figure(values[-1])
        return [
            Task(
                name=match["name"],
                id=int(match["id"], 16),
                state=match["state"],
                priority=int(match["priority"]),
                stack_size_bytes=_figure(cells.get("StackSize")),
                heap_bytes=heap,
                **place(line, "liteos"),
            )
        ]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset."""
        self._left = 0
        self._option = None
        return self._close_nodes()

    def footprint(self) -> FootprintRule | None:
        """None: a node's size is what `free` falls by."""
        return None


def _figure(printed: str | None) -> int | None:
    """`0x1000` or `4096`; None for anything else."""
    if printed is None or not re.fullmatch(r"0x[0-9a-fA-F]{1,12}|\d{1,12}", printed):
        return None
    return int(printed, 16 if printed.startswith("0x") else 10)
