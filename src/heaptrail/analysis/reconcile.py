"""The books: what the heap lost against what the sites account for, over the same number of cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.verdict import Books

if TYPE_CHECKING:
    from heaptrail.model.evidence import FootprintRule

LITTLE_EXPLAINED = 0.8
MUCH_EXPLAINED = 1.25


def books_of(
    lost_per_cycle: float, explained_per_cycle: float, window_cycles: float, rule: FootprintRule | None
) -> Books | None:
    """Balance a rate of loss against the sites' rates; None when the heap lost nothing.

    Args:
        lost_per_cycle: The series' loss, in bytes of `free`.
        explained_per_cycle: The growing sites' rate, in footprint bytes where a rule is known.
        window_cycles: The cycles of the series that both are applied to.
        rule: The allocator's header and rounding.
    """
    window = round(window_cycles)
    lost = round(lost_per_cycle * window_cycles)
    if window < 1 or lost < 1:
        return None
    explained = round(explained_per_cycle * window_cycles)
    basis = (
        f"footprint bytes: {rule.basis}"
        if rule is not None
        else "sizes as printed; the allocator's header and rounding are unknown, so a share below 100 % is expected"
    )
    return Books(
        lost_bytes=lost,
        explained_bytes=explained,
        unexplained_bytes=lost - explained,
        share_explained=explained / lost,
        window_cycles=window,
        basis=basis,
    )
