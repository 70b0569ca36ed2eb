"""What analysis says of evidence: the verdict, the rate, the books, and a class for every allocation site."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from heaptrail.model.observations import RawFrame, SizeKind

VerdictWord = Literal["leak", "no_leak", "inconclusive"]
SiteClass = Literal["leak", "held_until_teardown", "bounded", "one_time", "in_flight", "undecided"]


class Capacity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's answer to "does this site have a bound?" (`[[judge.capacity]]` in heaptrail.toml).

    Args:
        site: Pattern of a function, file, module or address in the backtrace, as in suppressions (`dns_cache_*`).
        max_blocks: The most blocks that all sites which match may hold together, None where only bytes are bounded.
        max_bytes: The same in bytes as the dumps print them.
    """

    site: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    max_blocks: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] | None = None


class JudgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The user's terms for a verdict (`[judge]` in heaptrail.toml).

    Args:
        tolerate_bytes_per_cycle: A loss below this is not worth a verdict of `leak`; proving `no_leak` means showing
            that the loss is below it. None stands for the built-in: one three-thousandth of the idle free heap per
            cycle (the heap then outlives 3,000 cycles); the built-in never excuses a leak that is proven.
        confidence: Of intervals and of the claim, between 0.5 and 1.
        largest_single_loss_bytes: The largest block that one event may lose; a claim of `no_leak` is only as good as
            this assumption and always states it.
        warmup_cycles: Cycles at the start of each boot in which caches may still be filling; growth within them proves
            nothing, nor does growth before the run has lasted twice as long.
        tolerate_bytes_per_hour: The same where the log tells no cycles; None stands for a heap that outlives 30 days.
        capacity: Sites that are declared to be bounded.
        largest_request_bytes: The request whose first failure is foretold from the largest free block; None takes the
            largest block that is seen to be live.
    """

    tolerate_bytes_per_cycle: float | None = None
    confidence: float = 0.99
    largest_single_loss_bytes: int = 256
    warmup_cycles: int = 0
    tolerate_bytes_per_hour: float | None = None
    capacity: tuple[Capacity, ...] = ()
    largest_request_bytes: int | None = None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate and its limits; an open end is None."""

    low: float | None
    estimate: float | None
    high: float | None


class UpperBound(msgspec.Struct, frozen=True, kw_only=True):
    """The loss is below this with this confidence, for single losses of at most the size stated.

    It is `bytes_per_cycle`, or, where the log tells no cycles but the time, `bytes_per_hour`; the other one is None.
    """

    bytes_per_cycle: float | None
    confidence: float
    largest_single_loss_bytes: int
    bytes_per_hour: float | None = None

    @property
    def unit(self) -> Literal["cycle", "hour"]:
        """What the bound is counted in."""
        return "hour" if self.bytes_per_cycle is None else "cycle"

    @property
    def value(self) -> float:
        """Bytes per that unit."""
        known = self.bytes_per_hour if self.bytes_per_cycle is None else self.bytes_per_cycle
        return float("inf") if known is None else known


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes lost by the heap against bytes explained by leaking sites, over the same `window_cycles`.

    All in footprint bytes (the allocator's header and rounding included) when `basis` names a rule.
    """

    lost_bytes: int
    explained_bytes: int
    unexplained_bytes: int
    share_explained: float
    window_cycles: int
    basis: str


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A straight piece of the free-heap curve of one boot: `free = intercept + slope * x`.

    `x_unit` is `cycle` (cycles completed in the boot) or `hour` (hours since the capture's start).
    """

    boot: int
    heap: str | None
    x_unit: Literal["cycle", "hour"]
    x_from: float
    x_to: float
    intercept_bytes: float
    slope_bytes: float


class SiteVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """All blocks with the same full backtrace, and what they do.

    Args:
        frames: The backtrace, innermost first; empty for blocks without a stack.
        site_class: What the blocks do over the run.
        live_blocks, live_bytes: In the last running dump (bytes as the dump counts them, see `size_kind`).
        footprint_bytes: The same blocks in footprint bytes, None where the allocator's rule is unknown.
        per_cycle_blocks: Blocks that stay per cycle, None where no cycles are known or none repeat.
        counts: `(cycle, live blocks)` at each dump in order; cycle is None where unknown.
        tasks: Names of the tasks that allocated them, most blocks first.
        freed_at_teardown: Blocks that were live while the workload ran and gone after it had stopped.
        evidence: Sentences, strongest first.
    """

    frames: tuple[RawFrame, ...]
    site_class: SiteClass
    live_blocks: int
    live_bytes: int
    size_kind: SizeKind
    sizes_bytes: tuple[int, ...]
    footprint_bytes: int | None = None
    per_cycle_blocks: float | None = None
    per_cycle_bytes: float | None = None
    per_cycle_footprint_bytes: float | None = None
    counts: tuple[tuple[int | None, int], ...] = ()
    tasks: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()
    freed_at_teardown: int = 0
    evidence: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `judge`, before addresses have names."""

    verdict: VerdictWord
    reasons: tuple[str, ...]
    rate_bytes_per_cycle: Interval | None = None
    rate_bytes_per_hour: Interval | None = None
    upper_bound: UpperBound | None = None
    exhaustion_hours: Interval | None = None
    exhaustion_cycles: Interval | None = None
    books: Books | None = None
    fits: tuple[Fit, ...] = ()
    sites: tuple[SiteVerdict, ...] = ()
