"""From captures to a report: read, symbolize, judge. What every command and script does with a capture."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from heaptrail.diagnose import diagnose
from heaptrail.diagnose.history import diagnose_stream
from heaptrail.errors import HeaptrailError, UsageError
from heaptrail.model.verdict import Capacity, JudgeSettings
from heaptrail.reading import read_logs
from heaptrail.reading.sources import open_source
from heaptrail.reading.streams import are_recordings, load_stream
from heaptrail.reports.jsonfile import load_report, looks_like_report
from heaptrail.symbols import NoSymbols, Symbolizer
from heaptrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.limits import Limits
    from heaptrail.model.evidence import CaptureInfo
    from heaptrail.model.report import Report
    from heaptrail.reading import Progress, ReadOptions

_HEAD_BYTES: Final = 200


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The user's terms for a verdict; what is None is taken from the capture, then from the defaults."""

    tolerate_bytes_per_cycle: float | None = None
    confidence: float | None = None
    largest_single_loss_bytes: int | None = None
    warmup_cycles: int | None = None
    tolerate_bytes_per_hour: float | None = None
    capacity: tuple[Capacity, ...] | None = None
    largest_request_bytes: int | None = None

    def over(self, file: JudgeSettings) -> Terms:
        """These terms, and a workload file's for what is not given."""
        mine = msgspec.structs.asdict(self)
        return Terms(**{key: getattr(file, key) if value is None else value for key, value in mine.items()})

    def settings(self, recorded: JudgeSettings | None) -> JudgeSettings:
        """The settings in force: these over the capture's over the defaults."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(recorded or JudgeSettings(), **given)


class Interpretation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything besides the captures that shapes a report.

    Args:
        elf: The build that ran, or a folder in which it is found by the log's build id; None leaves addresses without
            names.
        more_elfs: ELFs of what else ran: a boot loader, a ROM. An address is looked up in the one that covers it.
        debug_file: Its split debug information, where the ELF itself is stripped.
        terms: The user's terms for the verdict.
        source_map: `OLD=NEW` prefixes that turn paths of the build machine into paths of this one.
        wrappers: Functions of the user's that only pass allocations on (patterns as in a shell).
        allow_mismatch: Use an ELF that does not belong to the capture, with a warning.
        excerpts: Read the sources that the ELF names, where they are at hand, and show the lines.
    """

    elf: Path | None = None
    more_elfs: tuple[Path, ...] = ()
    debug_file: Path | None = None
    terms: Terms = Terms()
    source_map: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    allow_mismatch: bool = False
    excerpts: bool = True


def interpret(
    captures: Sequence[Path],
    reading: ReadOptions,
    interpretation: Interpretation,
    *,
    progress: Progress | None = None,
) -> Report:
    """The report on some captures, or on a SystemView recording.

    Raises:
        UsageError, FormatError: An input cannot be read.
        EvidenceError: The ELF does not belong to the capture.
    """
    if are_recordings(captures):
        return interpret_stream(captures, reading, interpretation)
    if not interpretation.wrappers:
        interpretation = msgspec.structs.replace(interpretation, wrappers=_recorded_wrappers(captures, reading.limits))
    symbolizer = None if _has_folder(interpretation) else symbolizer_of(interpretation)
    evidence = read_logs(captures, reading, progress=progress)
    if symbolizer is None:
        interpretation = _found(interpretation, evidence.captures)
        symbolizer = symbolizer_of(interpretation)
    settings = interpretation.terms.settings(next((c.settings for c in evidence.captures if c.settings), None))
    return diagnose(
        evidence,
        symbolizer,
        settings,
        versions={"heaptrail": __version__, "python": platform.python_version()},
        options=_options(reading, interpretation, settings),
        allow_mismatch=interpretation.allow_mismatch,
    )


def _recorded_wrappers(captures: Sequence[Path], limits: Limits) -> tuple[str, ...]:
    """Those of the workload files that made the captures; errors are left to the reading itself."""
    found: list[str] = []
    for path in captures:
        if not path.is_file():
            continue  # a pipe can be opened only once
        with contextlib.suppress(HeaptrailError), open_source(path, limits) as source:
            found += (source.header.wrappers if source.header is not None else None) or ()
    return tuple(dict.fromkeys(found))


def report_on(
    paths: Sequence[Path],
    reading: ReadOptions,
    interpretation: Interpretation,
    *,
    progress: Progress | None = None,
) -> Report:
    """The saved report where a report is all that is given, else the one on the captures.

    Raises:
        UsageError, FormatError: An input cannot be read.
        EvidenceError: The ELF does not belong to the capture.
    """
    if len(paths) == 1 and paths[0] != Path("-"):
        try:
            with paths[0].open("rb") as file:
                head = file.read(_HEAD_BYTES)
                if looks_like_report(head):
                    return load_report(head + file.read())
        except OSError as error:
            raise UsageError(
                f"{paths[0]} cannot be read: {error.strerror}",
                try_this="the path of a saved report, a capture or a log",
            ) from error
    return interpret(paths, reading, interpretation, progress=progress)


def interpret_stream(captures: Sequence[Path], reading: ReadOptions, interpretation: Interpretation) -> Report:
    """The report on a binary recording: the agent's event stream, or SystemView's files, one for each core.

    Raises:
        UsageError, FormatError: An input cannot be read.
        EvidenceError: The ELF does not belong to the recording.
    """
    symbolizer = None if _has_folder(interpretation) else symbolizer_of(interpretation)
    stream, infos = load_stream(captures, reading.cycle_pattern, reading.limits)
    if symbolizer is None:
        interpretation = _found(interpretation, infos)
        symbolizer = symbolizer_of(interpretation)
    settings = interpretation.terms.settings(next((c.settings for c in infos if c.settings), None))
    return diagnose_stream(
        stream,
        infos,
        symbolizer,
        settings,
        versions={"heaptrail": __version__, "python": platform.python_version()},
        options=_options(reading, interpretation, settings),
        elf_wire_version=_wire_version(interpretation) if infos[0].dialects == ("heaptrail",) else None,
        allow_mismatch=interpretation.allow_mismatch,
    )


def _wire_version(interpretation: Interpretation) -> str | None:
    """What the ELF says of the event streams that its program writes; None where it writes none."""
    if interpretation.elf is None:
        return None
    from heaptrail.symbols.elf import open_image  # noqa: PLC0415 - a run without an ELF must not pay for it

    return open_image(interpretation.elf).text_at("ht_wire_version")


def _has_folder(interpretation: Interpretation) -> bool:
    """Whether an ELF can be found only when the log has been read."""
    return any(path.is_dir() for path in (interpretation.elf, *interpretation.more_elfs) if path is not None)


def _found(interpretation: Interpretation, captures: Sequence[CaptureInfo]) -> Interpretation:
    """The same with the ELFs themselves in place of folders. Raises as `choose` does."""
    from heaptrail.symbols.choose import choose  # noqa: PLC0415 - only for folders

    build_ids = {capture.build_id for capture in captures if capture.build_id}
    paths = [path for path in (interpretation.elf, *interpretation.more_elfs) if path is not None]
    first, *more = [choose(path, build_ids) for path in paths]
    return msgspec.structs.replace(
        interpretation,
        elf=first.elf,
        more_elfs=tuple(each.elf for each in more),
        debug_file=interpretation.debug_file or first.debug,
    )


def symbolizer_of(interpretation: Interpretation) -> Symbolizer:
    """Names for the addresses. Raises `UsageError`, `FormatError` where an ELF cannot be read."""
    if interpretation.elf is None:
        return NoSymbols()
    from heaptrail.symbols.lines import open_symbolizer  # noqa: PLC0415 - a run without an ELF must not pay for it

    opened = [
        open_symbolizer(
            path,
            debug_path=interpretation.debug_file if path is interpretation.elf else None,
            source_map=interpretation.source_map,
            extra_wrappers=interpretation.wrappers,
            excerpts=interpretation.excerpts,
        )
        for path in (interpretation.elf, *interpretation.more_elfs)
    ]
    if len(opened) == 1:
        return opened[0]
    from heaptrail.symbols.several import SeveralImages  # noqa: PLC0415 - as above

    return SeveralImages(opened)


def _options(reading: ReadOptions, interpretation: Interpretation, settings: JudgeSettings) -> dict[str, str]:
    """What must be given again to make this report again; paths are reduced to names, as folders are private."""
    named = {
        "--dialect": reading.dialect,
        "--cycle-mark": reading.cycle_mark,
        "--boot-mark": reading.boot_mark,
        "--pattern": reading.pattern,
        "--columns": ",".join(reading.columns) or None,
        "--elf": ", ".join(each.name for each in (interpretation.elf, *interpretation.more_elfs) if each) or None,
        "--debug-file": interpretation.debug_file.name if interpretation.debug_file else None,
        "--tolerate": settings.tolerate_bytes_per_cycle,
        "--confidence": settings.confidence,
        "--largest-single-loss": settings.largest_single_loss_bytes,
        "--warmup-cycles": settings.warmup_cycles,
        "[judge] tolerate_bytes_per_hour": settings.tolerate_bytes_per_hour,
        "[judge] largest_request_bytes": settings.largest_request_bytes,
        "--wrapper": ", ".join(interpretation.wrappers) or None,
        "[judge] capacity": "; ".join(_told(each) for each in settings.capacity) or None,
        "--allow-mismatch": "yes" if interpretation.allow_mismatch else None,
    }
    return {name: str(value) for name, value in sorted(named.items()) if value is not None}


def _told(capacity: Capacity) -> str:
    limits = {"blocks": capacity.max_blocks, "bytes": capacity.max_bytes}
    return f"{capacity.site}: {', '.join(f'{most} {what}' for what, most in limits.items() if most is not None)}"
