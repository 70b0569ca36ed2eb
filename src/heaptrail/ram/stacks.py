"""Which part of each stack is live. A dead frame keeps pointers of long ago, and would hide the very leaks looked for.

Stacks grow down. Below the stack pointer everything is dead; where no stack pointer is known, the whole stack is
scanned, and what only it reaches is called possibly masked.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.heaps import LiveBlock
    from heaptrail.ram.intervals import Interval
    from heaptrail.ram.kernels import TaskStack
    from heaptrail.ram.memory import Registers

_RED_ZONE_BYTES = {"x86_64": 128}
"""What a leaf function may use below the stack pointer, by the CPU's ABI; none on the targets."""


class Stack(msgspec.Struct, frozen=True):
    """One stack.

    Args:
        owner: The task's or thread's name.
        first, end: Its memory.
        live_from: Where the live part begins, None where that is unknown.
    """

    owner: str
    first: int
    end: int
    live_from: int | None


class Stacks(msgspec.Struct, frozen=True):
    """All stacks that are known, by address."""

    stacks: tuple[Stack, ...]

    @property
    def dead(self) -> list[Interval]:
        """Never scanned."""
        return [(s.first, s.live_from) for s in self.stacks if s.live_from is not None]

    @property
    def doubtful(self) -> list[Interval]:
        """Scanned whole, since nobody knows which part is live."""
        return [(s.first, s.end) for s in self.stacks if s.live_from is None]

    def at(self, address: int) -> Stack | None:
        """The stack that holds `address`."""
        index = bisect_right([s.first for s in self.stacks], address) - 1
        return self.stacks[index] if index >= 0 and address < self.stacks[index].end else None


def find_stacks(
    firmware: Firmware, tasks: Iterable[TaskStack], registers: Sequence[Registers], live: Sequence[LiveBlock]
) -> Stacks:
    """The stacks of tasks, and those that a CPU's or a thread's stack pointer is in.

    A stack's end is that of the heap block or the variable that it lies in; a stack in neither is left to be scanned
    as any memory is.
    """
    starts = [block.address for block in live]
    red_zone = _RED_ZONE_BYTES.get(firmware.image.arch, 0)
    found: dict[int, Stack] = {}
    for task in tasks:
        anchor = task.stack_first if task.stack_first is not None else task.stack_pointer
        around = None if anchor is None else _around(anchor, firmware, starts, live)
        if task.stack_first is not None and task.stack_end is not None:
            around = (task.stack_first, task.stack_end)
        if around is None:
            continue
        first, end = around if task.stack_first is None else (task.stack_first, around[1])
        pointer = task.stack_pointer if task.state != "running" else None
        # Stopped in the midst of a context switch a CPU may still be on the stack of a task that is no longer running.
        on_it = [cpu.stack_pointer for cpu in registers if first <= cpu.stack_pointer < end]
        if on_it:
            pointer = min(on_it if pointer is None else (*on_it, pointer))
        sound = pointer is not None and first <= pointer < end
        found[first] = Stack(task.name, first, end, pointer if sound else None)
    for cpu in registers:
        around = _around(cpu.stack_pointer, firmware, starts, live)
        if around is None or any(stack.first <= cpu.stack_pointer < stack.end for stack in found.values()):
            continue
        first, end = around
        found[first] = Stack(cpu.owner, first, end, max(cpu.stack_pointer - red_zone, first))
    return Stacks(tuple(found[first] for first in sorted(found)))


def _around(
    address: int, firmware: Firmware, starts: Sequence[int], live: Sequence[LiveBlock]
) -> tuple[int, int] | None:
    """The heap block or the variable that holds `address`."""
    index = bisect_right(starts, address) - 1
    if index >= 0 and address < live[index].end:
        return live[index].address, live[index].end
    variable = firmware.variable_at(address)
    return (variable.address, variable.address + variable.size) if variable is not None and variable.size else None
