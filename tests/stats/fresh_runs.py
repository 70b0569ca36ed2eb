"""Regimes that were written after the method had been frozen, as a check that it was not made for the others.

They are counted in a table of their own. What the first run over them said is kept in docs/reading-a-verdict.md.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from stats.soak_runs import LEAK_SITES, Run, every, footprint, rhythm

if TYPE_CHECKING:
    from collections.abc import Callable

# --- Leak-free -------------------------------------------------------------------------------------------------------


def diurnal_sessions(run: Run) -> None:
    """Sessions of some cycles each, more by day than by night; a day has 40 to 150 cycles."""
    day = run.rng.uniform(40, 150)
    phase = run.rng.uniform(0, 2 * np.pi)
    births = every(run, 3.0)
    births = births[run.rng.random(len(births)) < 0.5 + 0.5 * np.sin(2 * np.pi * births / day + phase)]
    run.add(10, 260, births, births + run.rng.uniform(1, 6, len(births)))


def log_chunks(run: Run) -> None:
    """A log keeps its chunks until there are too many, then drops the older half."""
    births, deaths = rhythm(run, run.rng.uniform(0.8, 2.0)), []
    most, held = int(run.rng.integers(16, 40)), []
    for index, moment in enumerate(births):
        deaths.append(np.inf)
        held.append(index)
        if len(held) > most:
            for old in held[: most // 2]:
                deaths[old] = moment
            held = held[most // 2 :]
    run.add(10, 256, births, np.array(deaths))


def outage_queue(run: Run) -> None:
    """Messages wait while the network is down, and all go when it is back."""
    births = every(run, 1.5)
    begins = every(run, 0.03)
    ends = begins + run.rng.uniform(2, 14, len(begins))
    deaths = births + run.rng.uniform(0.05, 0.4, len(births))
    for begin, end in zip(begins, ends, strict=True):
        waits = (births >= begin) & (births < end)
        deaths[waits] = np.maximum(deaths[waits], end)
    run.add(10, run.rng.integers(80, 300), births, deaths)


def mode_switches(run: Run) -> None:
    """Some modes of operation, each with buffers of its own."""
    edges = np.append(np.cumsum(run.rng.uniform(8, 50, 30)), run.cycles)
    edges = np.concatenate([[0.0], edges[edges < run.cycles], [float(run.cycles)]])
    sizes = run.rng.integers(200, 3500, 4)
    for begin, end in pairwise(edges):
        mode = int(run.rng.integers(4))
        run.add(10 + mode, sizes[mode], np.array([begin, begin + 0.1]), np.array([end, end]))


def expiring_cache(run: Run) -> None:
    """Entries live for a fixed time after they were made, whatever happens."""
    life = run.rng.uniform(25, 70)
    births = every(run, run.rng.uniform(0.3, 1.5))
    run.add(10, 150, births, births + life)


def hashed_slots(run: Run) -> None:
    """A table with a slot per hash: keys come at random, so that it fills ever more slowly and is never left."""
    slots = int(run.rng.integers(20, 80))
    first = run.rng.exponential(run.rng.uniform(6, 22), slots)
    run.add(10, 88, np.sort(first[first < run.cycles]))


def compacted_journal(run: Run) -> None:
    """A journal grows by a record a cycle until it is compacted, each time after 30 to 80 cycles."""
    edges = np.append(np.cumsum(run.rng.uniform(30, 80, 10)), np.inf)
    births = rhythm(run, 1.0)
    run.add(10, run.rng.integers(32, 120), births, edges[np.searchsorted(edges, births)])


# --- Leaks -----------------------------------------------------------------------------------------------------------


def reconnects(run: Run) -> None:
    """Each reconnection, about every ten cycles, leaves a context and a buffer behind."""
    moments = every(run, 0.1)
    run.leak(0, 96, moments)
    run.leak(1, 400, moments + 0.01)
    run.rate = 0.1 * float(footprint(np.array([96.0, 400.0])).sum())


def small_among_sessions(run: Run) -> None:
    births = every(run, 1.0)
    run.add(10, 320, births, births + run.rng.uniform(5, 40, len(births)))
    run.leak(0, 16, rhythm(run, 1.0))
    run.rate = 24.0


def in_one_mode(run: Run) -> None:
    """The device leaks in one of two modes, which take turns of 15 to 35 cycles."""
    edges = np.cumsum(run.rng.uniform(15, 35, 20))
    births = rhythm(run, 0.5)
    leaking = np.searchsorted(edges, births) % 2 == 0
    run.leak(0, 72, births[leaking])
    run.rate = 80.0


def by_day_only(run: Run) -> None:
    diurnal_sessions(run)
    run.leak(0, 56, rhythm(run, 1.0))
    run.rate = 64.0


def one_replacement_in_eight(run: Run) -> None:
    """A cache of fixed size forgets to free one entry in eight that it replaces."""
    births = every(run, 1.5)
    capacity = int(run.rng.integers(10, 30))
    deaths = np.concatenate([births[capacity:], np.full(min(capacity, len(births)), np.inf)])[: len(births)]
    lost = run.rng.random(len(births)) < 1 / 8
    run.add(LEAK_SITES, 180, births, np.where(lost, np.inf, deaths))
    run.rate = 1.5 / 8 * 192


def late_and_slow(run: Run) -> None:
    run.onset = float(run.rng.uniform(0.25, 0.45) * run.cycles)
    run.leak(0, 100, rhythm(run, 3.0, run.onset))
    run.rate = 112 / 3


def under_gaps_and_tails(run: Run) -> None:
    run.missing = 0.4
    run.tails = True
    run.leak(0, 64, every(run, 0.25))
    run.rate = 0.25 * 72


FRESH_INNOCENT: dict[str, Callable[[Run], None]] = {
    f.__name__: f
    for f in (
        diurnal_sessions, log_chunks, outage_queue, mode_switches, expiring_cache, hashed_slots, compacted_journal,
    )
}  # fmt: skip
FRESH_LEAKING: dict[str, Callable[[Run], None]] = {
    f.__name__: f
    for f in (
        reconnects, small_among_sessions, in_one_mode, by_day_only, one_replacement_in_eight, late_and_slow,
        under_gaps_and_tails,
    )
}  # fmt: skip

__all__ = ["FRESH_INNOCENT", "FRESH_LEAKING"]
