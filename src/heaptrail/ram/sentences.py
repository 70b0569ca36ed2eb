"""What is said of blocks: the summary of a finding, its evidence and advice, and the reasons of a verdict."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from heaptrail.ram.places import held_by, preview
from heaptrail.ram.reach import MASKED, UNREACHABLE
from heaptrail.units import format_address, format_bytes, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Finding
    from heaptrail.model.verdict import SiteClass
    from heaptrail.ram.clues import Clues
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.groups import BlockGroup
    from heaptrail.ram.survey import Survey

_UNTOLD = "; too little was seen"
LEAST_LOST = 3
"""Unreachable blocks of one kind that make a leak."""


def summary(group: BlockGroup, found: Survey, finding: Finding, site_class: SiteClass, images: int) -> str:
    """One line on a finding."""
    blocks, growth = plural(group.count, "block"), finding.per_cycle_blocks
    rate = f", {growth:+.3g} per cycle" if growth is not None else ""
    if group.frames:
        # Once the blocks are known to be lost, it no longer matters that growth could not be told.
        head = finding.summary.partition(_UNTOLD)[0] if site_class != "undecided" else finding.summary
        before, what = (f"{head}; " if head else ""), f"{blocks} from here"
    else:
        before, what = "", f"{blocks} of {group.size_words[:-1]}, header included)"
        what = what if len(group.sizes_bytes) == 1 else f"{blocks} of {group.size_words}"
    if group.unreachable and found.conclusive:
        verb = "is" if len(group.unreachable) == 1 else "are"
        return f"{before}{len(group.unreachable)} of {what} {verb} unreachable{rate}"
    if growth is not None:
        return f"{before}{what}{rate}, all still reachable"
    if group.masked:
        return f"{before}{len(group.masked)} of {what} possibly masked"
    if not found.conclusive:
        return f"{before}{what}; whether anything points to {'it' if group.count == 1 else 'them'} cannot be said"
    ending = "in use" if images == 1 or site_class == "in_flight" else "reachable"
    return f"{before}{what}, {ending}"


def evidence(group: BlockGroup, found: Survey, firmware: Firmware, site_class: SiteClass, clues: Clues) -> list[str]:
    """What the image shows of the blocks of a finding."""
    lines: list[str] = []
    if group.unreachable and found.conclusive:
        lines.append(
            f"Unreachable: no register, no writable variable, no live stack and no block in use points into "
            f"{len(group.unreachable)} of the {plural(group.count, 'block')}."
        )
        first = group.unreachable[0]
        payload = found.heap.live[first].end - found.heap.live[first].address
        lines.append(
            f"Each holds up to {payload:,} (0x{payload:x}) bytes; that at "
            f"{format_address(found.heap.live[first].address)} begins {preview(found, first)}"
        )
        lines += clues.sentences(group)
        if len(group.unreachable) < LEAST_LOST:
            lines.append("So few may be held by a pointer that does not look like one: --keep 0xADDRESS if that is so.")
    elif group.unreachable:
        which = "it" if group.count == 1 else f"{len(group.unreachable)} of them"
        lines.append(f"Nothing in the image points into {which}, but the image is not whole.")
    if group.masked:
        lines.append(
            f"Possibly masked: {len(group.masked)} reached only from a stack whose live part is unknown "
            f"({held_by(found, firmware, group.masked[0])})."
        )
    if group.reachable and site_class in ("leak", "held_until_teardown", "undecided"):
        held = held_by(found, firmware, group.reachable[0])
        address = format_address(found.heap.live[group.reachable[0]].address)
        lines.append(f"Reachable: {len(group.reachable)}, the first ({address}) from {held}.")
    return lines


def advice(site_class: SiteClass, *, lost: bool, traced: bool) -> tuple[str, ...]:
    """What to do about a finding."""
    if site_class in ("leak", "undecided") and lost:
        if traced:
            return ("The backtrace says who allocates them; the last pointer to each was overwritten or went away.",)
        text = (
            "Find who allocates blocks of this size: their contents (--list unreachable), or a tracer armed for one "
            "round of the workload; the last pointer to each was overwritten or went out of scope."
        )
        return (text,)
    if site_class in ("leak", "held_until_teardown"):
        return ("Something in use still holds these blocks: --why 0xADDRESS shows the list or the cache that grows.",)
    if site_class == "undecided":
        return ("Take more images, one per round of the workload: heaptrail ram IMAGE IMAGE IMAGE IMAGE.",)
    return ()


def reasons(found: Survey, groups: Sequence[BlockGroup], images: int) -> list[str]:
    """Why the verdict is what it is, the weightiest first."""
    states = Counter(found.reach.states)
    live = plural(len(found.heap.live), "live block")
    lines: list[str] = []
    if not found.heap.blocks_known:
        lines += [f"{note[:1].upper()}{note[1:]}." for note in found.heap.notes]
        if images == 1:
            lines.append("Several images show whether what is handed out still grows: all of that is lost for good.")
        return lines
    if not found.conclusive:
        what = "part of the heap" if found.missing_heap else format_bytes(found.roots_missing_bytes) + " of memory"
        lines.append(f"The image lacks {what}, so that no block can be called unreachable.")
    elif states[UNREACHABLE]:
        few = [g for g in groups if 0 < len(g.unreachable) < LEAST_LOST]
        lines.append(f"Of {live} {states[UNREACHABLE]} {'is' if states[UNREACHABLE] == 1 else 'are'} unreachable.")
        if few:
            kind = "site or size" if any(group.frames for group in few) else "size"
            lines.append(
                f"{plural(sum(len(g.unreachable) for g in few), 'unreachable block')} of {plural(len(few), kind)} "
                f"with fewer than {LEAST_LOST} each are not counted as a leak: a hidden pointer may hold one block."
            )
    else:
        lines.append(f"Something points to each of {live}: nothing is unreachable.")
    if states[MASKED]:
        lines.append(
            f"{plural(states[MASKED], 'block')} may be masked: only a stack of unknown live part reaches them."
        )
    if images == 1:
        lines.append(
            "One image shows no growth: what is lost per cycle, or grows while it stays reachable, needs more."
        )
    return lines


def lost_words(lost: Sequence[BlockGroup]) -> str:
    """The groups that lost most, for a headline."""
    blocks: Counter[str] = Counter()
    lost_bytes: Counter[str] = Counter()
    for group in lost:
        blocks[group.size_words] += len(group.unreachable)
        lost_bytes[group.size_words] += group.lost_bytes
    shown = [f"{plural(blocks[size], 'block')} of {size}" for size, _ in lost_bytes.most_common(3)]
    more = len(blocks) - len(shown)
    return ", ".join(shown) + (f" and of {plural(more, 'more size')}" if more else "")
