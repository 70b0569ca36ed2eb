"""Judging from whole lives: each site's blocks, from birth to death, over the cycles of a run.

A listing shows who lives; a history shows who should have died. A site leaks when blocks born in many different cycles
outlive everything that the site ever freed while the workload ran, and such blocks still arrive in the end. What its
teardown frees is held until teardown. Blocks whose frees may have been lost on the way accuse nobody.

Where nothing marks the cycles, equal parts of the run's time take their place. They have no rhythm of the workload, so
more is asked of them, and innocence is never claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heaptrail.analysis.slowing import CLEARLY_SLOWING, favours_slowing
from heaptrail.model.stream import Ending, Kind, MarkKind
from heaptrail.model.verdict import Interval, SiteVerdict, UpperBound, Verdict
from heaptrail.units import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from heaptrail.model.observations import RawFrame
    from heaptrail.model.stream import Events, Ints, Stream
    from heaptrail.model.verdict import JudgeSettings, SiteClass

_MIN_CYCLES = 6
"""Different cycles in which a leak's blocks were born, and cycles that a verdict needs: one event is never a leak."""
_LATE_SHARE = 1 / 3
"""A leak still arrives in this last part of the cycles; what does not has stopped growing."""
_TEARDOWN_SHARE = 0.9
_PARTS = 24
"""Parts that a run without marks is divided into: set-up falls into one or two of them, growth into many."""
_PARTS_LATE_SHARE = 1 / 5
"""Share of the parts with births that must lie in the last third of the run: an even rhythm gives a third."""
_SIZES_KEPT = 8
_ADDRESSES_KEPT = 16


@dataclass(frozen=True, slots=True)
class Freer:
    """A stack that freed blocks of a site: `times` over the whole run, `while_running` of them before a stop."""

    frames: tuple[RawFrame, ...]
    times: int
    while_running: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who frees a site's blocks, most first, and how many of them a cycle allocates (None where none are marked)."""

    freers: tuple[Freer, ...]
    allocated_per_cycle: float | None


@dataclass(frozen=True, slots=True)
class Histories:
    """The verdict, and what passes through each of its sites."""

    verdict: Verdict
    traffic: tuple[Traffic, ...]
    cycles: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """The last run of the device, with the positions that divide it; `by_time` where these are equal parts.

    `stop` is where the workload stopped for the last time; `pauses` are the stretches `(stop, next start)` before that.
    """

    stream: Stream
    number: int
    cycle_marks: Ints
    stop: int
    cycles: int
    pauses: tuple[tuple[int, int], ...] = ()
    by_time: bool = False

    def while_running(self, position: Ints) -> NDArray[np.bool_]:
        """Which of these events came while the workload ran: not in a teardown."""
        running: NDArray[np.bool_] = (position >= 0) & (position <= self.stop)
        for first, end in self.pauses:
            running &= (position < first) | (position > end)
        return running

    def cycle_of(self, position: Ints) -> Ints:
        """Cycles completed before these events."""
        return np.searchsorted(self.cycle_marks, position).astype(np.int64)

    def count(self, number: int) -> str:
        """So many cycles, or parts."""
        return plural(number, "part" if self.by_time else "cycle")

    @property
    def whole(self) -> str:
        """The length of the run in words."""
        if not self.by_time:
            return plural(self.cycles, "cycle")
        ticks, time = self.stream.ticks_per_s, self.stream.events.time
        mine = time[self.stream.events.run == self.number]
        if not ticks:
            return f"a run in {self.cycles} equal parts"
        return f"a run of {(int(mine[-1]) - int(mine[0])) / ticks:,.3g} s in {self.cycles} equal parts"


def judge_histories(stream: Stream, settings: JudgeSettings) -> Histories:
    """Judge the last run of a stream.

    Args:
        stream: The events and their lives.
        settings: The user's terms; `warmup_cycles` at the start prove nothing, and the bound's confidence and largest
            single loss are used where nothing leaks.
    """
    run = _last_run(stream)
    found: list[tuple[SiteVerdict, Traffic, int]] = []
    lives = stream.lifetimes
    mine = np.flatnonzero(stream.events.run[lives.born] == run.number)
    stacks = stream.events.stack[lives.born[mine]]
    order = np.argsort(stacks, kind="stable")
    edges = np.flatnonzero(np.diff(stacks[order], prepend=-1))
    for rows in np.split(mine[order], edges[1:]) if len(mine) else []:
        judged = _site(run, rows, settings)
        if judged is not None:
            found.append(judged)
    sites = tuple(site for site, _, _ in found)
    cycles = None if run.by_time else run.cycles
    verdict = _verdict(run, sites, settings, events=sum(events for _, _, events in found))
    return Histories(verdict, tuple(traffic for _, traffic, _ in found), cycles)


def _last_run(stream: Stream) -> _Run:
    events = stream.events
    number = int(events.run[-1]) if len(events) else 0
    marks = np.flatnonzero((events.kind == Kind.MARK) & (events.run == number))
    cycle_marks = marks[events.task[marks] == MarkKind.CYCLE]
    stops = marks[events.task[marks] == MarkKind.WORKLOAD_STOP]
    stop = int(stops[-1]) if len(stops) else len(events)
    if len(cycle_marks) and not len(stops):
        stop = int(cycle_marks[-1])  # what comes behind the last round is its teardown, as far as anyone knows
    if not len(cycle_marks):
        parts = _parts(events, number, stop)
        return _Run(stream, number, parts, stop, len(parts), by_time=len(parts) > 0)
    starts = marks[events.task[marks] == MarkKind.WORKLOAD_START]
    again = [(int(each), starts[starts > each]) for each in stops[:-1]]
    pauses = tuple((first, int(later[0])) for first, later in again if len(later) and later[0] < stop)
    return _Run(stream, number, cycle_marks, stop, int((cycle_marks <= stop).sum()), pauses)


def _parts(events: Events, number: int, stop: int) -> Ints:
    """Where equal parts of a run's time end, the last one at the stop; empty where its clock stood still."""
    mine = np.flatnonzero(events.run == number)
    mine = mine[mine < stop]
    if len(mine) == 0:
        return mine
    time = np.maximum.accumulate(events.time[mine])
    first, last = int(time[0]), int(time[-1])
    if last - first < _PARTS:
        return mine[:0]
    edges = first + (last - first) * np.arange(1, _PARTS) // _PARTS
    inner = mine[np.searchsorted(time, edges)]
    return np.append(inner, stop)


def _site(run: _Run, rows: Ints, settings: JudgeSettings) -> tuple[SiteVerdict, Traffic, int] | None:
    """One site's verdict, and in how many cycles it left something once; None where nothing of it lived at the stop."""
    lives, events = run.stream.lifetimes, run.stream.events
    freers = _freers(run, rows)  # of later blocks, too: a teardown may free only what was born after the stop
    rows = rows[lives.born[rows] <= run.stop]
    died = lives.died[rows]
    unseen = lives.ending[rows] == Ending.UNSEEN
    living = rows[~unseen & ((died < 0) | (died > run.stop))]
    if len(living) == 0:
        return None
    freed = rows[run.while_running(died)]
    ages = run.cycle_of(lives.died[freed]) - run.cycle_of(lives.born[freed])
    oldest_death = int(ages.max()) if len(ages) else 0
    born = run.cycle_of(lives.born[living])
    outlived = run.cycles - born > oldest_death + 1
    old = living[outlived & (born >= settings.warmup_cycles)]
    torn_down = int((lives.died[living] > run.stop).sum())
    seen = _Seen(
        old=old,
        living=living,
        torn_down=torn_down,
        oldest_death=oldest_death,
        freed=len(freed),
        window=run.cycles - settings.warmup_cycles - oldest_death - 1,
        from_warmup=int((outlived & (born < settings.warmup_cycles)).sum()),
        rising=_floor_rises(run, rows[~unseen], settings.warmup_cycles),
        fading=not run.by_time and _fades(born[outlived], run.cycles - oldest_death - 1, settings.warmup_cycles),
    )
    site_class, evidence = _classify(run, seen)
    known = lives.size[living]
    known = known[known >= 0]
    live_bytes = int(known.sum())
    growing = site_class in ("leak", "held_until_teardown") and not run.by_time
    per_cycle = len(old) / max(seen.window, 1) if growing else None
    mean = live_bytes / len(known) if len(known) else None
    stack = run.stream.stacks.get((run.number, int(events.stack[lives.born[rows[0]]])))
    site = SiteVerdict(
        frames=stack.frames if stack is not None else (),
        site_class=site_class,
        live_blocks=len(living),
        live_bytes=live_bytes,
        size_kind="requested",
        sizes_bytes=tuple(np.unique(known)[:_SIZES_KEPT].tolist()),
        per_cycle_blocks=per_cycle,
        per_cycle_bytes=per_cycle * mean if per_cycle is not None and mean is not None else None,
        counts=_counts(run, rows, unseen),
        tasks=_tasks(run, living),
        addresses=tuple(lives.address[living][:_ADDRESSES_KEPT].tolist()),
        freed_at_teardown=torn_down,
        evidence=evidence,
    )
    allocated = None if run.by_time or not run.cycles else len(rows) / run.cycles
    left_once = len(np.unique(run.cycle_of(lives.born[old]))) if site_class == "one_time" else 0
    return site, Traffic(freers, allocated), left_once


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What one site's class follows from.

    Args:
        old: Blocks that lived at the stop, older than any that was freed while the workload ran, warm-up left out.
        living: All that lived at the stop.
        torn_down: How many of these were freed behind it.
        oldest_death: The greatest age in cycles at which a block was freed while the workload ran.
        freed: How many were.
        window: Cycles whose blocks would be old now; growth shows within them only.
        from_warmup: Blocks that would be old, but were born in the warm-up.
        rising: Whether the number of live blocks never came down again to what it had been.
        fading: Whether ever fewer were born that stayed, as in a table that fills.
    """

    old: Ints
    living: Ints
    torn_down: int
    oldest_death: int
    freed: int
    window: int
    from_warmup: int
    rising: bool
    fading: bool


def _classify(run: _Run, seen: _Seen) -> tuple[SiteClass, tuple[str, ...]]:
    births = run.cycle_of(run.stream.lifetimes.born[seen.old])
    different = len(np.unique(births))
    longest = (
        f"the oldest block that this site freed lived for {run.count(seen.oldest_death)}"
        if seen.freed
        else f"none was freed before the {'end' if run.by_time else 'stop'}"
    )
    late = int((births >= run.cycles - max(run.cycles * _LATE_SHARE, seen.oldest_death + 2)).sum())
    enough = late if not run.by_time else _steady_late(run, births)
    if different >= _MIN_CYCLES and enough:
        stop = "end" if run.by_time else "stop"
        told = f"{plural(len(seen.old), 'block')} born in {different} different {_many(run)} lived at the {stop} after "
        told += f"{run.whole}; {longest}, and such blocks still arrived."
        if seen.fading:
            return "undecided", (told, "But they became ever rarer: a cache that fills looks like this.")
        return _growing(run, told, seen)
    if run.cycles < _MIN_CYCLES:
        return "undecided", (f"The stream holds {run.count(run.cycles)}: too few to see growth.",)
    if seen.window < _MIN_CYCLES and seen.rising:
        shown = run.count(max(seen.window, 0))
        text = (
            f"Its live blocks only grew, but {longest}, so only {shown} behind the warm-up could show growth: too few."
        )
        return "undecided", (text,)
    return _settled(run, seen, different, longest, late=late > 0)


def _floor_rises(run: _Run, rows: Ints, warmup_cycles: int) -> bool:
    """Whether in the later half of the cycles more blocks lived at every end of one than at some end before."""
    marks = run.cycle_marks[run.cycle_marks <= run.stop][min(warmup_cycles, max(run.cycles - 2, 0)) :]
    if len(marks) < 2:
        return True
    lives = run.stream.lifetimes
    died = np.sort(lives.died[rows][lives.died[rows] >= 0])
    live = np.searchsorted(np.sort(lives.born[rows]), marks) - np.searchsorted(died, marks)
    half = len(live) // 2
    return int(live[half:].min()) > int(live[:half].min())


def _fades(born: Ints, until: int, warmup: int) -> bool:
    record = [(0.0, float(until))]
    return until > 0 and favours_slowing(np.unique(born).astype(np.float64), record, float(warmup)) > CLEARLY_SLOWING


def _many(run: _Run) -> str:
    return "parts" if run.by_time else "cycles"


def _steady_late(run: _Run, births: Ints) -> bool:
    """Whether enough of the parts in which old blocks were born lie in the last third, as of a rhythm that goes on."""
    parts = np.unique(births)
    late = int((parts >= run.cycles - run.cycles * _LATE_SHARE).sum())
    return late >= _PARTS_LATE_SHARE * len(parts) and late > 0


def _growing(run: _Run, told: str, seen: _Seen) -> tuple[SiteClass, tuple[str, ...]]:
    if len(seen.old) <= run.stream.counts.lost_events:
        lost = plural(run.stream.counts.lost_events, "event")
        return "undecided", (told, f"But {lost} never arrived, and frees of these blocks may be among them.")
    rest = plural(len(seen.living) - seen.torn_down, "block")
    if run.by_time and not seen.torn_down:
        return "leak", (told,)
    after = f"Freed after the stop: {plural(seen.torn_down, 'block')}; never: {rest}."
    torn = seen.torn_down >= _TEARDOWN_SHARE * len(seen.living)
    return "held_until_teardown" if torn else "leak", (told, after)


def _settled(run: _Run, seen: _Seen, different: int, longest: str, *, late: bool) -> tuple[SiteClass, tuple[str, ...]]:
    if len(seen.old) == 0 and seen.from_warmup:
        return "one_time", (f"All of its old blocks were born in the warm-up; {longest}.",)
    if len(seen.old) == 0:
        return "in_flight", (f"Its blocks at the stop were young; {longest}.",)
    if different <= 2:
        return "one_time", (f"All of its old blocks were born in {run.count(different)} of {run.whole}.",)
    if late:
        return "undecided", (f"Old blocks were born in {different} different {_many(run)}: too few to decide.",)
    return "bounded", (f"No block that stayed was born in the last third of {run.whole}.",)


def _counts(run: _Run, rows: Ints, unseen: NDArray[np.bool_]) -> tuple[tuple[int | None, int], ...]:
    """Live blocks at a few cycle ends, from births and deaths; blocks that ended unseen are left out."""
    lives = run.stream.lifetimes
    rows = rows[~unseen]
    marks = run.cycle_marks[run.cycle_marks <= run.stop]
    at = np.unique(np.linspace(0, len(marks) - 1, min(len(marks), 12)).astype(np.int64)) if len(marks) else marks
    died = np.sort(lives.died[rows][lives.died[rows] >= 0])
    live = np.searchsorted(np.sort(lives.born[rows]), marks[at]) - np.searchsorted(died, marks[at])
    return tuple((None if run.by_time else int(cycle) + 1, int(count)) for cycle, count in zip(at, live, strict=True))


def _tasks(run: _Run, living: Ints) -> tuple[str, ...]:
    numbers, counts = np.unique(run.stream.events.task[run.stream.lifetimes.born[living]], return_counts=True)
    known = [run.stream.tasks.get((run.number, int(number))) for number in numbers[np.argsort(-counts, kind="stable")]]
    return tuple(dict.fromkeys(task.name for task in known if task is not None and task.name))


def _freers(run: _Run, rows: Ints) -> tuple[Freer, ...]:
    died = run.stream.lifetimes.died[rows]
    died = died[died >= 0]
    numbers, inverse = np.unique(run.stream.events.stack[died], return_inverse=True)
    total = np.bincount(inverse, minlength=len(numbers))
    early = np.bincount(inverse[run.while_running(died)], minlength=len(numbers))
    found = []
    for place in np.argsort(-total, kind="stable").tolist():
        stack = run.stream.stacks.get((run.number, int(numbers[place])))
        found.append(Freer(stack.frames if stack else (), int(total[place]), int(early[place])))
    return tuple(found)


def _verdict(run: _Run, sites: tuple[SiteVerdict, ...], settings: JudgeSettings, *, events: int) -> Verdict:
    """The whole run's verdict; `events`: how often something was left once, which may be a slow leak."""
    growing = [site for site in sites if site.site_class in ("leak", "held_until_teardown")]
    undecided = [site for site in sites if site.site_class == "undecided"]
    cycles = run.whole
    lost = run.stream.counts.lost_events + run.stream.counts.cut_events
    if growing:
        rate = sum(site.per_cycle_bytes or 0.0 for site in growing)
        who = f"Blocks of {plural(len(growing), 'site')}"
        reason = f"{who} outlive the cycles that allocate them, over {cycles}."
        if run.by_time:
            reason = f"{who} keep arriving and are not freed, over {cycles}; nothing marks cycles."
        per_cycle = None if run.by_time else Interval(low=None, estimate=rate, high=None)
        return Verdict(verdict="leak", reasons=(reason,), rate_bytes_per_cycle=per_cycle, sites=sites)
    if run.cycles < _MIN_CYCLES:
        have = plural(run.cycles, "cycle")
        reason = f"The stream holds {have}, and growth needs {_MIN_CYCLES}: mark the end of each with ht_stream_mark."
        return Verdict(verdict="inconclusive", reasons=(reason,), sites=sites)
    if undecided or lost:
        reason = (
            f"{plural(lost, 'event')} of the stream are missing, and a leak may hide in them."
            if lost
            else f"{plural(len(undecided), 'site')} kept blocks of several {_many(run)}; a longer run would decide."
        )
        return Verdict(verdict="inconclusive", reasons=(reason,), sites=sites)
    if run.by_time:
        reason = f"No site keeps growing over {cycles}, but without marked cycles no bound on a loss can be stated."
        return Verdict(verdict="inconclusive", reasons=(reason,), sites=sites)
    from scipy.special import gammaincinv  # noqa: PLC0415 - it takes 0.2 s, which a report of a leak need not pay

    # So many losses in n cycles: with this confidence fewer than this share of them lose a block (the exact limit of a
    # Poisson count, Garwood 1936; without a loss it is -ln(1 - confidence) / n, the rule of three).
    share = min(1.0, float(gammaincinv(events + 1, settings.confidence)) / run.cycles)
    bound = UpperBound(
        bytes_per_cycle=share * settings.largest_single_loss_bytes,
        confidence=settings.confidence,
        largest_single_loss_bytes=settings.largest_single_loss_bytes,
    )
    reason = f"Every block that {cycles} allocated was freed, was young, or belongs to a site that stopped growing."
    return Verdict(verdict="no_leak", reasons=(reason,), upper_bound=bound, sites=sites)
