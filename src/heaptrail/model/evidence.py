"""All observations of one or more captures, put in the order in which analysis asks for them."""

from __future__ import annotations

from typing import Literal

import msgspec

from heaptrail.model.observations import Block, Dump, Event, HeapSample, Mark, Problem, SiteCount, Task
from heaptrail.model.verdict import JudgeSettings


class FootprintRule(msgspec.Struct, frozen=True, kw_only=True):
    """How much `free` falls for a block of a given size: the allocator's header and rounding.

    Args:
        header_bytes: Bookkeeping in front of each block, itself a multiple of the alignment.
        align_bytes: Every block is a multiple of this.
        basis: One phrase that says where the rule comes from, printed beside the books.
    """

    header_bytes: int
    align_bytes: int
    basis: str

    def footprint_bytes(self, requested_bytes: int) -> int:
        """The fall of `free` for one block of `requested_bytes` (header added, rounded up to the alignment)."""
        return -(-(requested_bytes + self.header_bytes) // self.align_bytes) * self.align_bytes


class CaptureInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What was read: `name` is a file name without its folder, `dialects` those that found something.

    `build_id` and `settings` are those of the recording (the ELF's build id, the terms of the workload file), None for
    a plain log.
    """

    name: str
    format: Literal["cast", "text", "image", "stream"]
    bytes_read: int
    lines: int
    dialects: tuple[str, ...] = ()
    started_unix_s: float | None = None
    build_id: str | None = None
    settings: JudgeSettings | None = None


class LiveDump(msgspec.Struct, frozen=True, kw_only=True):
    """A dump with its blocks and what the capture says of the moment it was taken.

    Args:
        dump: The dump's own record; its `boot`, `cycle` and `t_s` are the dump's moment.
        blocks: The live blocks, in the order printed; records of blocks already freed are left out.
        armed_cycle: The cycle in which the tracer was switched on, None where the log does not show it. Blocks born
            before that are not in the listing.
        workload: `stopped` when the workload had ended and torn down before the dump, `running` when it had not, None
            where the log does not tell.
    """

    dump: Dump
    blocks: tuple[Block, ...]
    armed_cycle: int | None = None
    workload: Literal["running", "stopped"] | None = None


class TaskHistory(msgspec.Struct, frozen=True, kw_only=True):
    """One task over the whole capture: its last row, and the lowest stack reserve seen."""

    last: Task
    rows: int
    stack_free_min_words: int | None = None
    stack_free_min_bytes: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about one run.

    Args:
        samples: Heap readings in log order; those of different boots are told apart by `boot`.
        sites: A tracer's counters of each call stack, once for each time that they were printed, in log order.
        marks: Boots, cycle ends and steps in log order.
        cycles_from: What tells the cycles: `marks` when the log or the driver marked their ends, None when nothing
            does (then `cycle` is None everywhere and time takes its place).
        boots: Number of boots seen, at least 1.
        footprint: The allocator's rule where the dialect knows it, else None.
        problems_omitted: Problems beyond the limit, counted and not kept.
    """

    captures: tuple[CaptureInfo, ...] = ()
    samples: tuple[HeapSample, ...] = ()
    dumps: tuple[LiveDump, ...] = ()
    sites: tuple[SiteCount, ...] = ()
    events: tuple[Event, ...] = ()
    tasks: tuple[TaskHistory, ...] = ()
    marks: tuple[Mark, ...] = ()
    problems: tuple[Problem, ...] = ()
    problems_omitted: int = 0
    cycles_from: Literal["marks"] | None = None
    boots: int = 1
    footprint: FootprintRule | None = None
