"""An event stream and symbols in, a frozen report out: the same report as a capture's, from whole lives.

What only a history can say stands first in a finding's evidence: who allocates each cycle, and who alone frees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.diagnose.belonging import check_stacks
from heaptrail.diagnose.callers import Checked
from heaptrail.diagnose.findings import findings_of
from heaptrail.diagnose.sentences import base_name, headline
from heaptrail.errors import EvidenceError
from heaptrail.model.evidence import CaptureInfo, Evidence
from heaptrail.model.report import Provenance, Report, ReportProblem
from heaptrail.symbols import NoSymbols
from heaptrail.symbols.wrappers import name_site
from heaptrail.units import format_address, plural
from heaptrail.wire.format import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.analysis.lifetimes import Freer
    from heaptrail.model.observations import RawFrame
    from heaptrail.model.stream import Stream
    from heaptrail.model.verdict import JudgeSettings, SiteVerdict
    from heaptrail.symbols import Symbolizer

_WIRE = "heaptrail.wire/"


def diagnose_stream(
    stream: Stream,
    captures: tuple[CaptureInfo, ...],
    symbolizer: Symbolizer,
    settings: JudgeSettings,
    *,
    versions: Mapping[str, str],
    options: Mapping[str, str],
    elf_wire_version: str | None = None,
    allow_mismatch: bool = False,
) -> Report:
    """The report on one stream.

    Args:
        stream: What was decoded.
        captures: The files that it came from.
        symbolizer: Names for the addresses; `NoSymbols()` where there is no ELF.
        settings: The user's terms for a verdict.
        versions: Programs and their versions.
        options: The options that shaped this report.
        elf_wire_version: What the ELF says of the streams that its program writes (`heaptrail.wire/1`), or None.
        allow_mismatch: Use an ELF of another build all the same; the report then warns.

    Raises:
        EvidenceError: The ELF is another build's, or writes streams of another version, and `allow_mismatch` is False.
    """
    stacks = [stack.frames for stack in stream.stacks.values() if stack.frames]
    mismatch = (
        *_other_version(symbolizer, elf_wire_version, allow_mismatch=allow_mismatch),
        *check_stacks(captures, stacks, symbolizer, allow_mismatch=allow_mismatch),
    )
    checked = Checked(symbolizer if not any(each.what == "elf_mismatch" for each in mismatch) else NoSymbols())
    stream = checked.stream(stream)
    histories = judge_histories(stream, settings)
    told = tuple(
        msgspec.structs.replace(site, evidence=(*_cause(site, freers, symbolizer), *site.evidence))
        for site, freers in zip(histories.verdict.sites, histories.freers, strict=True)
    )
    verdict = msgspec.structs.replace(histories.verdict, sites=told)
    findings = findings_of(verdict, symbolizer, checked.stale_pcs)
    problems = tuple(ReportProblem(what=problem.what, text=problem.text) for problem in stream.problems)
    return Report(
        verdict=verdict.verdict,
        headline=headline(verdict, findings, Evidence()),
        reasons=verdict.reasons,
        rate_bytes_per_cycle=verdict.rate_bytes_per_cycle,
        rate_bytes_per_hour=None,
        upper_bound=verdict.upper_bound,
        exhaustion_hours=None,
        exhaustion_cycles=None,
        books=None,
        findings=findings,
        series=(),
        tasks=(),
        problems=(*mismatch, *checked.problems(), *problems),
        boots=1 + stream.counts.restarts,
        cycles=histories.cycles,
        provenance=Provenance(captures=captures, elf=symbolizer.image, versions=dict(versions), options=dict(options)),
    )


def _other_version(
    symbolizer: Symbolizer, wire_version: str | None, *, allow_mismatch: bool
) -> tuple[ReportProblem, ...]:
    if symbolizer.image is None or wire_version is None or wire_version == f"{_WIRE}{VERSION}":
        return ()
    sentence = (
        f"{symbolizer.image.name} writes event streams of version {wire_version.removeprefix(_WIRE)[:20]!r} "
        f"(its symbol ht_wire_version), and this is one of version {VERSION}"
    )
    if not allow_mismatch:
        raise EvidenceError(sentence, try_this="the ELF of the very build that ran, or --allow-mismatch")
    return (ReportProblem(what="elf_mismatch", text=f"{sentence}; its names are used because of --allow-mismatch"),)


def _cause(site: SiteVerdict, freers: tuple[Freer, ...], symbolizer: Symbolizer) -> tuple[str, ...]:
    """Who allocates each cycle and who frees: "Allocated 1 per cycle in X, freed only by Y, which ran once"."""
    if site.site_class not in ("leak", "held_until_teardown"):
        return ()
    rate, each = site.per_cycle_blocks, ""
    if rate is not None:
        each = f" {rate:.0f} per cycle" if rate >= 1 and abs(rate - round(rate)) < 0.1 else f" {rate:.2g} per cycle"
    where = f"Allocated{each} in {_label(site.frames, symbolizer)}"
    if not freers:
        return (f"{where}, never freed.",)
    if len(freers) > 1:
        who = ", ".join(f"{_label(freer.frames, symbolizer)} ({plural(freer.times, 'time')})" for freer in freers[:3])
        return (f"{where}, freed by {who}.",)
    times = "once" if freers[0].times == 1 else f"{freers[0].times:,} times"
    return (f"{where}, freed only by {_label(freers[0].frames, symbolizer)}, which ran {times}.",)


def _label(frames: tuple[RawFrame, ...], symbolizer: Symbolizer) -> str:
    """The first frame outside allocators, with its line; the innermost address where there is no name."""
    resolved = symbolizer.resolve_stack(frames)
    naming = name_site(resolved)
    if naming is None or resolved[naming].function is None:
        return f"the code at {format_address(frames[0].pc)}" if frames else "code without a backtrace"
    frame = resolved[naming]
    place = "" if frame.file is None or frame.line is None else f" ({base_name(frame.file)}:{frame.line})"
    return f"{frame.function}{place}"
