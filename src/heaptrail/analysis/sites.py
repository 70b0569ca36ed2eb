"""Blocks by allocation site over several dumps: who was born when, who died, who outlived the workload.

A block is the same block in two dumps when address, size, stack and sequence number agree. An address that was freed
and handed out again to the same site in between therefore looks like one old block: that errs towards innocence,
since it makes nothing look as if it were arriving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import FloatArray
    from heaptrail.model.evidence import FootprintRule, LiveDump
    from heaptrail.model.observations import Block, Observation, RawFrame, SiteCount

DumpAxis = Literal["cycle", "hour", "dump"]
SiteKey = tuple["tuple[RawFrame, ...]", int]
"""The full stack; blocks without one are told apart by size alone (second entry, else 0)."""

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one boot over which the tracer was on without a break.

    Args:
        boot: Its boot.
        start: Where births begin to be on record: the arming, else the first dump (or the boot, with birth stamps).
        end: The last listing of the running workload.
        running: Positions of the listings of the running workload.
        stopped: Whether a listing after the workload's stop is among them.
        running_known: Whether the log says that the workload was running at the last listing.
        armed: Whether the arming is known, so that the first listing's blocks were all born after `start`.
    """

    boot: int
    start: float
    end: float
    running: tuple[float, ...]
    stopped: bool
    running_known: bool
    armed: bool


@dataclass(slots=True)
class SpanBlocks:
    """What one site did in one span.

    `births`, `sizes` (footprint bytes) belong to the blocks of the last listing of the running workload; a birth before
    the record began is minus infinity. `early_seen` is how many blocks there were before the last listing. `borrowed`
    is how many more than those that stayed were usually live, where no block can be followed.
    """

    births: FloatArray
    first_seen: FloatArray
    sizes: FloatArray
    counts: list[int]
    oldest_death: float = 0.0
    deaths: int = 0
    early_seen: int = 0
    borrowed: float = 0.0
    kept_at_stop: int = 0
    freed_at_stop: int = 0


@dataclass(slots=True)
class SiteHistory:
    """One site over all spans; `blocks` are those of the last listing that shows the running workload.

    Where only counters tell of it there are no blocks, and `counted` is what they said last.
    """

    key: SiteKey
    spans: dict[int, SpanBlocks]
    blocks: list[Block]
    counts: list[tuple[int | None, int]]
    counted: SiteCount | None = None


@dataclass(frozen=True, slots=True)
class Histories:
    """All sites, with the spans that they refer to by index."""

    unit: DumpAxis
    spans: tuple[Span, ...]
    sites: tuple[SiteHistory, ...]
    exact: bool
    """Births are known to the cycle (stamps or sequence numbers) and not only as `first seen in dump j`."""
    listings: int


_Place = tuple[int, int]
"""Address and size of a block; who has both in two listings, and no other sequence number, is one block."""


def _same(one: Block, other: Block) -> bool:
    """Whether two listings mean one block. A device may print numbers in one layout and not in the other."""
    return one.sequence is None or other.sequence is None or one.sequence == other.sequence


@dataclass(slots=True)
class _Life:
    low: float
    high: float
    first: int
    block: Block
    size: float


@dataclass(slots=True)
class _SiteTrack:
    alive: dict[_Place, _Life] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    deaths: int = 0
    oldest_death: float = 0.0
    seen: int = 0
    kept_at_stop: int = 0
    freed_at_stop: int = 0


def site_key(block: Block) -> SiteKey:
    """What makes two blocks one site."""
    return (block.frames, 0 if block.frames else block.size_bytes)


def footprint_of(block: Block, rule: FootprintRule | None) -> int:
    """The fall of `free` for this block: by the allocator's rule, else the printed size."""
    if rule is None or block.size_kind == "block":
        return block.size_bytes
    return rule.footprint_bytes(block.size_bytes)


def histories(dumps: Sequence[LiveDump], rule: FootprintRule | None) -> Histories | None:
    """Follow every block through the dumps; None without a listing."""
    if not dumps:
        return None
    unit = unit_of([live.dump for live in dumps])
    placed = sorted(
        ((live, position_of(live.dump, unit, index)) for index, live in enumerate(dumps)),
        key=lambda pair: (pair[0].dump.boot, pair[1]),
    )
    groups: list[list[tuple[LiveDump, float]]] = []
    for live, at in placed:
        if groups and _continues(groups[-1][-1][0], live):
            groups[-1].append((live, at))
        else:
            groups.append([(live, at)])
    intern = _Interning()
    spans: list[Span] = []
    tracked: list[dict[SiteKey, _SiteTrack]] = []
    exact = True
    for group in groups:
        follower = _Follower(group, rule, intern)
        spans.append(follower.span)
        tracked.append(follower.follow())
        exact = exact and follower.exact
    return Histories(unit, tuple(spans), _collect(dumps, spans, tracked), exact, len(dumps))


def _continues(before: LiveDump, after: LiveDump) -> bool:
    return before.dump.boot == after.dump.boot and before.armed_cycle == after.armed_cycle


def unit_of(listings: Sequence[Observation]) -> DumpAxis:
    """What the listings can be laid out by: cycles where all of them tell theirs, else hours, else their order."""
    if all(listing.cycle is not None for listing in listings):
        return "cycle"
    if all(listing.t_s is not None and math.isfinite(listing.t_s) for listing in listings):
        return "hour"
    return "dump"


def position_of(listing: Observation, unit: DumpAxis, index: int) -> float:
    """Where a listing lies on that axis; `index` is its place in the order."""
    if unit == "cycle" and listing.cycle is not None:
        return float(listing.cycle)
    if unit == "hour" and listing.t_s is not None:
        return listing.t_s / _SECONDS_PER_HOUR
    return float(index)


def evenly(low: float, high: float, count: int) -> FloatArray:
    """Places of births of which only the interval is known."""
    if count == 0 or not math.isfinite(low) or high <= low:
        return np.full(count, low)
    return low + (np.arange(count) + 0.5) / count * (high - low)


class _Interning:
    """Site keys by the identity of the stack: hashing a stack once per block is most of the work otherwise."""

    def __init__(self) -> None:
        self._by_id: dict[int, SiteKey] = {}
        self._keys: dict[SiteKey, SiteKey] = {}

    def key(self, block: Block) -> SiteKey:
        if not block.frames:
            return site_key(block)
        # The block holds its stack for as long as the evidence lives, so that an id cannot be given away meanwhile.
        found = self._by_id.get(id(block.frames))
        if found is None:
            key = site_key(block)
            found = self._by_id[id(block.frames)] = self._keys.setdefault(key, key)
        return found


class _Follower:
    """Follows the blocks of one span from listing to listing."""

    def __init__(self, group: Sequence[tuple[LiveDump, float]], rule: FootprintRule | None, intern: _Interning) -> None:
        running = [pair for pair in group if pair[0].workload != "stopped"]
        self._listings = running or list(group)
        self._after = [pair for pair in group if pair[0].workload == "stopped"] if running else []
        self._rule = rule
        self._intern = intern
        first, at = self._listings[0]
        armed = first.armed_cycle is not None and first.dump.cycle is not None
        stamped = _stamped(first)
        self.exact = stamped
        start = float(first.armed_cycle or 0) if armed else (0.0 if stamped and first.dump.cycle is not None else at)
        self.span = Span(
            boot=first.dump.boot,
            start=min(start, at),
            end=self._listings[-1][1],
            running=tuple(position for _, position in self._listings),
            stopped=bool(self._after) or self._listings[-1][0].workload == "stopped",
            running_known=self._listings[-1][0].workload == "running",
            armed=armed,
        )
        self._tracks: dict[SiteKey, _SiteTrack] = {}

    def follow(self) -> dict[SiteKey, _SiteTrack]:
        low = self.span.start if self.span.armed or self.exact else -math.inf
        sequences: list[tuple[float, float]] = []
        for index, (live, at) in enumerate(self._listings):
            top = self._listing(index, live, low, at)
            if top is not None and (not sequences or top > sequences[-1][0]):
                sequences.append((top, at))
            low = at
        if sequences:
            self._place_by_sequence(sequences)
        for live, _ in self._after[-1:]:
            self._teardown(live)
        return self._tracks

    def _listing(self, index: int, live: LiveDump, low: float, at: float) -> int | None:
        fresh: dict[SiteKey, dict[_Place, _Life]] = {}
        top: int | None = None
        for block in live.blocks:
            if block.freed:
                continue
            key = self._intern.key(block)
            mine = fresh.get(key)
            if mine is None:
                mine = fresh[key] = {}
            sequence = block.sequence
            if sequence is not None and (top is None or sequence > top):
                top = sequence
            place = (block.address, block.size_bytes)
            track = self._tracks.get(key)
            known = None if track is None else track.alive.get(place)
            if known is not None and _same(known.block, block):
                mine[place] = known
            elif block.born_cycle is not None:
                mine[place] = _Life(block.born_cycle, block.born_cycle, index, block, footprint_of(block, self._rule))
            else:
                mine[place] = _Life(low, at, index, block, footprint_of(block, self._rule))
        self._merge(index, fresh, at, torn=live.dump.complete is False)
        return top

    def _merge(self, index: int, fresh: dict[SiteKey, dict[_Place, _Life]], at: float, *, torn: bool) -> None:
        for key in fresh.keys() - self._tracks.keys():
            self._tracks[key] = _SiteTrack(counts=[0] * index)
        for key, track in self._tracks.items():
            now = fresh.get(key, {})
            if torn:  # absence from a torn listing says nothing
                now = {**track.alive, **now}
            before = (self._listings[index - 1][1] + at) / 2 if index else at
            for place, life in track.alive.items():
                if now.get(place) is not life:
                    track.deaths += 1
                    born = (life.low + life.high) / 2 if math.isfinite(life.low) else life.high
                    track.oldest_death = max(track.oldest_death, before - born)
            track.seen += sum(1 for place, life in now.items() if track.alive.get(place) is not life)
            track.alive = now
            track.counts.append(len(now))

    def _place_by_sequence(self, anchors: list[tuple[float, float]]) -> None:
        """Narrow `first seen between two dumps` by the allocation counter, taken as even between two listings."""
        least = min(
            (
                life.block.sequence
                for t in self._tracks.values()
                for life in t.alive.values()
                if life.block.sequence is not None
            ),
            default=0,
        )
        begin = float(least) if self.span.armed else 0.0
        knots = [(min(begin, anchors[0][0] - 1.0), self.span.start), *anchors]
        xs, ys = [knot[0] for knot in knots], [knot[1] for knot in knots]
        for track in self._tracks.values():
            lives = [life for life in track.alive.values() if life.block.sequence is not None]
            places = np.interp([float(life.block.sequence or 0) for life in lives], xs, ys)
            for life, place in zip(lives, places, strict=True):
                place_in = min(max(float(place), life.low), life.high)
                life.low = life.high = place_in

    def _teardown(self, live: LiveDump) -> None:
        kept: dict[SiteKey, dict[_Place, Block]] = {}
        for block in live.blocks:
            if not block.freed:
                kept.setdefault(self._intern.key(block), {})[block.address, block.size_bytes] = block
        for key, track in self._tracks.items():
            after = kept.get(key, {})
            track.kept_at_stop = sum(
                1
                for place, life in track.alive.items()
                if (left := after.get(place)) is not None and _same(left, life.block)
            )
            track.freed_at_stop = 0 if live.dump.complete is False else len(track.alive) - track.kept_at_stop


def _stamped(live: LiveDump) -> bool:
    """Whether the listing dates its blocks itself; judged by its first blocks, since a tracer stamps all or none."""
    some = [block for block in live.blocks[:8] if not block.freed]
    return bool(some) and all(block.sequence is not None or block.born_cycle is not None for block in some)


def _spread(track: _SiteTrack) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    """Birth positions of the survivors (evenly spread where only an interval is known), dumps, sizes, early ones."""
    lives = sorted(track.alive.values(), key=lambda life: (life.high, life.low, life.block.line))
    births = np.empty(len(lives))
    start = 0
    while start < len(lives):
        stop = start
        while stop < len(lives) and (lives[stop].low, lives[stop].high) == (lives[start].low, lives[start].high):
            stop += 1
        births[start:stop] = evenly(lives[start].low, lives[start].high, stop - start)
        start = stop
    last = len(track.counts) - 1
    early = sum(1 for life in lives if life.first < last)
    first = np.array([life.first for life in lives], dtype=np.float64)
    return births, first, np.array([life.size for life in lives], dtype=np.float64), early


def _collect(
    dumps: Sequence[LiveDump], spans: Sequence[Span], tracked: Sequence[dict[SiteKey, _SiteTrack]]
) -> tuple[SiteHistory, ...]:
    keys = dict.fromkeys(key for tracks in tracked for key in tracks)
    counts: dict[SiteKey, list[tuple[int | None, int]]] = {key: [] for key in keys}
    intern = _Interning()
    for live in dumps:
        tally: dict[SiteKey, int] = {}
        for block in live.blocks:
            if not block.freed:
                key = intern.key(block)
                tally[key] = tally.get(key, 0) + 1
        for key in keys:
            counts[key].append((live.dump.cycle, tally.get(key, 0)))
    sites: list[SiteHistory] = []
    for key in keys:
        per_span: dict[int, SpanBlocks] = {}
        blocks: list[Block] = []
        for index, tracks in enumerate(tracked):
            track = tracks.get(key)
            if track is None:
                blocks = []
                continue
            births, first, sizes, early = _spread(track)
            blocks = [life.block for life in track.alive.values()]
            per_span[index] = SpanBlocks(
                births=births,
                first_seen=first,
                sizes=sizes,
                counts=track.counts,
                oldest_death=track.oldest_death,
                deaths=track.deaths,
                early_seen=track.deaths + early,
                kept_at_stop=track.kept_at_stop,
                freed_at_stop=track.freed_at_stop,
            )
        if any(spans[index].running for index in per_span):
            sites.append(SiteHistory(key, per_span, blocks, counts[key]))
    return tuple(sites)
