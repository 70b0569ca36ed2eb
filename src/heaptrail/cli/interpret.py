"""From captures to a report, the way `read` and `hunt` both do it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from heaptrail import __version__
from heaptrail.model.verdict import JudgeSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Report
    from heaptrail.reading import Progress, ReadOptions


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The user's terms from the command line; what is None is taken from the capture, then from the defaults."""

    tolerate_bytes_per_cycle: float | None = None
    confidence: float | None = None
    largest_single_loss_bytes: int | None = None
    warmup_cycles: int | None = None

    def settings(self, recorded: JudgeSettings | None) -> JudgeSettings:
        """The settings in force: the command line's over the capture's over the defaults."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(recorded or JudgeSettings(), **given)


class Interpretation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything besides the captures that shapes a report."""

    elf: Path | None = None
    terms: Terms = Terms()
    source_map: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    allow_mismatch: bool = False


def interpret(
    captures: Sequence[Path],
    reading: ReadOptions,
    interpretation: Interpretation,
    *,
    progress: Progress | None = None,
) -> Report:
    """Read, symbolize, judge.

    Raises:
        UsageError, FormatError: An input cannot be read.
        EvidenceError: The ELF does not belong to the capture.
    """
    from heaptrail.diagnose import diagnose
    from heaptrail.reading import read_logs
    from heaptrail.symbols import NoSymbols, Symbolizer

    symbolizer: Symbolizer = NoSymbols()
    if interpretation.elf is not None:
        from heaptrail.symbols.lines import open_symbolizer

        symbolizer = open_symbolizer(
            interpretation.elf, source_map=interpretation.source_map, extra_wrappers=interpretation.wrappers
        )
    evidence = read_logs(captures, reading, progress=progress)
    settings = interpretation.terms.settings(next((c.settings for c in evidence.captures if c.settings), None))
    return diagnose(
        evidence,
        symbolizer,
        settings,
        versions={"heaptrail": __version__, "python": platform.python_version()},
        options=_options(reading, interpretation, settings),
        allow_mismatch=interpretation.allow_mismatch,
    )


def _options(reading: ReadOptions, interpretation: Interpretation, settings: JudgeSettings) -> dict[str, str]:
    """What must be given again to make this report again; paths are reduced to names, as they are private."""
    named = {
        "--dialect": reading.dialect,
        "--cycle-mark": reading.cycle_mark,
        "--boot-mark": reading.boot_mark,
        "--elf": interpretation.elf.name if interpretation.elf else None,
        "--tolerate": settings.tolerate_bytes_per_cycle,
        "--confidence": settings.confidence,
        "--largest-single-loss": settings.largest_single_loss_bytes,
        "--warmup-cycles": settings.warmup_cycles,
        "--wrapper": ", ".join(interpretation.wrappers) or None,
        "--allow-mismatch": "yes" if interpretation.allow_mismatch else None,
    }
    return {name: str(value) for name, value in named.items() if value is not None}
