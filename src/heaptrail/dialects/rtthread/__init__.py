"""RT-Thread, and systems that copied its memory commands (OneOS).

Source: RT-Thread's src/mem.c, src/memheap.c, components/finsh/cmd.c from 3.x to 5.x. `memtrace` tells owners by four
characters of a thread's name and no call sites.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.dumps import LONGEST_LINE
from heaptrail.dialects.rtthread.memtrace import Memtrace
from heaptrail.dialects.rtthread.tables import HeapTotals, Tables
from heaptrail.dialects.text import HEX, Place, place, problem
from heaptrail.model.evidence import FootprintRule

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_WRONG = re.compile(r"\bMemory block wrong\s*:")
_WRONG_ADDRESS = re.compile(rf"\baddress\s*:\s*{HEX}\s*$")
_REPORT_LINES = 24


class RtThread:
    """RT-Thread: heap totals, memtrace and memheap listings, thread tables."""

    name: ClassVar[str] = "rtthread"
    sample_line: ClassVar[str] = "[0x20004ad0 -   256] main"
    firmware_options: ClassVar[str] = "RT_USING_MEMTRACE (memtrace, memcheck), RT_USING_FINSH (free, ps)"
    tells: ClassVar[str] = "heap totals, memheaps, threads with stack use, live items with four letters of their owner"
    cannot_tell: ClassVar[str] = "call sites, exact sizes above 1023 bytes, whole names of owners"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="free",
        peek="memtrace",
        collect="memtrace",
        tasks="ps",
        prompt=r"(?:msh|finsh) ?(?:/\S*)?>+",
        help=r"RT-Thread shell commands:",
        needs="RT_USING_MEMTRACE, and the small memory allocator (RT_USING_SMALL_MEM)",
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"total memory",
        b"used memory",
        b"maximum allocated",
        b"total    :",
        b"total   :",
        b"total :",
        b"total \xc2\xa0",
        b"memory heap address",
        b"memory item information",
        b"memory used information",
        b"memheap ",
        b"max used",
        b"Memory block wrong",
    )

    def __init__(self, limits: Limits) -> None:
        self._memtrace = Memtrace(limits)
        self._totals = HeapTotals()
        self._tables = Tables()
        self._wrong: Place | None = None

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        wrong = 8 if self._wrong is not None else 0
        return max(self._memtrace.wants, self._totals.wants, self._tables.wants, wrong)

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        if len(line.text) > LONGEST_LINE:
            return []
        for reader in (self._wrong_block, self._memtrace.read, self._totals.read, self._tables.read):
            if (read := reader(line)) is not None:
                return read
        return []

    def _wrong_block(self, line: Line) -> list[AnyObservation] | None:
        """What `memcheck` prints when it finds something; it is silent when all is well."""
        if _WRONG.search(line.text):
            found = self._close_wrong("at an unknown address")
            self._wrong = place(line, "rtthread")
            return found
        if self._wrong is None:
            return None
        match = _WRONG_ADDRESS.search(line.text)
        if match is not None:
            return self._close_wrong(f"at 0x{match[1].lower()}")
        if line.number - self._wrong["line"] > _REPORT_LINES:
            return self._close_wrong("at an unknown address")
        return None

    def _close_wrong(self, at: str) -> list[AnyObservation]:
        where, self._wrong = self._wrong, None
        return [] if where is None else [problem(where, "corrupt", f"memcheck found a damaged heap item {at}")]

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset."""
        found = self._close_wrong("at an unknown address") + self._memtrace.close() + self._totals.close()
        self._tables.close()
        return found

    def footprint(self) -> FootprintRule | None:
        """The header as the distance between the items shows it; sizes are already rounded to the alignment."""
        header = self._memtrace.header_bytes
        if header is None or header % 4:
            return None
        basis = f"RT-Thread's items stand {header} bytes further apart than their sizes"
        return FootprintRule(header_bytes=header, align_bytes=4, basis=basis)
