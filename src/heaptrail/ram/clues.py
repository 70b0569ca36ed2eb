"""Hints at what unreachable blocks are, for whoever looks for the line that loses them. Never part of the verdict."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from heaptrail.ram.reach import pointers_from
from heaptrail.ram.typeguess import TypeGuesser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.groups import BlockGroup
    from heaptrail.ram.survey import Survey

_OWNERS_SHOWN = 3


class Clues:
    """Of one image.

    Args:
        found: The image's survey.
        firmware: The ELF, for the types.
        growth: Sentences on growth by content, by block size; empty for a single image.
    """

    def __init__(self, found: Survey, firmware: Firmware, growth: Mapping[int, str]) -> None:
        self._found, self._growth = found, growth
        self._types = TypeGuesser(found, firmware)
        stacks = found.stacks
        self._seen: dict[int, list[str]] = {}
        for block, word in pointers_from(found.image.memory, found.heap.live, stacks.dead):
            stack = stacks.at(word)
            if stack is not None and stack.owner not in self._seen.setdefault(block, []):
                self._seen[block].append(stack.owner)

    def sentences(self, group: BlockGroup) -> list[str]:
        """Who allocated the unreachable blocks or pointed to them last, what type they may be, which of them grow."""
        lines = []
        owners = Counter(task for index in group.unreachable if (task := self._found.origins[index].task) is not None)
        if owners:
            lines.append(f"Allocated by {_counted(owners)}.")
        else:
            seen = Counter(owner for index in group.unreachable for owner in self._seen.get(index, ()))
            if seen:
                lines.append(f"Old pointers to them stand in dead frames of the stacks of {_counted(seen)}.")
        guess = self._types.guess(group.unreachable)
        if guess is not None:
            lines.append(guess)
        growth = self._growth.get(group.sizes_bytes[0]) if not group.frames else None
        return [*lines, growth] if growth is not None else lines


def _counted(owners: Counter[str]) -> str:
    shown = ", ".join(f"{owner} ({count})" for owner, count in owners.most_common(_OWNERS_SHOWN))
    more = len(owners) - _OWNERS_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")
