"""What can be read from a capture: one record for one thing that the log says.

These are the objects that `heaptrail parse` prints, one JSON object a line (SPEC.md, "Observations"). A field that the
log did not print is `None` and stays so: nothing is computed silently from other fields.

Frozen records cannot form cycles, so the garbage collector need not look at them (`gc=False`); among a million blocks
it would take a quarter of the time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FrameKind = Literal["call", "return"]
SizeKind = Literal["requested", "block"]
TracerState = Literal["on", "off"]


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """One entry of a backtrace as the device printed it.

    Args:
        pc: The printed address, never adjusted.
        kind: `call` when the address is that of the call instruction, `return` when it is where the call returns to
            (then the call itself is looked up one instruction earlier, see `heaptrail.symbols.callsite`).
    """

    pc: int
    kind: FrameKind


class Observation(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind"):
    """Where and when something was read.

    Args:
        line: 1-based line of the console (of the log file, or of the output in a capture).
        boot: 1-based number of the span between two resets.
        cycle: Rounds of the workload completed in this boot when the line was printed; None where the log does not
            tell cycles.
        t_s: Seconds since the start of the capture, or None.
        dialect: Name of the dialect that read it, or None for what the capture itself says.
    """

    line: int
    boot: int = 1
    cycle: int | None = None
    t_s: float | None = None
    dialect: str | None = None


class HeapSample(Observation, frozen=True, kw_only=True, tag="heap_sample"):
    """One reading of a heap's totals. `heap` is None where the system has one unnamed heap.

    `tracer` says whether the device's tracer was recording at that moment, as far as the log shows; a tracer that keeps
    its records in the same heap makes a reading lower than one without it.
    """

    heap: str | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None
    used_bytes: int | None = None
    min_free_bytes: int | None = None
    max_used_bytes: int | None = None
    largest_free_bytes: int | None = None
    free_blocks: int | None = None
    used_blocks: int | None = None
    allocations: int | None = None
    frees: int | None = None
    tracer: TracerState | None = None


class Task(Observation, frozen=True, kw_only=True, tag="task"):
    """One row of a task table. Stack figures are kept in the unit that was printed.

    `cpu_percent` is the share of the CPU as printed, over whatever time that table counts; None for `<1%`, too.
    """

    name: str
    state: str | None = None
    priority: int | None = None
    stack_free_min_bytes: int | None = None
    stack_free_min_words: int | None = None
    stack_size_bytes: int | None = None
    stack_used_max_percent: float | None = None
    cpu_percent: float | None = None
    heap_bytes: int | None = None
    id: int | None = None


class Dump(Observation, frozen=True, kw_only=True, tag="dump"):
    """A listing of live blocks at one moment. `line` is its first line.

    `complete` is True or False where the listing itself shows it, None where the layout cannot tell.
    """

    dump: int
    declared_blocks: int | None = None
    declared_bytes: int | None = None
    complete: bool | None = None


class Block(Observation, frozen=True, kw_only=True, tag="block"):
    """One live allocation in a dump; `frames` are innermost first, empty where none were printed.

    `born_cycle` is the cycle of the boot in which it was allocated, where a tracer stamps that; `sequence` is the
    tracer's running number of the allocation, which dates it only relative to others.
    """

    dump: int
    address: int
    size_bytes: int
    size_kind: SizeKind
    task: str | None = None
    task_id: int | None = None
    sequence: int | None = None
    born_cycle: int | None = None
    freed: bool = False
    frames: tuple[RawFrame, ...] = ()


class SiteCount(Observation, frozen=True, kw_only=True, tag="site"):
    """What a tracer counted at one call stack since it was switched on; `site` is its own number of the stack.

    Sequences are running numbers of allocations, None where nothing was allocated here. `oldest_death_allocations` is
    the greatest age, in allocations, at which a block of this site was freed, None while none was. `frames` is the
    allocating stack, `freed_by` the one that last freed a block of it; empty where they are not known.
    """

    site: int
    live_blocks: int
    live_bytes: int
    allocations: int
    frees: int
    failed: int
    unrecorded: int
    first_sequence: int | None = None
    last_sequence: int | None = None
    oldest_death_allocations: int | None = None
    frames: tuple[RawFrame, ...] = ()
    freed_by: tuple[RawFrame, ...] = ()


class Event(Observation, frozen=True, kw_only=True, tag="event"):
    """One allocation or free as it happened."""

    op: Literal["alloc", "free", "realloc"]
    address: int
    new_address: int | None = None
    size_bytes: int | None = None
    task: str | None = None
    frames: tuple[RawFrame, ...] = ()


class Problem(Observation, frozen=True, kw_only=True, tag="problem"):
    """Something about the evidence that a reader must know.

    `what` is a stable word (SPEC.md, "Observations", lists those in use), `text` a sentence.
    """

    what: str
    text: str
    frames: tuple[RawFrame, ...] = ()


class Mark(Observation, frozen=True, kw_only=True, tag="mark"):
    """A moment that structures the capture: a reset, the end of a cycle, a step of a procedure.

    Step labels that reading understands: `tracer on`, `tracer off`, `workload start`, `workload stop`, `teardown done`.
    """

    what: Literal["boot", "cycle", "step"]
    label: str = ""


AnyObservation = HeapSample | Task | Dump | Block | SiteCount | Event | Problem | Mark
