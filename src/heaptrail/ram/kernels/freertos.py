"""FreeRTOS, V8 to the current one, with one core or several: tasks through the kernel's own lists.

Offsets come from the DWARF of tasks.c and list.c. Without it the lists are read with the layout that the kernel's
default configuration gives them (no integrity check words), and of a task only its saved stack pointer is known, the
first word of its control block in every port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from heaptrail.ram.kernels import TaskList, TaskStack
from heaptrail.ram.structs import StructLayout, struct_layouts
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory

_CURRENT = ("pxCurrentTCBs", "pxCurrentTCB")  # several cores, one core
_LISTS: tuple[tuple[str, str], ...] = (
    ("pxReadyTasksLists", "ready"),
    ("xDelayedTaskList1", "blocked"),
    ("xDelayedTaskList2", "blocked"),
    ("xPendingReadyList", "ready"),
    ("xSuspendedTaskList", "suspended"),
    ("xTasksWaitingTermination", "deleted"),
)
_MAX_TASKS = 4_096
_NAME_BYTES = 16  # configMAX_TASK_NAME_LEN's default, where DWARF does not tell it


class _Offsets(msgspec.Struct, frozen=True):
    """Where things are; of the list: its size, its end item; of an item: next and owner; of a task: the rest."""

    list_bytes: int
    list_end: int
    next: int
    owner: int
    top_of_stack: int = 0
    stack: int | None = None
    name: int | None = None
    priority: int | None = None
    number: int | None = None


class FreeRtosKernel:
    """FreeRTOS' task lists."""

    name: ClassVar[str] = "freertos"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """The list of ready tasks and the current task."""
        return firmware.variable("pxReadyTasksLists") is not None and any(firmware.variable(c) for c in _CURRENT)

    def tasks(self, firmware: Firmware, memory: Memory) -> TaskList:
        """Tasks in the order of the kernel's lists, the running ones first."""
        offsets, known = _offsets(firmware)
        problems: list[str] = []
        if not known:
            problems.append(
                f"{firmware.name} has no debug information for the kernel's lists; the default layout is assumed"
            )
        found: dict[int, str] = dict.fromkeys(_running(firmware, memory), "running")
        for name, state in _LISTS:
            symbol = firmware.variable(name)
            if symbol is None:
                continue
            count = max(symbol.size // offsets.list_bytes, 1) if name == "pxReadyTasksLists" else 1
            for index in range(count):
                owners, problem = _owners(memory, symbol.address + index * offsets.list_bytes, offsets, name)
                for owner in owners:
                    found.setdefault(owner, state)
                problems += [problem] if problem else []
        _check_count(firmware, memory, len(found), problems)
        tasks = [_task(memory, address, state, offsets) for address, state in list(found.items())[:_MAX_TASKS]]
        return TaskList(tasks=tuple(tasks), problems=tuple(dict.fromkeys(problems)))


def _task(memory: Memory, address: int, state: str, offsets: _Offsets) -> TaskStack:
    word = memory.word_bytes
    first = memory.word(address + offsets.stack) if offsets.stack is not None else None
    saved = memory.word(address + offsets.top_of_stack)
    raw = memory.read(address + offsets.name, _NAME_BYTES) if offsets.name is not None else None
    label = (raw or b"").split(b"\0")[0].decode("utf-8", "replace")
    return TaskStack(
        name=label or f"task at {format_address(address)}",
        control_block=address,
        state=state,
        priority=memory.number(address + offsets.priority, word) if offsets.priority is not None else None,
        number=memory.number(address + offsets.number, word) if offsets.number is not None else None,
        stack_pointer=saved or None,
        stack_first=first or None,
    )


def _running(firmware: Firmware, memory: Memory) -> list[int]:
    """Control blocks of the tasks that run, one for each core."""
    word = firmware.word_bytes
    for name in _CURRENT:
        symbol = firmware.variable(name)
        if symbol is None:
            continue
        cores = max(symbol.size // word, 1)
        found = [memory.word(symbol.address + core * word) for core in range(min(cores, 64))]
        return [address for address in found if address]
    return []


def _owners(memory: Memory, at: int, offsets: _Offsets, name: str) -> tuple[list[int], str | None]:
    """The owners of a list's items; a list that does not lead back to its end item is followed as far as it goes."""
    end = at + offsets.list_end
    owners: list[int] = []
    seen: set[int] = set()
    item = memory.word(end + offsets.next)
    while item != end:
        if item == 0 and not owners:  # a list that was never initialised
            return owners, None
        owner = memory.word(item + offsets.owner) if item is not None else None
        if item is None or owner is None:
            place = "an address that is not in the image" if item is None else format_address(item)
            return owners, f"the kernel's list {name} leads to {place} after {plural(len(owners), 'task')}"
        if item in seen or len(seen) >= _MAX_TASKS:
            return owners, f"the kernel's list {name} comes back to {format_address(item)}: a cycle without its end"
        seen.add(item)
        owners.append(owner)
        item = memory.word(item + offsets.next)
    return owners, None


def _check_count(firmware: Firmware, memory: Memory, found: int, problems: list[str]) -> None:
    symbol = firmware.variable("uxCurrentNumberOfTasks")
    count = memory.word(symbol.address) if symbol is not None else None
    if count is not None and count != found:
        problems.append(f"the kernel counts {plural(count, 'task')}, its lists hold {found}")


def _offsets(firmware: Firmware) -> tuple[_Offsets, bool]:
    """Offsets from DWARF, or the defaults and False."""
    word = firmware.word_bytes
    layouts = struct_layouts(
        firmware.path,
        ("tskTaskControlBlock", "xLIST", "xLIST_ITEM"),
        files=("tasks.c", "list.c"),
    )
    task = layouts.get("tskTaskControlBlock") or StructLayout("", 0, {})
    lists, item = layouts.get("xLIST"), layouts.get("xLIST_ITEM")
    plain = _Offsets(list_bytes=5 * word, list_end=2 * word, next=word, owner=3 * word)
    known = lists is not None and item is not None
    if lists is not None and item is not None:
        end, following, owner = lists.offset("xListEnd"), item.offset("pxNext"), item.offset("pvOwner")
        if end is not None and following is not None and owner is not None:
            plain = _Offsets(list_bytes=lists.size, list_end=end, next=following, owner=owner)
    named = msgspec.structs.replace(
        plain,
        top_of_stack=task.offset("pxTopOfStack") or 0,
        stack=task.offset("pxStack"),
        name=task.offset("pcTaskName"),
        priority=task.offset("uxPriority"),
        number=task.offset("uxTCBNumber"),
    )
    return named, known
