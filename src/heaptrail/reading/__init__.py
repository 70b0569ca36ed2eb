"""Captures and logs in, evidence out, through the dialects. Knows no analysis.

`observe` gives the observations of one log as they are read, for `heaptrail parse`; `read_logs` puts those of one or
more logs in order. Both read in bounded memory what they do not keep, and decode only lines that may matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects import REGISTRY
from heaptrail.dialects.plain import PlainForm
from heaptrail.errors import UsageError
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.evidence import CaptureInfo, Evidence
from heaptrail.model.observations import Problem
from heaptrail.model.verdict import JudgeSettings
from heaptrail.reading.gather import Gather
from heaptrail.reading.runs import gap_of, runs_of
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk, Source, open_source
from heaptrail.reading.streams import is_recording, observe_recording

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.capture import CaptureHeader
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_PACKED = (".gz", ".zst")
__all__ = ["Progress", "ReadOptions", "observe", "read_logs"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes read so far and the bytes in all, None where that is unknown (a pipe)."""


class ReadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a log. What is left at its default is taken from a capture's own header where it says it.

    Args:
        dialect: A name of the registry, or `auto` for all of them.
        cycle_mark: Regular expression of the firmware's own line that ends a cycle.
        boot_mark: Regular expression of a line that begins a boot, besides the banners that are known.
        limits: Bounds on what the input may cost.
        pattern: Regular expression with named groups for lines of the user's own (the dialect `regex`).
        columns: Names of the columns of a table of the user's own (the dialect `csv`).
    """

    dialect: str = "auto"
    cycle_mark: str | None = None
    boot_mark: str | None = None
    limits: Limits = DEFAULT_LIMITS
    pattern: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def cycle_pattern(self) -> re.Pattern[str] | None:
        """The cycle mark, compiled. Raises UsageError where it is no regular expression."""
        return _compiled(self.cycle_mark, "cycle-mark")

    @property
    def form(self) -> PlainForm:
        """The user's description of their own lines."""
        return PlainForm(pattern=self.pattern, columns=self.columns)


def observe(path: Path, options: ReadOptions) -> Iterator[AnyObservation]:
    """The observations of one log, in the order in which they are complete; a dump follows its blocks.

    In a capture, and wherever a cycle mark is given, `cycle` counts from 0 even when no cycle ever ends: what is given
    out as it is read cannot know.

    Raises:
        UsageError: The log cannot be opened, or an option is wrong.
        FormatError: It is a file of another kind.
    """
    _check(options)
    if is_recording(path):
        yield from observe_recording(path, options.limits)
        return
    with open_source(path, options.limits) as source:
        session = _session(source, options, first_boot=1)
        yield from _read(source, session, None, (0, source.total_bytes))


def read_logs(paths: Sequence[Path], options: ReadOptions, progress: Progress | None = None) -> Evidence:
    """All that one or more logs say. Each log begins a boot of its own, in the order given.

    The parts of one run (`heaptrail.parts`) are one log, in the order of their numbers.

    Raises:
        UsageError: A log cannot be opened, or an option is wrong.
        FormatError: A log is a file of another kind.
    """
    _check(options)
    gather = Gather(options.limits)
    captures: list[CaptureInfo] = []
    footprint: FootprintRule | None = None
    boots = cycle_marks = done_bytes = 0
    total_bytes = _total_bytes(paths)
    for run in runs_of(paths, options.limits):
        gather.begin_log()
        session: Session | None = None
        earlier: Source | None = None
        for path in run.paths:
            with open_source(path, options.limits) as source:
                if session is None:
                    session = _session(source, options, first_boot=boots + 1)
                    if run.gap is not None:
                        gather.add(Problem(what="missing_part", text=run.gap, line=1, boot=session.boot))
                elif earlier is not None:
                    source.go_on_from(earlier)
                source.goes_on = path is not run.paths[-1]
                before_lines = session.line
                for observation in _read(source, session, progress, (done_bytes, total_bytes)):
                    gather.add(observation)
                captures.append(_info(source, session, before_lines))
            done_bytes += source.bytes_read
            earlier = source
        assert session is not None, "a run has a part"
        boots = session.boot
        cycle_marks += session.cycle_marks
        footprint = footprint or session.footprint()
    return gather.evidence(captures, boots=max(1, boots), cycle_marks=cycle_marks, footprint=footprint)


def _read(
    source: Source, session: Session, progress: Progress | None, done: tuple[int, int | None]
) -> Iterator[AnyObservation]:
    before_bytes, total_bytes = done
    for item in source:
        if isinstance(item, Chunk):
            yield from session.chunk(item)
        else:
            for observation in session.marker(item):
                yield observation
                yield from gap_of(observation)
        if progress is not None:
            progress(before_bytes + source.bytes_read, total_bytes)
    if not source.goes_on:
        yield from session.finish()
    yield from _damage(source, session)


def _damage(source: Source, session: Session) -> Iterator[Problem]:
    """What is wrong with the capture file itself."""
    events = source.events
    if source.damage is not None:
        text = f"{source.name}: {source.damage}; what could be unpacked was read"
        yield Problem(what="cut_capture", text=text, line=session.line, boot=session.boot)
    if events is None:
        return
    if events.bad_lines:
        text = f"{events.bad_lines:,} lines of the capture are no events, the first is line {events.first_bad_line}"
        yield Problem(what="corrupt", text=text, line=session.line, boot=session.boot)
    if events.cut:
        text = f"the capture's last line, {events.line}, is cut: the recorder was stopped while it wrote"
        yield Problem(what="cut_capture", text=text, line=session.line, boot=session.boot)


def _session(source: Source, options: ReadOptions, *, first_boot: int) -> Session:
    header = source.header
    dialect = options.dialect
    cycle_mark, boot_mark, form = options.cycle_mark, options.boot_mark, options.form
    if header is not None:
        if dialect == "auto" and header.dialect in REGISTRY:
            dialect = header.dialect
        cycle_mark = cycle_mark or header.cycle_mark
        boot_mark = boot_mark or header.boot_mark
        form = PlainForm(pattern=form.pattern or header.pattern, columns=form.columns or header.columns or ())
    return Session(
        make_dialects(dialect, options.limits, form),
        options.limits,
        cycle_mark=_compiled(cycle_mark, "cycle-mark"),
        boot_mark=_compiled(boot_mark, "boot-mark"),
        marked=header is not None,
        first_boot=first_boot,
        system=None if dialect == "auto" else dialect,
    )


def _check(options: ReadOptions) -> None:
    """Complain of the options before any file is opened."""
    make_dialects(options.dialect, options.limits, options.form)
    _compiled(options.cycle_mark, "cycle-mark")
    _compiled(options.boot_mark, "boot-mark")


def _compiled(pattern: str | None, what: str) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"the {what} {pattern!r} is no regular expression: {error}",
            try_this="put a backslash before each of . * + ? ( ) [ ] { } | that stands for itself",
        ) from error


def _info(source: Source, session: Session, before_lines: int) -> CaptureInfo:
    header = source.header
    return CaptureInfo(
        name=source.name,
        format="text" if header is None else "cast",
        bytes_read=source.bytes_read,
        lines=session.line - before_lines,
        dialects=tuple(sorted(session.found_by)),
        started_unix_s=None if header is None else header.started_unix_s,
        build_id=None if header is None else header.build_id,
        settings=None if header is None else _settings(header),
    )


def _settings(header: CaptureHeader) -> JudgeSettings | None:
    if header.warmup_cycles is None:
        return header.judge
    return msgspec.structs.replace(header.judge or JudgeSettings(), warmup_cycles=header.warmup_cycles)


def _total_bytes(paths: Sequence[Path]) -> int | None:
    plain = [path.is_file() and path.suffix not in _PACKED for path in paths]
    sizes = [path.stat().st_size if known else None for path, known in zip(paths, plain, strict=True)]
    return None if None in sizes else sum(size for size in sizes if size is not None)
