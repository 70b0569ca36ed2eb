"""Images as evidence: a heap reading and a dump for each, as a console would have given them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.evidence import CaptureInfo, Evidence, LiveDump, TaskHistory
from heaptrail.model.observations import Block, Dump, HeapSample, Mark, Problem, RawFrame, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.ram.kernels import TaskStack
    from heaptrail.ram.survey import Survey


def evidence_of(surveys: Sequence[Survey], cycles: Sequence[int] | None) -> Evidence:
    """Images as evidence.

    Args:
        surveys: In the order in which the images were taken.
        cycles: Rounds of the workload completed at each image, None where they are unknown.
    """
    samples, dumps, problems, marks = [], [], [], []
    for number, found in enumerate(surveys, 1):
        cycle = cycles[number - 1] if cycles is not None else None
        samples.append(sample_of(found, number, cycle))
        if found.heap.blocks_known:
            dumps.append(_dump(found, number, cycle))
        problems += [Problem(line=number, cycle=cycle, what=what, text=text) for what, text in found.problems]
    if cycles is not None:
        marks = [Mark(line=1, cycle=cycle, what="cycle") for cycle in range(1, max(cycles, default=0) + 1)]
    last = surveys[-1]
    return Evidence(
        captures=tuple(capture_of(found) for found in surveys),
        samples=tuple(samples),
        dumps=tuple(dumps),
        tasks=tuple(TaskHistory(last=_task(task, len(surveys)), rows=len(surveys)) for task in last.tasks),
        marks=tuple(marks),
        problems=tuple(problems),
        cycles_from="marks" if cycles is not None else None,
    )


def capture_of(found: Survey) -> CaptureInfo:
    """The image as the report's provenance names it."""
    kernel = (found.kernel,) if found.kernel is not None and found.tasks else ()
    return CaptureInfo(
        name=found.image.name,
        format="image",
        bytes_read=found.image.bytes_read,
        lines=0,
        dialects=(found.heap.layout, *kernel),
    )


def sample_of(found: Survey, number: int, cycle: int | None) -> HeapSample:
    """The heap's figures in the `number`th image."""
    heap = found.heap
    return HeapSample(
        line=number,
        cycle=cycle,
        heap=heap.place.name,
        total_bytes=sum(end - first for first, end in heap.place.arenas),
        free_bytes=heap.free_bytes,
        min_free_bytes=heap.min_free_bytes,
        largest_free_bytes=heap.largest_free_bytes,
        free_blocks=len(heap.free),
        used_blocks=len(heap.live),
        allocations=heap.allocations,
        frees=heap.frees,
    )


def _dump(found: Survey, number: int, cycle: int | None) -> LiveDump:
    dump = Dump(
        line=number, cycle=cycle, dump=number, declared_blocks=len(found.heap.live), complete=not found.heap.untrusted
    )
    return LiveDump(
        dump=dump,
        blocks=tuple(
            Block(
                line=number,
                cycle=cycle,
                dump=number,
                address=block.address,
                size_bytes=block.size_bytes,
                size_kind="block",
                task=origin.task,
                sequence=origin.sequence,
                frames=tuple(RawFrame(pc, "return") for pc in origin.frames),
            )
            for block, origin in zip(found.heap.live, found.origins, strict=True)
        ),
    )


def _task(task: TaskStack, number: int) -> Task:
    return Task(line=number, name=task.name, state=task.state, priority=task.priority, id=task.number)
