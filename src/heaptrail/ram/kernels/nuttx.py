"""NuttX: tasks through the table of process numbers, struct offsets from DWARF.

`g_pidhash` holds the control block of each task (an array, and since 2021 a pointer to one of `g_npidhash` entries).
Where a task's registers are saved differs from CPU to CPU: in the control block (`xcp.regs` an array) or on the task's
own stack (`xcp.regs` a pointer there). Of what they hold, the lowest address in the task's stack is taken for its stack
pointer: lower than the true one at worst, so that no live pointer is missed. Below the stack proper lies the task's
local storage, which stays a root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.ram.kernels import TaskList, TaskStack
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory
    from heaptrail.ram.structs import StructLayout

_TABLE = "g_pidhash"
_RUNNING = ("g_running_tasks", "g_readytorun")
_MAX_TASKS = 4_096
_NAME_BYTES = 32
_STATES = {0: "invalid", 1: "pending"}
_STRUCTS = ("tcb_s", "xcptcontext", "pidhash_s")
_FILES = ("nx_start.c", "sched_gettcb.c", "group_create.c", "task_setup.c")


class NuttxKernel:
    """NuttX' table of tasks."""

    name: ClassVar[str] = "nuttx"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """The table of process numbers."""
        return firmware.variable(_TABLE) is not None

    def tasks(self, firmware: Firmware, memory: Memory) -> TaskList:
        """Every task in the table; without debug information none, and that is said."""
        layouts = firmware.structs(_STRUCTS, _FILES)
        task = layouts.get("tcb_s")
        if task is None or "pid" not in task.members:
            return TaskList(tasks=(), problems=(f"{firmware.name} has no debug information for struct tcb_s",))
        running = set(_running(firmware, memory))
        tasks: list[TaskStack] = []
        problems: list[str] = []
        for at in _control_blocks(firmware, memory, layouts.get("pidhash_s")):
            number = memory.number(at + task.members["pid"][0], task.members["pid"][1] or 4)
            if number is None:
                problems.append(f"the kernel's table {_TABLE} leads to {format_address(at)}, which is not in the image")
                continue
            tasks.append(_task(memory, at, number, layouts, running=at in running))
        return TaskList(tasks=tuple(tasks), problems=tuple(problems))


def _task(memory: Memory, at: int, number: int, layouts: dict[str, StructLayout], *, running: bool) -> TaskStack:
    task = layouts["tcb_s"]
    state, priority = _value(memory, at, task, "task_state"), _value(memory, at, task, "sched_priority")
    label = task.members.get("name")
    raw = memory.read(at + label[0], min(label[1], _NAME_BYTES)) if label is not None else None
    name = (raw or b"").split(b"\0")[0].decode("utf-8", "replace")
    base, size = _value(memory, at, task, "stack_base_ptr"), _value(memory, at, task, "adj_stack_size")
    top = _value(memory, at, task, "adj_stack_ptr")
    # The base is behind the task's local storage; to 2021 there was none, and the top was kept instead.
    stack = base or _value(memory, at, task, "stack_alloc_ptr")
    end = base + size if base and size else (top + memory.word_bytes if top else 0)
    return TaskStack(
        name=name or f"task {number}",
        control_block=at,
        state="running" if running else _STATES.get(state or -1, "waiting"),
        priority=priority,
        number=number,
        stack_pointer=_saved_pointer(memory, at, layouts, (stack or 0, end)),
        stack_first=stack or None,
        stack_end=end or None,
    )


def _value(memory: Memory, at: int, layout: StructLayout, name: str) -> int | None:
    member = layout.members.get(name)
    return memory.number(at + member[0], member[1] or memory.word_bytes) if member is not None else None


def _saved_pointer(memory: Memory, at: int, layouts: dict[str, StructLayout], stack: tuple[int, int]) -> int | None:
    """The lowest address in the stack among the saved registers, or where they themselves lie in it."""
    task, context = layouts["tcb_s"], layouts.get("xcptcontext")
    registers = context.members.get("regs") if context is not None else None
    outer = task.offset("xcp")
    if registers is None or outer is None or not stack[1]:
        return None
    word, where = memory.word_bytes, at + outer + registers[0]
    found = [memory.word(where + offset) for offset in range(0, max(registers[1], word), word)]
    inside = [value for value in found if value is not None and stack[0] <= value < stack[1]]
    return min(inside, default=None)


def _control_blocks(firmware: Firmware, memory: Memory, entry: StructLayout | None) -> list[int]:
    """The addresses in the table; to 2021 its entries had the number beside them."""
    symbol, word = firmware.variable(_TABLE), memory.word_bytes
    assert symbol is not None, "recognised by it"
    step = entry.size if entry is not None and entry.size else word
    offset = (entry.offset("tcb") or 0) if entry is not None else 0
    count_symbol = firmware.variable("g_npidhash")
    if symbol.size == word:
        first = memory.word(symbol.address)
        count = memory.number(count_symbol.address, 4) if count_symbol is not None else None
    else:
        first, count = symbol.address, symbol.size // step
    if not first or not count:
        return []
    found = [memory.word(first + index * step + offset) for index in range(min(count, _MAX_TASKS))]
    return [address for address in dict.fromkeys(found) if address]


def _running(firmware: Firmware, memory: Memory) -> list[int]:
    """The control blocks of the tasks that run, one for each core."""
    word = memory.word_bytes
    for name in _RUNNING:
        symbol = firmware.variable(name)
        if symbol is None:
            continue
        # The list of ready tasks is headed by the running one.
        count = 1 if name == "g_readytorun" else max(symbol.size // word, 1)
        found = [memory.word(symbol.address + index * word) for index in range(min(count, 64))]
        return [address for address in found if address]
    return []
