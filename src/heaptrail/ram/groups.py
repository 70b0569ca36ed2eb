"""Live blocks put together: those of one backtrace where that is known, else those of one size."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from heaptrail.units import format_bytes, plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.model.report import Finding
    from heaptrail.ram.survey import Survey

GroupKey = tuple[tuple[int, ...], int]
"""The backtrace, and the size where there is none (else 0)."""


class BlockGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks that are alike: indexes into the survey's blocks, by state.

    Args:
        frames: Their backtrace, empty where it is not known.
        sizes_bytes: Their block sizes, the most frequent first.
        total_bytes: Of all of them.
        lost_bytes: Of the unreachable ones.
    """

    frames: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    total_bytes: int
    lost_bytes: int
    unreachable: tuple[int, ...]
    masked: tuple[int, ...]
    reachable: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.unreachable) + len(self.masked) + len(self.reachable)

    @property
    def size_words(self) -> str:
        """Their size, or how many sizes they have."""
        if len(self.sizes_bytes) == 1:
            return f"{format_bytes(self.sizes_bytes[0])} (0x{self.sizes_bytes[0]:x})"
        return plural(len(self.sizes_bytes), "size")


class Groups:
    """All groups of a survey, the most lost bytes first; and the way from a finding's blocks to its group."""

    def __init__(self, found: Survey) -> None:
        self._found = found
        self._keys: list[GroupKey] = [
            (origin.frames, 0 if origin.frames else block.size_bytes)
            for block, origin in zip(found.heap.live, found.origins, strict=True)
        ]
        indexes: dict[GroupKey, list[int]] = {}
        for index, key in enumerate(self._keys):
            indexes.setdefault(key, []).append(index)
        self._indexes = indexes
        self._at = {block.address: index for index, block in enumerate(found.heap.live)}
        groups = [self._group(members) for members in indexes.values()]
        self.all = sorted(groups, key=lambda g: (-g.lost_bytes, -g.total_bytes, g.sizes_bytes, g.frames))

    def of(self, finding: Finding) -> BlockGroup | None:
        """The blocks of all sites of a finding, None where none of them is live in this image."""
        keys: dict[GroupKey, None] = {}
        for site in finding.sites:
            for address in site.addresses:
                index = self._at.get(address)
                if index is not None:
                    keys[self._keys[index]] = None
        return self._group([index for key in keys for index in self._indexes[key]]) if keys else None

    def _group(self, members: Iterable[int]) -> BlockGroup:
        states: tuple[list[int], list[int], list[int]] = ([], [], [])
        sizes: Counter[int] = Counter()
        found, index = self._found, 0
        for index in members:
            states[found.reach.states[index]].append(index)
            sizes[found.heap.live[index].size_bytes] += 1
        return BlockGroup(
            frames=found.origins[index].frames,
            sizes_bytes=tuple(size for size, _ in sizes.most_common()),
            total_bytes=sum(size * count for size, count in sizes.items()),
            lost_bytes=sum(found.heap.live[index].size_bytes for index in states[0]),
            unreachable=tuple(states[0]),
            reachable=tuple(states[1]),
            masked=tuple(states[2]),
        )
