"""One image looked at from end to end: its heap, its tasks, and for every live block whether anything points to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import EvidenceError
from heaptrail.ram import HEAPS, KERNELS
from heaptrail.ram.belonging import mismatches
from heaptrail.ram.heaps import HeapWalk
from heaptrail.ram.heaps.places import BUILD_ADVICE
from heaptrail.ram.images import Image
from heaptrail.ram.intervals import Interval, total, without
from heaptrail.ram.kernels import TaskList, TaskStack
from heaptrail.ram.memory import alias_distance
from heaptrail.ram.naming import named_memory
from heaptrail.ram.origins import Origin, origins
from heaptrail.ram.reach import Reach, Roots, find_reach
from heaptrail.ram.stacks import Stacks, find_stacks
from heaptrail.ram.tracer import AGENT_MARK, read_tracer
from heaptrail.registry import resolve
from heaptrail.units import format_address, format_bytes, plural

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.heaps import HeapLayout
    from heaptrail.ram.kernels import Kernel
    from heaptrail.ram.memory import Memory
    from heaptrail.ram.tracer import TracerTables

_AGENT_TABLES = ("ht", "ht_*")
"""This project's agent keeps its records in these; they point to every block that it tracks."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says about the image.

    Args:
        heap: The heap's symbol or ranges, None to find it.
        layout: Name of the heap's layout, None to recognise it.
        exclude: Variables (patterns as in a shell) and `0xSTART+0xSIZE` ranges that are no roots.
        roots: Variables and ranges that are roots whatever else they are, with a pointer at any byte.
        keep: Addresses that the firmware holds in a way that no scan can see.
        allow_mismatch: Go on although the image's code is not the ELF's.
    """

    heap: str | None = None
    layout: str | None = None
    exclude: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    keep: tuple[int, ...] = ()
    allow_mismatch: bool = False


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What one image shows.

    Args:
        image: Where it comes from.
        heap: The heap as it stood.
        kernel: The kernel's name, None where none was recognised.
        tasks: The kernel's tasks.
        stacks: All stacks that are known.
        reach: The state of each live block.
        origins: Who allocated each.
        roots_missing_bytes: Writable memory of the ELF that the image does not hold; pointers may be there.
        problems: Sentences `(what, text)` that every report must show.
    """

    image: Image
    heap: HeapWalk
    kernel: str | None
    tasks: tuple[TaskStack, ...]
    stacks: Stacks
    reach: Reach
    origins: tuple[Origin, ...]
    roots_missing_bytes: int
    problems: tuple[tuple[str, str], ...]

    @property
    def conclusive(self) -> bool:
        """Whether every place that could hold a pointer was scanned, so that an unreachable block is lost."""
        return not self.roots_missing_bytes and not self.missing_heap

    @property
    def missing_heap(self) -> bool:
        """Whether part of the heap is not in the image."""
        memory = self.image.memory.intervals
        return bool(without(self.heap.place.arenas, memory))

    def with_state(self, state: int) -> list[int]:
        """Indexes of the blocks in this state."""
        return [index for index, found in enumerate(self.reach.states) if found == state]


def survey(image: Image, firmware: Firmware, question: Question) -> Survey:
    """Walk the heap of an image, find its stacks, mark and sweep.

    Raises:
        EvidenceError: ELF and image do not belong together, or the heap cannot be found.
        UsageError: The user's `--heap`, `--exclude` or layout cannot be used.
    """
    problems: list[tuple[str, str]] = []
    problems += [("elf_mismatch", text) for text in mismatches(image, firmware, allowed=question.allow_mismatch)]
    layout = _layout(firmware, question)
    place = layout.place(firmware, image.memory, question.heap)
    heap = layout.walk(firmware, image.memory, place)
    if heap.corrupt and not heap.live and not heap.free:
        raise EvidenceError(f"no block of {place.name} can be read: {heap.corrupt[0].text}", try_this=BUILD_ADVICE)
    if heap.free == place.arenas:
        raise EvidenceError(
            f"{place.name} was never used: the variables of {layout.name} are all null in {image.name}",
            try_this=f"an image of the running target, and {BUILD_ADVICE}",
        )
    if heap.blocks_known:  # else the notes are the finding
        problems += [("heap", note) for note in heap.notes]
    problems += [("corrupt", item.text) for item in heap.corrupt]
    kernel, found = _tasks(firmware, image)
    problems += [("kernel", text) for text in found.problems]
    tracer = read_tracer(firmware, image.memory)
    origin, strange = origins(heap.live, found.tasks, tracer)
    problems += [("tracer", text) for text in _tracer_words(tracer, strange)]
    aliases = _aliases(image.memory, firmware, place.arenas)
    stacks = find_stacks(firmware, found.tasks, image.registers, heap.live)
    tables = _excluded(firmware, question)
    forced = [interval for _, interval in named_memory(firmware, question.roots, "--root")]
    _tell_excluded(tables, problems)
    roots = Roots(
        memory=tuple(without(image.memory.intervals, firmware.readable_only)),
        heap=place.arenas,
        untrusted=heap.untrusted,
        excluded=(*stacks.dead, *aliases, *(interval for _, interval in tables)),
        doubtful=tuple(stacks.doubtful),
        forced=tuple(forced),
        registers=image.registers,
        kept=question.keep,
    )
    waived = [*place.arenas, *(interval for _, interval in tables)]
    missing = without(without(firmware.writable, image.memory.intervals), waived)
    if heap.blocks_known:
        _tell_missing(image, missing, found, stacks, problems)
    problems += [("image", note) for note in image.notes]
    return Survey(
        image=image,
        heap=heap,
        kernel=kernel,
        tasks=found.tasks,
        stacks=stacks,
        reach=find_reach(image.memory, heap.live, roots),
        origins=origin,
        roots_missing_bytes=total(missing),
        problems=tuple(dict.fromkeys(problems)),
    )


def _layout(firmware: Firmware, question: Question) -> HeapLayout:
    if question.layout is not None:
        chosen: HeapLayout = resolve(HEAPS, question.layout, kind="heap layout")()
        return chosen
    for name in HEAPS:
        layout: type[HeapLayout] = resolve(HEAPS, name, kind="heap layout")
        if layout.recognise(firmware):
            return layout()
    raise EvidenceError(
        f"{firmware.name} has no heap that heaptrail knows ({', '.join(HEAPS)}) by its symbols",
        try_this="the unstripped ELF of the build that ran, or --layout with --heap",
    )


def _tasks(firmware: Firmware, image: Image) -> tuple[str | None, TaskList]:
    """The kernel's name and its tasks."""
    for name in KERNELS:
        kernel: type[Kernel] = resolve(KERNELS, name, kind="kernel")
        if kernel.recognise(firmware):
            return name, kernel().tasks(firmware, image.memory)
    return None, TaskList(tasks=())


def _aliases(memory: Memory, firmware: Firmware, arenas: tuple[Interval, ...]) -> list[Interval]:
    """Where the program's memory shows a second time: its RAM as the heap does, its constants as its code does."""
    pairs = [(arenas[0], firmware.writable), *((code, firmware.readable_only) for code in firmware.code_sections()[:1])]
    found = []
    for original, sections in pairs:
        distance = alias_distance(memory, original)
        if distance is not None:
            found += [(first + distance, end + distance) for first, end in sections]
    return found


def _excluded(firmware: Firmware, question: Question) -> list[tuple[str, Interval]]:
    """Tables of a tracer, and what the user excludes."""
    given = named_memory(firmware, question.exclude, "--exclude")
    if firmware.function(AGENT_MARK) is None:
        return given
    return [*named_memory(firmware, _AGENT_TABLES, None), *given]


def _tracer_words(tracer: TracerTables | None, strange: int) -> list[str]:
    """What a reader must know of the agent's tables."""
    if tracer is None:
        return []
    words = list(tracer.problems)
    if strange:
        words.append(
            f"{plural(strange, 'record')} of the agent {'is' if strange == 1 else 'are'} of no block of this heap, but "
            f"of one freed while the agent was off, or of another allocator"
        )
    return words


def _tell_excluded(tables: list[tuple[str, Interval]], problems: list[tuple[str, str]]) -> None:
    if tables:
        size = sum(end - first for _, (first, end) in tables)
        names = ", ".join(dict.fromkeys(name for name, _ in tables))
        text = f"pointers in a tracer's tables or in what you exclude were not counted: {names} ({format_bytes(size)})"
        problems.append(("excluded", text))


def _tell_missing(
    image: Image, missing: list[Interval], found: TaskList, stacks: Stacks, problems: list[tuple[str, str]]
) -> None:
    if missing:
        text = (
            f"{image.name} lacks {format_bytes(total(missing))} of the memory that the program may write, from "
            f"{format_address(missing[0][0])} on; a pointer may be there, so no block is called lost (--exclude the "
            f"range if it holds none)"
        )
        problems.append(("roots_missing", text))
    if not image.registers:
        text = "the image has no registers: a block that only a register held at that moment looks unreachable"
        problems.append(("no_registers", text))
    if not found.tasks and not image.registers:
        text = (
            "no task list was found and no registers: stacks in the heap were scanned whole, so that pointers in dead "
            "frames may hide lost blocks"
        )
        problems.append(("stacks_whole", text))
    unknown = len(stacks.doubtful)
    if unknown:
        text = (
            f"the stack pointer of {plural(unknown, 'running task')} is unknown: the whole stack was scanned, and "
            f"blocks that only it reaches are called possibly masked"
        )
        problems.append(("stack_unknown", text))
