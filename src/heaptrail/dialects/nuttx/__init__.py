"""NuttX (and openvela, which is NuttX).

Source: apache/nuttx and apache/nuttx-apps over their history (procfs, mm_heap, mempool, NSH, note drivers). Sizes of
nodes hold the allocator's overhead; frames are return addresses; an owner is a number (PID), whose name is taken from
the last `ps` that lists it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.dumps import LONGEST_LINE
from heaptrail.dialects.figures import Figures, Layout
from heaptrail.dialects.nuttx.memdump import Memdump
from heaptrail.dialects.nuttx.tables import HeapTables, TaskTable
from heaptrail.dialects.text import HEX, place, problem
from heaptrail.model.observations import Event, HeapSample, Task

if TYPE_CHECKING:
    from typing import Literal

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_NOTE = re.compile(
    rf"tracing_mark_write: C\|(\d+)\|Heap Usage\|\d+\|(malloc|free): heap: \S+ size:\s*(\d{{1,12}}), address: {HEX}\s*$"
)
_NOTE_TASK = re.compile(r"(\S(?:.{0,30}\S)?)-(\d+)\s+\[\d+\]\s+[\d.]+: tracing_mark_write")
_FAILED = re.compile(r"Allocation failed, size (\d{1,12})")
_AT_FAILURE = re.compile(
    r"Total:(\d{1,12}), used:(\d{1,12}), free:(\d{1,12}), largest:(\d{1,12}), nused:(\d{1,9}), nfree:(\d{1,9})\s*$"
)
_ASKED_HEAP = re.compile(r"\bproc/(\d{1,6})/heap\s*$")
_HEAP_OF_TASK = re.compile(r"^\s*AllocSize:\s*(\d{1,12})\s*$")
_NEAR_LINES = 8
_MALLINFO = Layout(
    figures={
        "total_bytes": re.compile(r"\bTotal space allocated from system\s*=\s*(\d{1,12})\s*$"),
        "free_blocks": re.compile(r"\bNumber of non-inuse chunks\s*=\s*(\d{1,12})\s*$"),
        "largest_free_bytes": re.compile(r"\bLargest non-inuse chunk\s*=\s*(\d{1,12})\s*$"),
        "used_bytes": re.compile(r"\bTotal allocated space\s*=\s*(\d{1,12})\s*$"),
        "free_bytes": re.compile(r"\bTotal non-inuse space\s*=\s*(\d{1,12})\s*$"),
    },
    least=3,
    any_of=frozenset({"free_bytes"}),
    last="free_bytes",
)
"""What the test program `mm` prints of mallinfo()."""


class Nuttx:
    """NuttX and openvela: free, memdump, ps, memory pools, heap notes."""

    name: ClassVar[str] = "nuttx"
    sample_line: ClassVar[str] = "    12          64        8        5321 0x3fc8f1a0 0x4200a1c4 0x4200b0f2"
    firmware_options: ClassVar[str] = "CONFIG_MM_BACKTRACE=8 (0: owners without stacks), MM_BACKTRACE_SEQNO, FS_PROCFS"
    tells: ClassVar[str] = "heap and pool totals, tasks, live blocks with owner, sequence and backtrace, heap notes"
    cannot_tell: ClassVar[str] = "the size asked for (sizes hold the overhead), the name of an owner outside of `ps`"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="free",
        peek="memdump used",
        collect="memdump used",
        moment="memdump",
        moment_pattern=r"sequence number (\d+)",
        since="memdump used {moment}",
        tasks="ps",
        prompt=r"nsh>",
        help=r"^\s*help usage:\s+help|^\s*Builtin Apps:",
        needs="CONFIG_MM_BACKTRACE=8 and CONFIG_FS_PROCFS, and memdump not disabled in NSH",
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"maxfree",
        b"largest",
        b"nifree",
        b"Memdump ",
        b"memdump",
        b"memory node info",
        b" orphan node",
        b"Dump leak memory",
        b" Backtrace",
        b"Overhead",
        b"Total Blks",
        b"POLICY",
        b"PRI SCHD",
        b"|Heap Usage|",
        b"Allocation failed, size ",
        b", nused:",
        b"AllocSize:",
        b"proc/",
        b"Total space allocated from system",
        b"Total allocated space",
        b"non-inuse ",
    )

    def __init__(self, limits: Limits) -> None:
        self._heaps = HeapTables()
        self._tasks = TaskTable(limits)
        self._memdump = Memdump(limits, self._tasks)
        self._mallinfo = Figures(self.name, _MALLINFO)
        self._asked: tuple[int, int] | None = None

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        return max(self._memdump.wants, self._heaps.wants, self._tasks.wants, 2 if self._asked is not None else 0)

    @property
    def due(self) -> int | None:
        """See `Dialect`."""
        return self._mallinfo.due

    def passes(self, raw: bytes) -> bool:
        """See `Dialect`."""
        others = self._memdump.wants or self._tasks.wants or self._asked is not None
        return not others and self._heaps.passes(raw)

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        if len(line.text) > LONGEST_LINE:
            return []
        found = self._mallinfo.tick(line)
        readers = (self._event, self._memdump.read, self._heaps.read, self._tasks.read, self._mallinfo.read, self._rare)
        for reader in readers:
            if (read := reader(line)) is not None:
                return found + read
        return found

    def _event(self, line: Line) -> list[AnyObservation] | None:
        match = _NOTE.search(line.text) if "|Heap Usage|" in line.text else None
        if match is None:
            return None
        task = _NOTE_TASK.search(line.text)
        op: Literal["alloc", "free"] = "alloc" if match[2] == "malloc" else "free"
        return [
            Event(
                op=op,
                address=int(match[4], 16),
                size_bytes=int(match[3]),
                task=None if task is None else task[1],
                **place(line, "nuttx"),
            )
        ]

    def _rare(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if "Allocation failed" in text and (match := _FAILED.search(text)) is not None:
            return [problem(place(line, "nuttx"), "alloc_failed", f"an allocation of {int(match[1]):,} B failed")]
        if "nused:" in text and (match := _AT_FAILURE.search(text)) is not None:
            total, used, free, largest, blocks, holes = map(int, match.groups())
            return [
                HeapSample(
                    total_bytes=total,
                    used_bytes=used,
                    free_bytes=free,
                    largest_free_bytes=largest,
                    used_blocks=blocks,
                    free_blocks=holes,
                    **place(line, "nuttx"),
                )
            ]
        if "proc/" in text and (match := _ASKED_HEAP.search(text)) is not None:
            self._asked = (int(match[1]), line.number)
            return []
        if self._asked is not None:
            return self._heap_of_task(line)
        return None

    def _heap_of_task(self, line: Line) -> list[AnyObservation] | None:
        """/proc/PID/heap, whose owner stands only in the command that was typed."""
        assert self._asked is not None
        number, asked_line = self._asked
        match = _HEAP_OF_TASK.match(line.text)
        if match is None:
            if line.number - asked_line > _NEAR_LINES:
                self._asked = None
            return None
        self._asked = None
        name = self._tasks.names.get(number, f"PID {number}")
        return [Task(name=name, id=number, heap_bytes=int(match[1]), **place(line, "nuttx"))]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset: numbers of tasks begin anew."""
        found = self._memdump.close() + self._mallinfo.close()
        self._heaps.close()
        self._tasks.forget()
        self._asked = None
        return found

    def footprint(self) -> FootprintRule | None:
        """None: a node's size is what `free` falls by."""
        return None
