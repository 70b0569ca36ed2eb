"""Who allocated a block: from the agent's tables, or from what the allocator itself keeps in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.ram.heaps import LiveBlock
    from heaptrail.ram.kernels import TaskStack
    from heaptrail.ram.tracer import TracerTables


class Origin(msgspec.Struct, frozen=True):
    """Where a block comes from, as far as it is known.

    Args:
        task: Name of the task that allocated it.
        frames: Return addresses, innermost first.
        requested_bytes: What was asked for.
        sequence: The tracer's running number of the allocation.
    """

    task: str | None = None
    frames: tuple[int, ...] = ()
    requested_bytes: int | None = None
    sequence: int | None = None


UNKNOWN = Origin()


def origins(
    live: Sequence[LiveBlock], tasks: Sequence[TaskStack], tracer: TracerTables | None
) -> tuple[tuple[Origin, ...], int]:
    """The origin of each live block, and how many of the agent's records are of no live block.

    A record counts only for a block that begins just where it says: memory that a pool or another allocator hands out
    from inside a block is no block of this heap.
    """
    names = {task.control_block: task.name for task in tasks}
    names |= {task.number: task.name for task in tasks if task.number is not None}
    records = tracer.blocks if tracer is not None else {}
    found: list[Origin] = []
    used = 0
    for block in live:
        record = records.get(block.address)
        if record is not None:
            used += 1
            found.append(Origin(record.task, record.frames, record.requested_bytes, record.sequence))
        elif block.owner is not None or block.frames:
            task = names.get(block.owner) if block.owner is not None else None
            ended = f"(ended task {block.owner})" if block.owner is not None and tasks else None
            found.append(Origin(task or ended, block.frames))
        else:
            found.append(UNKNOWN)
    return tuple(found), len(records) - used
