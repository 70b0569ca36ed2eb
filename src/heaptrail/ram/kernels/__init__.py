"""How kernels keep their tasks: one file per kernel. Nothing here raises for what an image holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory


class TaskStack(msgspec.Struct, frozen=True, kw_only=True):
    """A task and its stack.

    Args:
        name: As the kernel keeps it.
        control_block: Address of the task's control block.
        state: `running`, `ready`, `blocked`, `suspended` or `deleted`; NuttX tells no more than `waiting`.
        priority: None where unknown.
        number: The kernel's number of the task, None where unknown.
        stack_pointer: Where the live part begins (stacks grow down), as the task saved it last: of a running task it is
            out of date, and only shows which stack it has. None where it is unknown.
        stack_first: The lowest address of the stack, None where unknown.
        stack_end: Behind its highest, where the kernel keeps it; else that of the block or variable around it counts.
    """

    name: str
    control_block: int
    state: str
    priority: int | None = None
    number: int | None = None
    stack_pointer: int | None = None
    stack_first: int | None = None
    stack_end: int | None = None


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks that were found, and sentences about what was not as it should be."""

    tasks: tuple[TaskStack, ...]
    problems: tuple[str, ...] = ()


class Kernel(Protocol):
    """One kernel."""

    name: ClassVar[str]

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """Whether the ELF's symbols are those of this kernel."""
        ...

    def tasks(self, firmware: Firmware, memory: Memory) -> TaskList:
        """Every task that the kernel knows."""
        ...
