"""Which files are parts of one run, and what a run's own markers say of the time when nobody was listening."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from heaptrail.errors import HeaptrailError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import Mark, Problem
from heaptrail.parts import PART_NAME
from heaptrail.reading.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

GAP_LABELS = ("console lost", "console back", "resumed")
"""How the labels of the step markers begin that a procedure writes where it could not listen."""


class Run(NamedTuple):
    """Files to be read as one log; `gap` says which parts before the first one are missing."""

    paths: tuple[Path, ...]
    gap: str | None = None


def runs_of(paths: Sequence[Path], limits: Limits) -> list[Run]:
    """Put the parts of each run together, in order, where the first of them stands; other files are alone.

    A part given twice (compressed and not) is read once. A part that is missing divides the run, since what happened in
    it is unknown.
    """
    grouped: dict[object, dict[int, Path]] = {}
    for path in paths:
        run, part = _part(path, limits)
        known = grouped.setdefault(object() if run is None else run, {})
        if part not in known or path.suffix == ".gz":
            known[part] = path
    return [run for parts in grouped.values() for run in _unbroken(dict(sorted(parts.items())))]


def _part(path: Path, limits: Limits) -> tuple[str | None, int]:
    """The run and the number of a part; a file that is none is (None, 1). Errors are left to the reading itself."""
    if PART_NAME.search(path.name) is None or not path.is_file():
        return None, 1  # a pipe can be opened only once
    try:
        with open_source(path, limits) as source:
            header = source.header
    except HeaptrailError:
        return None, 1
    if header is None or header.run is None or header.part is None:
        return None, 1
    return header.run, header.part


def _unbroken(parts: dict[int, Path]) -> Iterator[Run]:
    expected = 1
    paths: list[Path] = []
    gap: str | None = None
    for number, path in parts.items():
        if number != expected:
            if paths:
                yield Run(tuple(paths), gap)
            missing = f"part {expected}" if number == expected + 1 else f"parts {expected} to {number - 1}"
            gap = f"{path.name}: {missing} of this run was not given, so what happened before is unknown"
            paths = []
        paths.append(path)
        expected = number + 1
    yield Run(tuple(paths), gap)


class Recorded(NamedTuple):
    """What the parts of a run say of its time.

    `used_s` were spent recording; `last_s` is the last event's time since the run's start, which counts pauses as well.
    """

    run: str | None
    started_unix_s: float | None
    used_s: float
    last_s: float


def recorded_s(parts: Sequence[Path], limits: Limits = DEFAULT_LIMITS) -> Recorded:
    """The run that some parts belong to, and how long it has been recorded. Raises as `open_source` does."""
    run: str | None = None
    started_unix_s: float | None = None
    used_s = last_s = 0.0
    for path in parts:
        with open_source(path, limits) as source:
            header, length_s = source.header, 0.0
            for event in source.events or ():
                length_s = max(length_s, event.t_s)
        if header is not None:
            run = run or header.run
            started_unix_s = started_unix_s or header.started_unix_s
            last_s = max(last_s, (header.offset_s or 0.0) + length_s)
        used_s += length_s
    return Recorded(run, started_unix_s, used_s, last_s)


def gap_of(observation: AnyObservation) -> Iterator[Problem]:
    """A warning for a marker that tells of a time without a listener."""
    if isinstance(observation, Mark) and observation.what == "step" and observation.label.startswith(GAP_LABELS):
        at = "" if observation.t_s is None else f" at {observation.t_s:,.1f} s"
        cycle = "" if observation.cycle is None else f", {observation.cycle:,} cycles into the boot"
        text = f"{observation.label}{at}{cycle}"
        yield Problem(
            what="gap",
            text=text,
            line=observation.line,
            boot=observation.boot,
            cycle=observation.cycle,
            t_s=observation.t_s,
        )
