"""The report: everything that any output format may show, and nothing that it must compute.

Its JSON form is `heaptrail.report/1` (SPEC.md, "Report"), with the JSON schema in `heaptrail/reports/schema/`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from heaptrail.model.evidence import CaptureInfo
from heaptrail.model.observations import FrameKind, SizeKind
from heaptrail.model.verdict import Books, Fit, Interval, SiteClass, UpperBound, VerdictWord

SCHEMA = "heaptrail.report/1"


class SourceExcerpt(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines around a frame's line, as they stand in the source file on this machine."""

    first_line: int
    lines: tuple[str, ...]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One function of a backtrace. One raw PC becomes several frames where calls were inlined.

    Args:
        pc: The raw address as printed; inlined frames carry the same one.
        kind: Whether `pc` is a call or a return address.
        function, file, line: None where unknown.
        inlined: True when this function was inlined into the next outer frame.
        module: Name of the ELF that holds it, or, for an address in no text section, the nearest section.
        wrapper: True for allocators and wrappers, which never name a site.
        note: A remark about how the line was found, or None.
        excerpt: Source lines, where the source is at hand.
        inferred: True for a function that left no frame, since it ends with a tail call: the ELF puts it between its
            caller and what it jumped to, and `pc` is the jump.
    """

    pc: int
    kind: FrameKind
    function: str | None = None
    file: str | None = None
    line: int | None = None
    inlined: bool = False
    module: str | None = None
    wrapper: bool = False
    note: str | None = None
    excerpt: SourceExcerpt | None = None
    inferred: bool = False


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """An allocation site: `name` is its first frame outside allocators and wrappers, None where none can be named."""

    name: str | None
    file: str | None
    line: int | None
    frames: tuple[Frame, ...]
    live_blocks: int
    live_bytes: int
    size_kind: SizeKind
    sizes_bytes: tuple[int, ...]
    per_cycle_blocks: float | None = None
    per_cycle_bytes: float | None = None
    per_cycle_footprint_bytes: float | None = None
    counts: tuple[tuple[int | None, int], ...] = ()
    tasks: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()
    unreachable_blocks: int | None = None
    """Of a RAM image: how many of them nothing points to; None where that is unknown."""
    stale_pcs: tuple[int, ...] = ()
    """Addresses from these blocks' backtraces that the ELF shows to be no callers: left out of `frames`."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cause: one or more sites of the same class that share a tail and a count per cycle.

    `suppressed_by` names the entry of the user's list of known leaks that matches every site of it, or is None.
    """

    finding_class: SiteClass = msgspec.field(name="class")
    summary: str
    sites: tuple[Site, ...]
    live_blocks: int
    live_bytes: int
    per_cycle_blocks: float | None = None
    per_cycle_bytes: float | None = None
    per_cycle_footprint_bytes: float | None = None
    tasks: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    suppressed_by: str | None = None


class SuppressionUse(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a list of known leaks, and what it matched in this report.

    Args:
        pattern: As written, such as `leak:softvol_*`.
        place: File and line of the entry.
        status: `used`, `stale` (matched nothing) or `expired` (its date has passed, so it suppresses nothing).
        reason, owner, expires: Of entries that have them; `expires` is an ISO date.
        findings, sites, live_bytes: Counts of what it matched.
    """

    pattern: str
    place: str
    status: Literal["used", "stale", "expired"]
    reason: str | None = None
    owner: str | None = None
    expires: str | None = None
    findings: int = 0
    sites: int = 0
    live_bytes: int = 0


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One heap reading on the curve."""

    boot: int
    line: int
    free_bytes: int
    cycle: int | None = None
    t_s: float | None = None
    min_free_bytes: int | None = None
    largest_free_bytes: int | None = None
    tracer: Literal["on", "off"] | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """The readings of one heap. `points` may be thinned; `readings` counts all of them."""

    heap: str | None
    total_bytes: int | None
    readings: int
    points: tuple[Point, ...]
    fits: tuple[Fit, ...] = ()


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """One task as last seen, with the lowest stack reserve of the whole capture."""

    name: str
    state: str | None = None
    priority: int | None = None
    id: int | None = None
    stack_free_min_words: int | None = None
    stack_free_min_bytes: int | None = None
    stack_size_bytes: int | None = None
    stack_used_max_percent: float | None = None
    heap_bytes: int | None = None
    rows: int = 1


class ReportProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A warning about the evidence. Equal problems are one entry with a `count`; `line` is the first one's."""

    what: str
    text: str
    line: int | None = None
    boot: int | None = None
    count: int = 1


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The ELF that gave the names."""

    name: str
    build_id: str | None
    arch: str
    bits: int
    debug_info: bool


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the report comes from; enough to make it again."""

    captures: tuple[CaptureInfo, ...]
    elf: ImageInfo | None
    versions: dict[str, str]
    options: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The frozen result of a diagnosis. `headline` is the verdict as one sentence.

    `all_suppressed` is True where every leak is on the user's list of known ones and the books leave no more
    unexplained than is tolerated (docs/decisions/0007-suppressions.md).
    """

    schema: str = SCHEMA
    verdict: VerdictWord
    headline: str
    reasons: tuple[str, ...]
    rate_bytes_per_cycle: Interval | None
    rate_bytes_per_hour: Interval | None
    upper_bound: UpperBound | None
    exhaustion_hours: Interval | None
    exhaustion_cycles: Interval | None
    books: Books | None
    findings: tuple[Finding, ...]
    series: tuple[Series, ...]
    tasks: tuple[TaskRow, ...]
    problems: tuple[ReportProblem, ...]
    boots: int
    cycles: int | None
    provenance: Provenance
    suppressions: tuple[SuppressionUse, ...] = ()
    all_suppressed: bool = False
