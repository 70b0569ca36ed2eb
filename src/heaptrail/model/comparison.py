"""What became of a program's leaks between two reports.

Its JSON form is `heaptrail.diff/1` (SPEC.md, "Diff").
"""

from __future__ import annotations

from typing import Literal

import msgspec

from heaptrail.model.verdict import Books, Interval, SiteClass, VerdictWord

DIFF_SCHEMA = "heaptrail.diff/1"

Outcome = Literal["worse", "same", "better", "inconclusive"]
Change = Literal["new", "grown", "same", "shrunk", "gone", "not_shown"]


class SiteState(msgspec.Struct, frozen=True, kw_only=True):
    """One allocation site in one report; sites of the same call chain (two lines of one function) are added up.

    `per_cycle_bytes` is in heap bytes where both reports know the allocator's header, else as the dump counts; None
    where the report does not tell cycles.
    """

    site_class: SiteClass = msgspec.field(name="class")
    file: str | None
    line: int | None
    live_blocks: int
    live_bytes: int
    per_cycle_blocks: float | None
    per_cycle_bytes: float | None


class SiteChange(msgspec.Struct, frozen=True, kw_only=True):
    """A site that leaks in one of the reports, or in both.

    Args:
        name: Function that the site is named by, None where none can be named.
        chain: The call chain that it was matched by, innermost first.
        change: `not_shown` means that it leaked before and that the second report cannot tell whether it still does.
        before, after: None where the report has no such site.
        suppressed_by: The entry of the list of known leaks in the second report, or None. Known leaks are no reason.
    """

    name: str | None
    chain: tuple[str, ...]
    change: Change
    before: SiteState | None
    after: SiteState | None
    suppressed_by: str | None = None


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one report says as a whole."""

    verdict: VerdictWord
    headline: str
    captures: tuple[str, ...]
    build_id: str | None
    rate_bytes_per_cycle: Interval | None
    rate_bytes_per_hour: Interval | None
    books: Books | None
    cycles: int | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The frozen result of a comparison.

    Args:
        outcome: `worse` with a new or grown leak, `inconclusive` where that cannot be told.
        reasons: Sentences, strongest first.
        changes: The worst first; sites that leak in neither report are only counted, in `other_sites`.
    """

    schema: str = DIFF_SCHEMA
    outcome: Outcome
    headline: str
    reasons: tuple[str, ...]
    before: Side
    after: Side
    changes: tuple[SiteChange, ...]
    other_sites: int

    def sentences(self) -> tuple[str, ...]:
        """The comparison in words: the headline, and the reasons that it does not say already."""
        return (self.headline, *(reason for reason in self.reasons if reason.rstrip(".") not in self.headline))
