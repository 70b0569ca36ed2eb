"""Puts observations into `Evidence`, within the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from heaptrail.model.evidence import Evidence, LiveDump, TaskHistory
from heaptrail.model.observations import Block, Dump, Event, HeapSample, Mark, Observation, Problem, SiteCount, Task

if TYPE_CHECKING:
    from typing import Literal

    from heaptrail.limits import Limits
    from heaptrail.model.evidence import CaptureInfo, FootprintRule
    from heaptrail.model.observations import AnyObservation

    Workload = Literal["running", "stopped"] | None

_Observation = TypeVar("_Observation", bound=Observation)
_WORKLOAD: dict[str, Workload] = {
    "workload start": "running",
    "workload stop": "stopped",
    "teardown done": "stopped",
}


class _State:
    """What the step marks say, from a line on."""

    def __init__(self) -> None:
        self.tracer_on = False
        self.armed_cycle: int | None = None
        self.workload: Workload = None


class Gather:
    """Collects what one or more logs say; `evidence` may be asked once, at the end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._samples: list[HeapSample] = []
        self._nameless: str | None = None
        self._sites: list[SiteCount] = []
        self._events: list[Event] = []
        self._marks: list[Mark] = []
        self._problems: list[Problem] = []
        self._problems_omitted = 0
        self._blocks: list[Block] = []
        self._dumps: list[LiveDump] = []
        self._tasks: dict[str, TaskHistory] = {}
        self._state = _State()
        self._states: list[tuple[int, int | None, Workload]] = []
        self._full: set[str] = set()

    def begin_log(self) -> None:
        """Another log begins: line numbers start again, nothing of the last one is in force."""
        self._state = _State()
        self._states = []

    def add(self, observation: AnyObservation) -> None:
        """Take one observation."""
        match observation:
            case Block():
                if not observation.freed:
                    self._blocks.append(observation)
            case Task():
                self._add_task(observation)
            case Dump():
                self._add_dump(observation)
            case SiteCount():
                if self._room(len(self._sites), self._limits.records_per_dump, "counts of sites", observation):
                    self._sites.append(observation)
            case Problem():
                self._add_problem(observation)
            case _:
                self._add_moment(observation)

    def _add_moment(self, observation: HeapSample | Event | Mark) -> None:
        limits = self._limits
        if isinstance(observation, HeapSample):
            if self._room(len(self._samples), limits.heap_samples, "heap readings", observation):
                self._samples.append(self._apart(observation))
        elif isinstance(observation, Event):
            if self._room(len(self._events), limits.records_per_dump, "events", observation):
                self._events.append(observation)
        else:
            self._follow(observation)
            if self._room(len(self._marks), limits.marks, "marks", observation):
                self._marks.append(observation)

    def _apart(self, sample: HeapSample) -> HeapSample:
        """The reading, with its dialect for a name where another one has read a heap without a name before.

        An allocator's own table and a line of the application need not mean the same memory, so they are two series.
        What `firmware` read before the log showed an ESP, `espidf` reads from then on.
        """
        if sample.heap is not None:
            return sample
        dialect = "espidf" if sample.dialect == "firmware" else sample.dialect
        self._nameless = self._nameless or dialect
        return sample if dialect == self._nameless else msgspec.structs.replace(sample, heap=sample.dialect)

    def _add_problem(self, problem: Problem) -> None:
        if len(self._problems) < self._limits.problems:
            self._problems.append(problem)
        else:
            self._problems_omitted += 1

    def _room(self, have: int, limit: int, noun: str, observation: AnyObservation) -> bool:
        if have < limit:
            return True
        if noun not in self._full:
            self._full.add(noun)
            text = f"there are more than {limit:,} {noun}; from line {observation.line} on they are left out"
            # Never crowded out by the problems before it: it says that the evidence is not whole.
            self._problems.insert(0, Problem(what="too_many", text=text, line=observation.line, boot=observation.boot))
        return False

    def _add_task(self, row: Task) -> None:
        known = self._tasks.get(row.name)
        if known is None:
            if self._room(len(self._tasks), self._limits.tasks, "task names", row):
                self._tasks[row.name] = TaskHistory(
                    last=row,
                    rows=1,
                    stack_free_min_words=row.stack_free_min_words,
                    stack_free_min_bytes=row.stack_free_min_bytes,
                )
            return
        self._tasks[row.name] = TaskHistory(
            last=row,
            rows=known.rows + 1,
            stack_free_min_words=_least(known.stack_free_min_words, row.stack_free_min_words),
            stack_free_min_bytes=_least(known.stack_free_min_bytes, row.stack_free_min_bytes),
        )

    def _add_dump(self, dump: Dump) -> None:
        blocks, self._blocks = tuple(self._blocks), []
        armed, workload = None, None
        for line, armed_then, workload_then in reversed(self._states):  # the dump is given out after its last line
            if line < dump.line:
                armed, workload = armed_then, workload_then
                break
        self._dumps.append(LiveDump(dump=dump, blocks=blocks, armed_cycle=armed, workload=workload))

    def _follow(self, mark: Mark) -> None:
        state = self._state
        if mark.what == "boot":
            self._state = state = _State()
        elif mark.what == "step":
            if mark.label == "tracer on" and not state.tracer_on:
                state.tracer_on = True
                state.armed_cycle = mark.cycle
            elif mark.label == "tracer off":
                state.tracer_on = False
            elif mark.label in _WORKLOAD:
                state.workload = _WORKLOAD[mark.label]
        if mark.what != "cycle":
            self._states.append((mark.line, state.armed_cycle, state.workload))

    def evidence(
        self, captures: list[CaptureInfo], *, boots: int, cycle_marks: int, footprint: FootprintRule | None
    ) -> Evidence:
        """All of it. Where no cycle ended anywhere, `cycle` is None everywhere: it is unknown, not 0."""
        evidence = Evidence(
            captures=tuple(captures),
            samples=tuple(self._samples),
            dumps=tuple(self._dumps),
            sites=tuple(self._sites),
            events=tuple(self._events),
            tasks=tuple(self._tasks.values()),
            marks=tuple(self._marks),
            problems=tuple(self._problems),
            problems_omitted=self._problems_omitted,
            cycles_from="marks" if cycle_marks else None,
            boots=boots,
            footprint=footprint,
        )
        return evidence if cycle_marks else _without_cycles(evidence)


def _least(known: int | None, new: int | None) -> int | None:
    values = [value for value in (known, new) if value is not None]
    return min(values, default=None)


def _without_cycles(evidence: Evidence) -> Evidence:
    observations = (*evidence.samples, *evidence.sites, *evidence.events, *evidence.marks, *evidence.problems)
    if all(observation.cycle is None for observation in observations) and not evidence.dumps:
        return evidence
    return msgspec.structs.replace(
        evidence,
        samples=_cleared(evidence.samples),
        sites=_cleared(evidence.sites),
        events=_cleared(evidence.events),
        marks=_cleared(evidence.marks),
        problems=_cleared(evidence.problems),
        tasks=tuple(
            msgspec.structs.replace(task, last=msgspec.structs.replace(task.last, cycle=None))
            for task in evidence.tasks
        ),
        dumps=tuple(
            msgspec.structs.replace(
                live,
                dump=msgspec.structs.replace(live.dump, cycle=None),
                blocks=_cleared(live.blocks),
                armed_cycle=None,
            )
            for live in evidence.dumps
        ),
    )


def _cleared(observations: tuple[_Observation, ...]) -> tuple[_Observation, ...]:
    return tuple(
        observation if observation.cycle is None else msgspec.structs.replace(observation, cycle=None)
        for observation in observations
    )
