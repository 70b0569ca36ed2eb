"""Soak runs with a known truth, built from blocks: who is allocated where, when, and when it is freed.

A run is a set of allocations over 240 cycles. `free` is what they leave of the heap at the moments of sampling, and a
dump is the list of those alive at one moment, so that the two never disagree. Every run has the usual background:
permanent set-up, transients within a cycle, a heartbeat, buffers held across cycle ends, and an honest warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heaptrail.model.evidence import Evidence, FootprintRule, LiveDump
from heaptrail.model.observations import Block, Dump, HeapSample, RawFrame, SiteCount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = NDArray[np.float64]
Births = Literal["exact", "sequence", "first_seen"]
CYCLES = 240
LOOKS = (24, 36, 48, 60, 80, 100, 130, 160, 200, 240)
RULE = FootprintRule(header_bytes=8, align_bytes=8, basis="8-byte header, multiples of 8")
LEAK_SITES = 100  # site numbers from here on are leaks


def stack(site: int) -> tuple[RawFrame, ...]:
    """The backtrace of a site: the allocator's two frames, its own, and the task's two."""
    return tuple(RawFrame(pc, "call") for pc in (0x8000, 0x8010, 0x10000 + site * 0x40, 0x9000, 0x9010))


STACKS = {site: stack(site) for site in range(LEAK_SITES + 40)}


@dataclass
class Run:
    """One run under construction, then its observations. Times are in cycles since the start of the run."""

    rng: np.random.Generator
    cycles: int = CYCLES
    heap: int = 0
    cycle_s: float = 60.0
    per_cycle: int = 16
    boots: list[float] = field(default_factory=lambda: [0.0])
    missing: float = 0.0
    tails: bool = False
    jitter: bool = False
    rate: float | None = None
    """Footprint bytes lost per cycle at the end of the run; None where nothing leaks."""
    onset: float = 0.0
    accelerates: bool = False
    """The rate grows in proportion to time and is `rate` at the end."""
    site: list[Array] = field(default_factory=list)
    size: list[Array] = field(default_factory=list)
    birth: list[Array] = field(default_factory=list)
    death: list[Array] = field(default_factory=list)

    def add(self, site: int | Array, size: float | Array, birth: Array, death: Array | float = np.inf) -> None:
        """Allocations of one site; the arguments are broadcast to the births."""
        birth = np.atleast_1d(np.asarray(birth, dtype=np.float64))
        self.site.append(np.broadcast_to(np.asarray(site, dtype=np.float64), birth.shape))
        self.size.append(np.round(np.broadcast_to(np.asarray(size, dtype=np.float64), birth.shape)))
        self.birth.append(birth)
        self.death.append(np.broadcast_to(np.asarray(death, dtype=np.float64), birth.shape))

    def rate_at(self, cycle: float) -> float:
        """Footprint bytes lost per cycle at that moment of the run."""
        if self.rate is None or cycle <= self.onset:
            return 0.0
        return self.rate * cycle / self.cycles if self.accelerates else self.rate

    def cycles_left(self, free: float) -> float:
        """Cycles after the end of the run until `free` bytes are used up, if it goes on as it does."""
        rate = self.rate or 1e-9
        if not self.accelerates:
            return free / rate
        growth = rate / self.cycles
        return float((np.sqrt(rate * rate + 2 * growth * free) - rate) / growth)

    def leak(self, number: int, size: float | Array, birth: Array) -> None:
        self.add(LEAK_SITES + number, size, birth)


def footprint(size: Array) -> Array:
    return np.ceil((size + RULE.header_bytes) / RULE.align_bytes) * RULE.align_bytes


def background(run: Run) -> None:
    """What every firmware does all the time, without losing anything."""
    rng = run.rng
    run.heap = int(rng.choice([64, 96, 128, 192, 256, 320])) * 1024
    run.cycle_s = float(rng.uniform(40, 900))
    run.per_cycle = int(rng.integers(8, 26))
    for boot in run.boots:
        run.add(0, rng.integers(32, 600, 25), boot + np.sort(rng.uniform(0, 0.3, 25)))
        run.add(1, rng.integers(40, 200, 6), boot + np.sort(rng.uniform(0, rng.uniform(3, 6), 6)))
    n = run.cycles
    cycle = np.repeat(np.arange(n, dtype=float), 3)
    start = cycle + rng.uniform(0.05, 0.7, len(cycle))
    run.add(2, rng.integers(200, 900, len(cycle)), start, start + rng.uniform(0.02, 0.25, len(cycle)))
    beat = np.arange(0, n, 0.5) + 0.21
    run.add(3, 48, beat, beat + 0.03)
    held = np.flatnonzero(rng.random(n) < 0.4) + rng.uniform(0.3, 0.9)
    run.add(4, rng.integers(64, 300, len(held)), held, held + rng.uniform(0.2, 1.8, len(held)))


def every(run: Run, rate: float, begin: float = 0.0, end: float | None = None) -> Array:
    """Random moments at a mean of `rate` per cycle."""
    stop = run.cycles if end is None else end
    count = run.rng.poisson(rate * max(stop - begin, 0))
    return np.sort(run.rng.uniform(begin, stop, count))


def rhythm(run: Run, period: float, begin: float = 0.0) -> Array:
    """One moment in each period, at a phase that wobbles."""
    moments = np.arange(begin, run.cycles, period)
    return moments + run.rng.uniform(0.1, 0.9) * min(period, 1.0) + run.rng.uniform(0, 0.05, len(moments))


# --- Leak-free regimes -----------------------------------------------------------------------------------------------


def flat(run: Run) -> None:
    """Only the background."""


def late_warmup(run: Run) -> None:
    full = run.rng.uniform(0.2, 0.5) * run.cycles
    count = int(run.rng.integers(20, 120))
    run.add(10, run.rng.integers(60, 400), np.sort(run.rng.uniform(0, full, count)))


def zipf_table(run: Run) -> None:
    """A table of keys of falling frequency: a new key costs an entry, for ever."""
    keys = int(run.rng.integers(40, 160))
    weights = 1 / np.arange(1, keys + 1) ** run.rng.uniform(0.8, 1.4)
    weights /= weights.sum()
    first = run.rng.exponential(1 / (weights * run.rng.uniform(4, 12)))
    run.add(10, 72, np.sort(first[first < run.cycles]))


def periodic(run: Run) -> None:
    period = run.rng.uniform(24, 72)
    phase = run.rng.uniform(0, period)
    for k in range(int(run.cycles / period) + 2):
        middle = k * period - phase
        births = middle + np.sort(run.rng.uniform(-0.3, 0.0, 20)) * period
        deaths = middle + np.sort(run.rng.uniform(0.05, 0.4, 20)) * period
        keep = births > 0
        run.add(10, 220, births[keep], deaths[keep])


def random_walk(run: Run) -> None:
    """Queue lengths that wander between bounds."""
    level, births, deaths = 10, [], []
    alive: list[int] = []
    for moment in np.arange(0.5, run.cycles, 0.5):
        step = 1 if (run.rng.random() < 0.5 and level < 40) or level == 0 else -1
        level += step
        if step > 0:
            alive.append(len(births))
            births.append(moment)
            deaths.append(np.inf)
        elif alive:
            deaths[alive.pop(int(run.rng.integers(len(alive))))] = moment
    run.add(10, 120, np.array(births), np.array(deaths))


def ota_step(run: Run) -> None:
    at = run.rng.uniform(0.2, 0.8) * run.cycles
    run.add(10, run.rng.integers(500, 3000, 5), at + np.sort(run.rng.uniform(0, 2, 5)))
    run.add(11, 4096, np.array([at]), at + run.rng.uniform(4, 15))


def gc_sawtooth(run: Run) -> None:
    period = run.rng.uniform(6, 30)
    births = every(run, run.rng.uniform(1, 4))
    deaths = (np.floor(births / period) + 1) * period + 0.01
    run.add(10, run.rng.integers(50, 150), births, deaths)


def one_off_step(run: Run) -> None:
    run.add(10, run.rng.integers(1500, 6000), np.array([run.rng.uniform(0.1, 0.9) * run.cycles]))


def staircase(run: Run) -> None:
    """Features used for the first time: each brings its own block, at its own site or at one they share."""
    steps = np.sort(run.rng.uniform(0.05, 0.95, int(run.rng.integers(3, 6)))) * run.cycles
    sites = np.full(len(steps), 10.0) if run.rng.random() < 0.5 else 10.0 + np.arange(len(steps))
    run.add(sites, run.rng.integers(200, 1500, len(steps)), steps)


def reboots(run: Run) -> None:
    for boot, end in zip(run.boots, [*run.boots[1:], run.cycles], strict=True):
        fill = min(run.rng.uniform(10, 45), end - boot)
        run.add(10, 150, boot + np.sort(run.rng.uniform(0, fill, 30)))


def phase_jitter(run: Run) -> None:
    run.per_cycle = int(run.rng.integers(3, 6))
    run.jitter = True


def heavy_tails(run: Run) -> None:
    run.missing = 0.4
    run.tails = True


def load_drift(run: Run) -> None:
    """A working set that follows a load which rises over the whole run: more in use, nothing kept."""
    births = np.concatenate([c + run.rng.uniform(0, 1, int(2 + 10 * c / run.cycles)) for c in range(run.cycles)])
    run.add(10, 100, births, births + run.rng.uniform(0.1, 0.8, len(births)))


def session_churn(run: Run) -> None:
    births = every(run, run.rng.uniform(0.5, 1.5))
    run.add(10, 320, births, births + run.rng.uniform(5, 60, len(births)))


def lru_cache(run: Run) -> None:
    births = every(run, run.rng.uniform(0.6, 2.0))
    capacity = int(run.rng.integers(15, 45))
    deaths = np.concatenate([births[capacity:], np.full(min(capacity, len(births)), np.inf)])
    run.add(10, 180, births, deaths[: len(births)])


def ring_log(run: Run) -> None:
    life = run.rng.uniform(20, 60)
    births = rhythm(run, 1.0)
    run.add(10, 64, births, births + life)


def time_wait(run: Run) -> None:
    births = every(run, 3.0)
    run.add(10, 140, births, births + run.rng.uniform(1, 8, len(births)))
    bursts = np.repeat(every(run, 0.05), 8)
    run.add(11, 140, bursts, bursts + run.rng.uniform(2, 9, len(bursts)))


def growing_vector(run: Run) -> None:
    """An array that doubles when it is full: each block replaces the last."""
    edges = np.concatenate([[0.0], 4.0 * 2 ** np.arange(0, int(run.rng.integers(2, 5)))])
    edges = edges[edges < run.cycles]
    run.add(10, 64 * 2 ** np.arange(len(edges)), edges, np.append(edges[1:], np.inf))


def peak_pool(run: Run) -> None:
    """Connections are pooled: a new one is made only when more are in use at once than ever before."""
    demand = run.rng.poisson(8, run.cycles)
    peaks = np.maximum.accumulate(demand)
    births = np.repeat(np.arange(1, run.cycles) + 0.4, np.diff(peaks))
    run.add(10, 500, births)


def workers_first_use(run: Run) -> None:
    """Each of some workers sets itself up when it is first chosen."""
    first = run.rng.exponential(run.rng.uniform(10, 25), 16)
    run.add(10, 256, np.sort(first[first < run.cycles]))


def random_replacement(run: Run) -> None:
    slots, births, deaths = {}, [], []
    for moment in every(run, 1.2):
        slot = int(run.rng.integers(24))
        if slot in slots:
            deaths[slots[slot]] = moment
        slots[slot] = len(births)
        births.append(moment)
        deaths.append(np.inf)
    run.add(10, 200, np.array(births), np.array(deaths))


def slow_load_wave(run: Run) -> None:
    period = run.rng.uniform(90, 140)
    births = np.concatenate(
        [c + run.rng.uniform(0, 1, int(4 + 3.9 * np.sin(2 * np.pi * c / period))) for c in range(run.cycles)]
    )
    run.add(10, 150, births, births + run.rng.uniform(0.5, 3, len(births)))


def batch_upload(run: Run) -> None:
    """Records pile up until an upload takes them all, every 15 to 45 cycles, sometimes late."""
    uploads = np.cumsum(run.rng.uniform(15, 45, 20))
    births = every(run, 2.0)
    run.add(10, 90, births, uploads[np.searchsorted(uploads, births)])


# --- Runs that nobody can decide, outside the totals -----------------------------------------------------------------


def endless_table(run: Run) -> None:
    """A table of so many keys that it is still filling, almost evenly, at the end."""
    first = run.rng.exponential(run.rng.uniform(400, 900), 300)
    run.add(10, 72, np.sort(first[first < run.cycles]))


def standing_load_drift(run: Run) -> None:
    """A load that rises to the end, with buffers that overlap cycle ends: the curve falls, but nothing is kept."""
    births = np.concatenate([c + run.rng.uniform(0, 1, int(2 + 10 * c / run.cycles)) for c in range(run.cycles)])
    run.add(10, 100, births, births + run.rng.uniform(0.5, 2.5, len(births)))


def single_event(run: Run) -> None:
    run.leak(0, 1500, np.array([run.rng.uniform(0.3, 0.8) * run.cycles]))


# --- Leaks -----------------------------------------------------------------------------------------------------------


def slow_under_noise(run: Run) -> None:
    run.leak(0, 24, rhythm(run, 1.0))
    births = every(run, 3.0)
    run.add(10, run.rng.integers(100, 500, len(births)), births, births + run.rng.uniform(0.3, 3, len(births)))
    run.rate = 32.0


def constant(run: Run) -> None:
    size = int(run.rng.integers(24, 200))
    run.leak(0, size, rhythm(run, 1.0))
    run.rate = float(footprint(np.array([size]))[0])


def one_in_twenty(run: Run) -> None:
    period = run.rng.uniform(15, 22)
    run.leak(0, 200, rhythm(run, period, run.rng.uniform(0, period)))
    run.rate = 208 / period


def error_path(run: Run) -> None:
    """Rare and clustered: an outage now and then, with a few losses each."""
    outages = every(run, 0.02)
    births = np.sort(np.concatenate([o + run.rng.uniform(0, 3, run.rng.poisson(2.5)) for o in [*outages]] or [[]]))
    run.leak(0, 120, births[births < run.cycles])
    run.rate = 0.05 * 128


def four_sites(run: Run) -> None:
    for number, (size, period) in enumerate([(40, 1.0), (100, 2.0), (24, 1.0), (300, 5.0)]):
        run.leak(number, size, rhythm(run, period))
    run.rate = 48 + 112 / 2 + 32 + 312 / 5


def bursty(run: Run) -> None:
    bursts = every(run, 0.08)
    run.leak(0, 60, np.sort(np.concatenate([b + run.rng.uniform(0, 1, run.rng.poisson(6)) for b in [*bursts]] or [[]])))
    run.rate = 0.08 * 6 * 72


def accelerating(run: Run) -> None:
    count = int(run.rng.integers(80, 160))
    births = run.cycles * np.sqrt(np.sort(run.rng.random(count)))
    run.leak(0, 64, births)
    run.rate = 2 * count / run.cycles * 72
    run.accelerates = True


def masked_by_sawtooth(run: Run) -> None:
    gc_sawtooth(run)
    run.leak(0, 48, rhythm(run, 1.0))
    run.rate = 56.0


def after_warmup(run: Run) -> None:
    full = run.rng.uniform(0.1, 0.2) * run.cycles
    run.add(10, 200, np.sort(run.rng.uniform(0, full, 40)))
    run.leak(0, 56, rhythm(run, 1.0))
    run.rate = 64.0


def across_reboots(run: Run) -> None:
    reboots(run)
    run.leak(0, 56, rhythm(run, 1.0))
    run.rate = 64.0


def timer_driven(run: Run) -> None:
    period = run.rng.uniform(0.6, 3.3)
    run.leak(0, 80, np.arange(0, run.cycles, period))
    run.rate = 88 / period


def late_onset(run: Run) -> None:
    run.onset = run.rng.uniform(0.3, 0.6) * run.cycles
    run.leak(0, 80, rhythm(run, 1.0, run.onset))
    run.rate = 88.0


def one_in_three(run: Run) -> None:
    run.leak(0, 100, every(run, 0.33))
    run.rate = 0.33 * 112


def beside_a_cache(run: Run) -> None:
    """The leaking site also serves a cache that replaces its entries."""
    lru_cache(run)
    for array in self_sites(run, 10):
        array[...] = LEAK_SITES
    run.leak(0, 180, every(run, 0.5))
    run.rate = 0.5 * 192


def self_sites(run: Run, site: int) -> list[Array]:
    changed: list[Array] = []
    for index, array in enumerate(run.site):
        if len(array) and array[0] == site:
            run.site[index] = np.array(array)
            changed.append(run.site[index])
    return changed


def many_sizes(run: Run) -> None:
    births = every(run, 0.8)
    run.leak(0, run.rng.integers(16, 400, len(births)), births)
    run.rate = 0.8 * float(footprint(np.arange(16, 400)).mean())


def rare_and_large(run: Run) -> None:
    run.leak(0, 1500, rhythm(run, 25.0, run.rng.uniform(0, 25)))
    run.rate = 1512 / 25.0


def under_a_load_wave(run: Run) -> None:
    slow_load_wave(run)
    run.leak(0, 64, rhythm(run, 1.0))
    run.rate = 72.0


def lost_sessions(run: Run) -> None:
    """Of many sessions one in six is never closed."""
    births = every(run, 1.2)
    lost = run.rng.random(len(births)) < 1 / 6
    run.add(LEAK_SITES, 320, births, np.where(lost, np.inf, births + run.rng.uniform(2, 25, len(births))))
    run.rate = 0.2 * 328


INNOCENT: dict[str, Callable[[Run], None]] = {
    f.__name__: f
    for f in (
        flat, late_warmup, zipf_table, periodic, random_walk, ota_step, gc_sawtooth, one_off_step, staircase, reboots,
        phase_jitter, heavy_tails, load_drift, session_churn, lru_cache, ring_log, time_wait, growing_vector, peak_pool,
        workers_first_use, random_replacement, slow_load_wave, batch_upload,
    )
}  # fmt: skip
UNDECIDABLE: dict[str, Callable[[Run], None]] = {
    f.__name__: f for f in (endless_table, standing_load_drift, single_event)
}
LEAKING: dict[str, Callable[[Run], None]] = {
    f.__name__: f
    for f in (
        slow_under_noise, constant, one_in_twenty, error_path, four_sites, bursty, accelerating, masked_by_sawtooth,
        after_warmup, across_reboots, timer_driven, late_onset, one_in_three, beside_a_cache, many_sizes,
        rare_and_large, under_a_load_wave, lost_sessions,
    )
}  # fmt: skip


def make_run(name: str, seed: int, more: Mapping[str, Callable[[Run], None]] = MappingProxyType({})) -> Run:
    """A run of the named regime, of these or of `more`, the same for the same seed."""
    regime = {**INNOCENT, **UNDECIDABLE, **LEAKING, **more}[name]
    run = Run(np.random.default_rng([seed, *name.encode()]))
    if "reboots" in name:
        run.boots = [0.0, *(np.sort(run.rng.choice(np.arange(75, 150, 5), 1)) + 0.0), 165.0]
    background(run)
    regime(run)
    return run


@dataclass(frozen=True)
class Observed:
    """What a tester's log of the whole run holds; `until` cuts it at a look."""

    evidence: Evidence
    boots: tuple[float, ...]
    ends: tuple[float, ...]
    """For every sample, the moment in cycles."""
    dumps_at: tuple[float, ...]
    counts_before: tuple[int, ...]
    """For every dump, how many counters had been printed before the next."""

    def until(self, cycle: float, *, blocks: bool = True, samples: bool = True, counters: bool = False) -> Evidence:
        count = int(np.searchsorted(self.ends, cycle, side="right"))
        dumps = int(np.searchsorted(self.dumps_at, cycle, side="right"))
        return Evidence(
            samples=self.evidence.samples[:count] if samples else (),
            dumps=self.evidence.dumps[:dumps] if blocks else (),
            sites=self.evidence.sites[: self.counts_before[dumps - 1]] if counters and dumps else (),
            cycles_from="marks",
            boots=int(np.searchsorted(self.boots, cycle, side="left")),
            footprint=RULE,
        )


class Blocks(NamedTuple):
    """All allocations of a run in order of birth, with the deaths that resets bring."""

    site: NDArray[np.int64]
    size: Array
    birth: Array
    death: Array


def all_blocks(run: Run) -> Blocks:
    site, size = np.concatenate(run.site).astype(int), np.concatenate(run.size)
    birth, death = np.concatenate(run.birth), np.concatenate(run.death)
    boots = np.array(run.boots)
    death = np.minimum(death, np.append(boots[1:], np.inf)[np.searchsorted(boots, birth, side="right") - 1])
    keep = np.flatnonzero((birth >= 0) & (birth < run.cycles))
    order = keep[np.argsort(birth[keep], kind="stable")]
    return Blocks(site[order], size[order], birth[order], death[order])


def observe(run: Run, *, births: Births = "exact", dump_every: float = 10.0) -> Observed:
    """Sample the heap and list the live blocks, as a tester would."""
    blocks = all_blocks(run)
    samples, moments = _samples(run, blocks)
    dumps, at = _dumps(run, blocks, births, dump_every)
    counts, before = _counters(run, blocks, at)
    evidence = Evidence(
        samples=samples, dumps=dumps, sites=counts, cycles_from="marks", boots=len(run.boots), footprint=RULE
    )
    return Observed(evidence, tuple(run.boots), tuple(moments), tuple(at), before)


def _samples(run: Run, blocks: Blocks) -> tuple[tuple[HeapSample, ...], Array]:
    _, size, birth, death = blocks
    boots = np.array(run.boots)
    rng = run.rng
    moments = np.sort(rng.uniform(0, run.cycles, run.cycles * run.per_cycle))
    if run.missing:
        moments = moments[rng.random(len(moments)) >= run.missing]
    weight = footprint(size)
    taken = np.concatenate([[0.0], np.cumsum(weight)])
    by_death = np.argsort(death, kind="stable")
    given = np.concatenate([[0.0], np.cumsum(weight[by_death])])
    live = taken[np.searchsorted(birth, moments, side="right")] - given[np.searchsorted(death[by_death], moments)]
    if run.tails:  # a burst of somebody else's buffers at the moment of reading
        live = live + np.where(rng.random(len(moments)) < 0.1, 200 * rng.pareto(1.5, len(moments)), 0.0).clip(0, 20_000)
    free = (run.heap - 20_000 - live).astype(int)
    boot = np.searchsorted(boots, moments, side="right")
    cycle = np.floor(moments - boots[boot - 1]).astype(int)
    if run.jitter:  # cycle marks that come late
        cycle = np.maximum(cycle - (rng.random(len(moments)) < 0.2), 0)
    rows = zip(moments.tolist(), free.tolist(), boot.tolist(), cycle.tolist(), strict=True)
    samples = tuple(
        HeapSample(line=i + 1, boot=b, cycle=c, t_s=m * run.cycle_s, total_bytes=run.heap, free_bytes=f, tracer="off")
        for i, (m, f, b, c) in enumerate(rows)
    )
    return samples, moments


def _dumps(run: Run, listed: Blocks, births: Births, dump_every: float) -> tuple[tuple[LiveDump, ...], list[float]]:
    site, size, birth, death = listed
    boots = np.array(run.boots)
    dumps: list[LiveDump] = []
    at: list[float] = []
    addresses = 0x2000_0000 + 16 * run.rng.permutation(len(birth))
    boot_of = np.searchsorted(boots, birth, side="right") - 1
    born = np.floor(birth - boots[boot_of]).astype(int)
    wanted = np.unique(np.concatenate([np.arange(dump_every, run.cycles + 1, dump_every), LOOKS]).astype(float))
    for number, end in enumerate(wanted.tolist()):
        moment = end - run.rng.uniform(0.0, 0.3)
        boot = int(np.searchsorted(boots, moment, side="right"))
        alive = np.flatnonzero((birth <= moment) & (death > moment))
        head = Dump(
            line=1, dump=number, boot=boot, cycle=int(np.floor(moment - boots[boot - 1])), t_s=moment * run.cycle_s
        )
        blocks = tuple(
            Block(
                line=1,
                boot=boot,
                dump=number,
                address=int(addresses[i]),
                size_bytes=int(size[i]),
                size_kind="requested",
                sequence=int(i) if births == "sequence" else None,
                born_cycle=int(born[i]) if births == "exact" else None,
                frames=STACKS[int(site[i])],
            )
            for i in alive.tolist()
        )
        dumps.append(LiveDump(dump=head, blocks=blocks, armed_cycle=0, workload="running"))
        at.append(end)
    return tuple(dumps), at


def _counters(run: Run, blocks: Blocks, at: list[float]) -> tuple[tuple[SiteCount, ...], tuple[int, ...]]:
    """What a tracer that was on from the start of each boot prints of its call stacks at those moments."""
    site, size, birth, death = blocks
    boots = np.array(run.boots)
    counts: list[SiteCount] = []
    before: list[int] = []
    for moment in at:
        boot = int(np.searchsorted(boots, moment, side="right"))
        since = float(boots[boot - 1])
        seen = (birth >= since) & (birth <= moment)
        first = int(np.searchsorted(birth, since))
        for number in np.unique(site[seen]).tolist():
            mine = np.flatnonzero(seen & (site == number))
            freed = mine[death[mine] <= moment]
            live = mine[death[mine] > moment]
            ages = np.searchsorted(birth, death[freed]) - freed
            counts.append(
                SiteCount(
                    line=1,
                    boot=boot,
                    cycle=int(np.floor(moment - since)),
                    t_s=moment * run.cycle_s,
                    site=number,
                    live_blocks=len(live),
                    live_bytes=int(size[live].sum()),
                    allocations=len(mine),
                    frees=len(freed),
                    failed=0,
                    unrecorded=0,
                    first_sequence=int(mine[0]) - first + 1,
                    last_sequence=int(mine[-1]) - first + 1,
                    oldest_death_allocations=int(ages.max()) if len(freed) else None,
                    frames=STACKS[number],
                )
            )
        before.append(len(counts))
    return tuple(counts), tuple(before)
