"""Addresses in words: which variable, whose stack, which block; and the path that keeps a block alive."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from heaptrail.model.observations import RawFrame
from heaptrail.ram.reach import MASKED, UNREACHABLE
from heaptrail.symbols import NoSymbols
from heaptrail.units import format_address, format_bytes, plural

if TYPE_CHECKING:
    from heaptrail.model.report import Frame
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.reach import Holder
    from heaptrail.ram.survey import Survey
    from heaptrail.symbols import Symbolizer

STATE_WORDS = {0: "unreachable", 1: "reachable", 2: "possibly masked"}
_PREVIEW_BYTES = 32
_STEPS_SHOWN = 40


def block_at(found: Survey, address: int) -> int | None:
    """The index of the live block that holds `address` (or whose header does)."""
    starts = [block.address - found.heap.header_bytes for block in found.heap.live]
    index = bisect_right(starts, address) - 1
    return index if index >= 0 and address < found.heap.live[index].end else None


def place_words(found: Survey, firmware: Firmware, holder: Holder) -> str:
    """Where a pointer stands: `player+0x18`, `AudioRender's stack at 0x…`, `block 0x… +0x10`."""
    if holder.word is None:
        return "the user's --keep" if holder.register == "--keep" else f"a register of {holder.register}"
    stack = found.stacks.at(holder.word)
    if stack is not None:
        return f"{stack.owner}'s stack at {format_address(holder.word)}"
    if holder.block is not None:
        block = found.heap.live[holder.block]
        return f"block {format_address(block.address)}+0x{holder.word - block.address:x}"
    variable = firmware.variable_at(holder.word)
    if variable is not None:
        offset = holder.word - variable.address
        return variable.name + (f"+0x{offset:x}" if offset else "")
    section = firmware.section_at(holder.word)
    return f"{section.name if section else 'memory outside the ELF'} at {format_address(holder.word)}"


def held_by(found: Survey, firmware: Firmware, index: int) -> str | None:
    """What holds a block, and the root behind that where it is another; None for an unreachable block."""
    path = found.reach.path(index)
    if not path:
        return None
    first = place_words(found, firmware, path[0])
    if len(path) == 1:
        return first
    return f"{first}, from {place_words(found, firmware, path[-1])}"


def why(found: Survey, firmware: Firmware, address: int, symbolizer: Symbolizer | None = None) -> list[str]:
    """The answer to `--why`: the block at an address and the pointers that keep it, outwards to a root.

    Args:
        found: What the image shows.
        firmware: The ELF.
        address: Of any byte of a block.
        symbolizer: Names the functions of backtraces; without it they are addresses.
    """
    index = block_at(found, address)
    if index is None:
        return [
            f"{format_address(address)} is in no live block of {found.heap.place.name}: {_elsewhere(found, address)}"
        ]
    block = found.heap.live[index]
    state = found.reach.states[index]
    head = (
        f"{format_address(block.address)}: block of {format_bytes(block.size_bytes)} "
        f"(0x{block.size_bytes:x}, header included), {STATE_WORDS[state]}"
    )
    lines = [head, f"  holds {preview(found, index)}", *_origin_lines(found, index, symbolizer or NoSymbols())]
    if state == UNREACHABLE:
        lines.append("  no register, no writable variable, no live stack and no block in use points into it")
        return lines
    path = found.reach.path(index)
    for holder in path[:_STEPS_SHOWN]:
        size = ""
        if holder.block is not None:
            size = f" ({format_bytes(found.heap.live[holder.block].size_bytes)})"
        lines.append(f"  <- {place_words(found, firmware, holder)}{size}")
    if len(path) > _STEPS_SHOWN:
        lines.append(f"  <- and {plural(len(path) - _STEPS_SHOWN, 'more step')}")
        lines.append(f"  <- {place_words(found, firmware, path[-1])}")
    if state == MASKED:
        lines.append("  the last step is in a stack whose live part is unknown: it may be a dead frame")
    return lines


def _origin_lines(found: Survey, index: int, symbolizer: Symbolizer) -> list[str]:
    """Who allocated the block, where that is on record."""
    origin = found.origins[index]
    by = f" by {origin.task}" if origin.task is not None else ""
    if not origin.frames:
        return [f"  allocated{by}"] if by else []
    stack = tuple(RawFrame(pc, "return") for pc in origin.frames)
    return [f"  allocated{by}, innermost call first", *(_frame_line(f) for f in symbolizer.resolve_stack(stack))]


def _frame_line(frame: Frame) -> str:
    place = f" ({frame.file}:{frame.line})" if frame.file and frame.line else ""
    return f"    {format_address(frame.pc)}  {frame.function or frame.module or 'no symbol'}{place}"


def _elsewhere(found: Survey, address: int) -> str:
    for first, end in found.heap.free:
        if first <= address < end:
            return f"it is in a free block of {format_bytes(end - first)} at {format_address(first)}"
    for first, end in found.heap.untrusted:
        if first <= address < end:
            return "it is in a part of the heap that could not be walked"
    inside = any(first <= address < end for first, end in found.heap.place.arenas)
    return "it is in the allocator's own bookkeeping" if inside else "it is not in the heap"


def preview(found: Survey, index: int) -> str:
    """The first bytes of a block in hexadecimal and as text."""
    block = found.heap.live[index]
    data = found.image.memory.read(block.address, min(_PREVIEW_BYTES, block.end - block.address)) or b""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
    return f"{data[:16].hex(' ')}{' ..' if len(data) > 16 else ''}  {text}"


def listing(found: Survey, firmware: Firmware, states: tuple[int, ...]) -> list[str]:
    """One line for each block in these states, by address, and a line of totals."""
    rows = []
    total = 0
    for index, block in enumerate(found.heap.live):
        state = found.reach.states[index]
        if state not in states:
            continue
        total += block.size_bytes
        holder = held_by(found, firmware, index) or preview(found, index)
        task = found.origins[index].task
        holder += f"  by {task}" if task is not None else ""
        rows.append(f"{format_address(block.address)}  {block.size_bytes:>10,}  {STATE_WORDS[state]:<15}  {holder}")
    rows.append(f"{plural(len(rows), 'block')}, {format_bytes(total)}")
    return rows
