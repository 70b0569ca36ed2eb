"""ESP-IDF: what Espressif's heap component prints, and what firmware on its chips prints of the heap."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.espidf.bluedroid import OsiListing
from heaptrail.dialects.espidf.events import Hooks, ToolReport
from heaptrail.dialects.espidf.heaps import BlockListing, Regions, complaint
from heaptrail.dialects.espidf.tasks import Tracking
from heaptrail.dialects.espidf.trace import Trace
from heaptrail.dialects.oneliners import TRIGGERS, OneLiners

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_ESP_WORDS = re.compile(
    r"(?i)\besp(?:8266|32)|\besp(?:[_.]get|\w*> )|\bESP(?:[.\w]*\b| )free|spiram|malloc_cap|heap_caps"
    r"|\[[EWIDV]\]\[[\w.-]{1,40}:\d{1,6}\] \w+\(\)"
)
"""What shows that a line of firmware's own is of an ESP chip: the chip's name, its functions, Arduino's log format."""


class EspIdf:
    """ESP-IDF: heap traces, totals by region, task tracking, hooks, and the SystemView tool's report.

    A console has several readers, since a log holds several of these: each line goes to the first that knows it.
    """

    name: ClassVar[str] = "espidf"
    sample_line: ClassVar[str] = (
        "36 bytes (@ 0x3ffb5e10) allocated CPU 0 ccount 0x0a8b1e60 caller 0x400d2b6c:0x400d2f64"
    )
    firmware_options: ClassVar[str] = (
        "totals need none; CONFIG_HEAP_TRACING_STANDALONE and CONFIG_HEAP_TRACING_STACK_DEPTH for traces (RISC-V also "
        "CONFIG_ESP_SYSTEM_USE_FRAME_POINTER), CONFIG_HEAP_TASK_TRACKING for bytes by task, CONFIG_HEAP_USE_HOOKS for "
        "hooks"
    )
    tells: ClassVar[str] = (
        "Requested size and callers of blocks live in a trace, free and smallest-ever free by region, bytes by task."
    )
    cannot_tell: ClassVar[str] = (
        "The task of a traced block, its age, and what the allocator adds to it; a full trace buffer loses the oldest "
        "blocks."
    )
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="free",
        prompt=r"esp[\w-]*>",
        help=r"Print the (?:list|summary) of (?:all )?registered commands",
        needs=(
            "commands of your own that call heap_trace_start(HEAP_TRACE_LEAKS), heap_trace_dump() and "
            "heap_trace_stop() (CONFIG_HEAP_TRACING_STANDALONE), named in [target.commands]"
        ),
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b" bytes (@ 0x",
        b" allocations trace (",
        b"Heap Trace",
        b"freed by 0x",
        b"bytes 'leaked' in trace",
        b"bytes alive in trace",
        b"total allocations",
        b"total frees",
        b"(NB: ",
        b"heap trace linked list is corrupt",
        b"Heap summary for capabilities",
        b" min_free ",
        b"largest_free_block ",
        b"Showing data for heap",
        b" data, size: ",
        b" data size 0x",
        b"Heap start 0x",
        b"CORRUPT HEAP:",
        b"block already marked as free",
        b"failed to allocate ",
        b"Mem alloc fail",
        b"CURRENT MEMORY USAGE",
        b"Load\tPrio",
        b"Load Prio",
        b"ALIVE",
        b"DELETED",
        b" -> CAP_",
        b" -> MALLOC_CAP_",
        b"--> p 0x",
        b"--> count ",
        b"ALLOC 0x",
        b"alloc: 0x",
        b"ALLOC: 0x",
        b"Alloc: 0x",
        b"free: 0x",
        b"freed: 0x",
        b"FREE: 0x",
        b"Free: 0x",
        b"esp_sysview_heap_trace_",
        b"] HEAP: ",
        b"HEAP TRACE REPORT",
        b" leaked bytes in ",
        b"> free",
        *TRIGGERS,
    )

    def __init__(self, limits: Limits) -> None:
        dumps = count(1)
        self._trace = Trace(limits, dumps)
        self._hooks = Hooks(limits)
        self._regions = Regions()
        self._blocks = BlockListing(limits, dumps)
        self._osi = OsiListing(limits, dumps)
        self._tracking = Tracking(limits, dumps)
        self._tool = ToolReport(limits, dumps)
        self._oneliners = OneLiners(self.name, console=True)
        self._sure = False

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return max(self._trace.wants, self._hooks.wants, self._tracking.wants, self._oneliners.wants)

    def feed(self, line: Line) -> Iterable[AnyObservation]:
        """What this line completes."""
        found: list[AnyObservation] = []
        for waiting in (self._trace, self._hooks, self._blocks, self._osi, self._tracking, self._oneliners):
            found += waiting.tick(line)
        for reader in (self._trace, self._hooks, self._regions, self._blocks, self._osi, self._tracking, self._tool):
            taken = reader.read(line)
            if taken is not None:
                self._sure |= reader is not self._hooks
                return found + taken
        taken = complaint(line)
        if taken is not None:
            return found + taken
        self._sure |= line.system == self.name or _ESP_WORDS.search(line.text) is not None
        return found + (self._oneliners.read(line) or [] if self._sure else [])

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        found = self._trace.close() + self._hooks.close() + self._regions.close() + self._blocks.close()
        return found + self._osi.close() + self._tracking.close() + self._tool.close() + self._oneliners.close()

    def footprint(self) -> FootprintRule | None:
        """None: the header is 4 to 8 bytes and more with poisoning, and no line shows which."""
        return None
