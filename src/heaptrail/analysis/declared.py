"""Capacities that the user declared: a site that stays within its own is bounded, however steadily it still grows.

No statistics can tell a cache that is still filling from a leak. Who wrote it can, once, in heaptrail.toml.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from heaptrail.analysis.classes import Classified
from heaptrail.units import format_bytes, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from heaptrail.analysis.sites import SiteHistory
    from heaptrail.model.observations import RawFrame
    from heaptrail.model.verdict import Capacity


@dataclass(frozen=True, slots=True)
class Use:
    """One declaration that fits some sites.

    Args:
        capacity: The declaration.
        blocks: The most blocks that the sites held together at any listing.
        bytes: What they hold in the last one, as printed.
    """

    capacity: Capacity
    blocks: int
    bytes: int

    @property
    def over(self) -> bool:
        """The sites hold more than was declared."""
        most_blocks, most_bytes = self.capacity.max_blocks, self.capacity.max_bytes
        return (most_blocks is not None and self.blocks > most_blocks) or (
            most_bytes is not None and self.bytes > most_bytes
        )

    @property
    def sentence(self) -> str:
        """What was declared, and what was found."""
        most_blocks, most_bytes = self.capacity.max_blocks, self.capacity.max_bytes
        limits = [plural(most_blocks, "block")] if most_blocks is not None else []
        limits += [format_bytes(most_bytes)] if most_bytes is not None else []
        held = f"{plural(self.blocks, 'block')} ({format_bytes(self.bytes)})"
        may = f"{self.capacity.site} may hold {' and '.join(limits)} at most"
        if self.over:
            return f"Over its declared capacity: {held} were live, and {may}."
        return f"Declared bounded: {may}, and {held} were live."


def uses_of(sites: Sequence[tuple[SiteHistory, int]], declared: Mapping[tuple[RawFrame, ...], Capacity]) -> list[Use]:
    """Each declaration that fits a site, once; beside each site stand its live bytes."""
    groups: dict[Capacity, list[tuple[SiteHistory, int]]] = {}
    for site, live_bytes in sites:
        capacity = declared.get(site.key[0])
        if capacity is not None:
            groups.setdefault(capacity, []).append((site, live_bytes))
    return [
        Use(
            capacity,
            max(map(sum, zip_longest(*([count for _, count in site.counts] for site, _ in group), fillvalue=0))),
            sum(live_bytes for _, live_bytes in group),
        )
        for capacity, group in groups.items()
    ]


def by_declaration(result: Classified, use: Use) -> Classified:
    """The class under a declaration: bounded within it; over it what the listings say, and never innocent."""
    evidence = (use.sentence, *result.evidence)
    if not use.over:
        return Classified("bounded", evidence, None)
    innocent = result.site_class in ("bounded", "one_time", "in_flight")
    return Classified("undecided" if innocent else result.site_class, evidence, result.per_unit)
