"""Zephyr: threads through the kernel's list of all threads, struct offsets from DWARF.

The list (`_kernel.threads`) is kept with CONFIG_THREAD_MONITOR. Without it threads are known as variables of the size
of `struct k_thread` whose saved stack pointer lies in the stack that they name. The saved stack pointer is a member of
`callee_saved`, whose name differs by CPU, or with CONFIG_USE_SWITCH the handle of the saved context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.ram.kernels import TaskList, TaskStack
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory
    from heaptrail.ram.structs import StructLayout

_KERNEL = "_kernel"
_STACK_POINTERS = ("psp", "sp", "rsp", "esp", "sp_elx", "sp_el0", "thread_status")
_MAX_THREADS = 4_096
_MAX_CPUS = 64
_STRUCTS = ("z_kernel", "_cpu", "k_thread", "_thread_base", "_callee_saved", "_thread_stack_info")
_FILES = ("init.c", "sched.c", "thread.c")
_DEAD, _SUSPENDED, _WAITING = 0x08, 0x10, 0x02 | 0x04
"""Bits of `thread_state` (include/zephyr/kernel_structs.h): dead; suspended; pending or not yet started."""


class ZephyrKernel:
    """Zephyr's threads."""

    name: ClassVar[str] = "zephyr"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """The kernel's structure and its scheduler."""
        return firmware.variable(_KERNEL) is not None and firmware.function("z_impl_k_thread_create") is not None

    def tasks(self, firmware: Firmware, memory: Memory) -> TaskList:
        """Every thread that is found; without debug information none, and that is said."""
        layouts = firmware.structs(_STRUCTS, _FILES)
        kernel, thread = layouts.get("z_kernel"), layouts.get("k_thread")
        symbol = firmware.variable(_KERNEL)
        assert symbol is not None, "recognised by it"
        if kernel is None or thread is None:
            return TaskList(tasks=(), problems=(f"{firmware.name} has no debug information for struct k_thread",))
        running = set(_running(memory, symbol.address, kernel, layouts.get("_cpu")))
        head, following = kernel.offset("threads"), thread.offset("next_thread")
        problems: list[str] = []
        if head is not None and following is not None:
            found, problem = _listed(memory, symbol.address + head, following)
            problems += [problem] if problem else []
        else:
            found = _by_size(firmware, memory, layouts)
            problems.append(
                "the kernel keeps no list of its threads (CONFIG_THREAD_MONITOR): those in variables were found by "
                "their size, others are missing"
            )
        found += [address for address in running if address not in found]
        return TaskList(
            tasks=tuple(_task(firmware, memory, at, layouts, running=at in running) for at in found),
            problems=tuple(problems),
        )


def _listed(memory: Memory, head: int, following: int) -> tuple[list[int], str | None]:
    """The kernel's list, as far as it goes."""
    found: dict[int, None] = {}
    at = memory.word(head)
    while at:
        if at in found or len(found) >= _MAX_THREADS:
            return list(found), f"the kernel's list of threads comes back to {format_address(at)}: a cycle"
        after = memory.word(at + following)
        if after is None:
            place = format_address(at)
            return list(found), f"the kernel's list of threads leads to {place} after {plural(len(found), 'thread')}"
        found[at] = None
        at = after
    return list(found), None


def _by_size(firmware: Firmware, memory: Memory, layouts: dict[str, StructLayout]) -> list[int]:
    """Variables that are threads by their size and by what they hold."""
    size = layouts["k_thread"].size
    found = []
    for variable in firmware.variables():
        if variable.size % size or variable.size // size > _MAX_CPUS:
            continue
        for at in range(variable.address, variable.address + variable.size, size):
            first, end = _stack(memory, at, layouts)
            pointer = _saved_pointer(memory, at, layouts)
            if first and end and pointer and first <= pointer <= end:
                found.append(at)
    return found


def _task(firmware: Firmware, memory: Memory, at: int, layouts: dict[str, StructLayout], *, running: bool) -> TaskStack:
    thread, base = layouts["k_thread"], layouts.get("_thread_base")
    name_member = thread.members.get("name")
    raw = memory.read(at + name_member[0], min(name_member[1] or 1, 64)) if name_member is not None else None
    name = (raw or b"").split(b"\0")[0].decode("utf-8", "replace")
    variable = firmware.variable_at(at)
    first, end = _stack(memory, at, layouts)
    state = memory.number(at + (base.offset("thread_state") or 0), 1) if base is not None else None
    priority = (
        memory.number(at + (base.offset("prio") or 0), 1) if base is not None and "prio" in base.members else None
    )
    return TaskStack(
        name=name or (variable.name if variable is not None else f"thread at {format_address(at)}"),
        control_block=at,
        state="running" if running else _state(state or 0),
        priority=priority - 256 if priority is not None and priority > 127 else priority,
        number=at,
        stack_pointer=_saved_pointer(memory, at, layouts) or None,
        stack_first=first or None,
        stack_end=end or None,
    )


def _state(bits: int) -> str:
    if bits & _DEAD:
        return "deleted"
    if bits & _SUSPENDED:
        return "suspended"
    return "blocked" if bits & _WAITING else "ready"


def _stack(memory: Memory, at: int, layouts: dict[str, StructLayout]) -> tuple[int, int]:
    """The stack's memory, zeros where the kernel does not keep it (CONFIG_THREAD_STACK_INFO)."""
    offset, info = layouts["k_thread"].offset("stack_info"), layouts.get("_thread_stack_info")
    if offset is None or info is None:
        return 0, 0
    first = memory.word(at + offset + (info.offset("start") or 0)) or 0
    size = memory.word(at + offset + (info.offset("size") or memory.word_bytes)) or 0
    return first, first + size


def _saved_pointer(memory: Memory, at: int, layouts: dict[str, StructLayout]) -> int:
    """The stack pointer that the thread saved last, 0 where there is none."""
    thread, saved = layouts["k_thread"], layouts.get("_callee_saved")
    outer = thread.offset("callee_saved")
    place = saved.offset(*_STACK_POINTERS) if saved is not None else None
    pointer = memory.word(at + outer + place) if outer is not None and place is not None else None
    handle = thread.offset("switch_handle")
    if not pointer and handle is not None:
        pointer = memory.word(at + handle)
    return pointer or 0


def _running(memory: Memory, at: int, kernel: StructLayout, cpu: StructLayout | None) -> list[int]:
    """The threads that run, one for each CPU."""
    cpus = kernel.members.get("cpus")
    current = cpu.offset("current") if cpu is not None else None
    if cpus is None or cpu is None or current is None or not cpu.size:
        return []
    count = min(max(cpus[1] // cpu.size, 1), _MAX_CPUS)
    found = [memory.word(at + cpus[0] + index * cpu.size + current) for index in range(count)]
    return [address for address in found if address]
