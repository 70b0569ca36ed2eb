"""An event stream and symbols in, a frozen report out: the same report as a capture's, from whole lives.

What only a history can say stands first in a finding's evidence: who allocates each cycle, and who alone frees.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from heaptrail.analysis.lifetimes import judge_histories
from heaptrail.diagnose.belonging import check_stacks
from heaptrail.diagnose.callers import Checked
from heaptrail.diagnose.findings import findings_of
from heaptrail.diagnose.sentences import base_name, headline
from heaptrail.errors import EvidenceError
from heaptrail.model.evidence import CaptureInfo, Evidence
from heaptrail.model.report import Provenance, Report, ReportProblem
from heaptrail.model.stream import Events, Kind, MarkKind
from heaptrail.symbols import NoSymbols
from heaptrail.symbols.wrappers import name_site
from heaptrail.units import format_address, plural
from heaptrail.wire.format import VERSION
from heaptrail.wire.lives import lifetimes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.analysis.lifetimes import Traffic
    from heaptrail.model.observations import RawFrame
    from heaptrail.model.stream import Stream
    from heaptrail.model.verdict import JudgeSettings, SiteVerdict
    from heaptrail.symbols import Symbolizer

_WIRE = "heaptrail.wire/"
_FREERS_NAMED = 3


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
    stream, chosen = _longest_run(checked.stream(stream))
    histories = judge_histories(stream, settings)
    told = tuple(
        msgspec.structs.replace(site, evidence=(*_cause(site, traffic, symbolizer), *site.evidence))
        for site, traffic in zip(histories.verdict.sites, histories.traffic, strict=True)
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
        problems=(*mismatch, *checked.problems(), *chosen, *problems),
        boots=1 + stream.counts.restarts,
        cycles=histories.cycles,
        provenance=Provenance(captures=captures, elf=symbolizer.image, versions=dict(versions), options=dict(options)),
    )


def _longest_run(stream: Stream) -> tuple[Stream, tuple[ReportProblem, ...]]:
    """The stream with the events of one run alone: of the most cycles, and of these the last.

    A leak ends in a reset, so what comes last may be a few moments of a device that began anew.
    """
    events = stream.events
    if len(events) == 0 or int(events.run[-1]) == int(events.run[0]):
        return stream, ()
    ends = events.run[(events.kind == Kind.MARK) & (events.task == MarkKind.CYCLE)]
    cycles = np.bincount(ends, minlength=int(events.run[-1]) + 1)
    number = len(cycles) - 1 - int(np.argmax(cycles[::-1]))
    if number == int(events.run[-1]):
        return stream, ()
    mine = events.run == number
    alone = Events(*(getattr(events, name)[mine] for name in events.__slots__))
    text = (
        f"the device began anew {plural(stream.counts.restarts, 'time')}; the report is on run {number + 1}, the one "
        f"with the most cycles ({cycles[number]:,})"
    )
    told = ReportProblem(what="one_run", text=text)
    return dataclasses.replace(stream, events=alone, lifetimes=lifetimes_of(alone)), (told,)


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


def _cause(site: SiteVerdict, traffic: Traffic, symbolizer: Symbolizer) -> tuple[str, ...]:
    """Who allocates each cycle and who frees: "Allocated 1 per cycle in X, freed only by Y, which ran once".

    A stream tells how many blocks somebody freed, not how often he ran; so only he who freed one block "ran once".
    """
    if site.site_class not in ("leak", "held_until_teardown"):
        return ()
    where = f"Allocated{_rhythm(site, traffic)} in {_label(site.frames, symbolizer)}"
    times: dict[str, int] = {}
    early = 0
    nameless = 0
    for freer in traffic.freers:
        early += freer.while_running
        if freer.frames:
            label = _label(freer.frames, symbolizer)
            times[label] = times.get(label, 0) + freer.times
        else:
            nameless += freer.times
    if not traffic.freers:
        return (f"{where}, never freed.",)
    when = "" if early else ", always after the stop"
    if nameless and not times:
        return (f"{where}; {plural(nameless, 'block')} freed by code without a backtrace{when}.",)
    if len(times) == 1 and not nameless:
        ((who, count),) = times.items()
        ran = "which ran once" if count == 1 else f"which freed {plural(count, 'block')}{when}"
        return (f"{where}, freed only by {who}, {ran}.",)
    ranked = sorted(times.items(), key=lambda item: -item[1])
    shown = [f"{who} ({plural(count, 'block')})" for who, count in ranked[:_FREERS_NAMED]]
    others = sum(count for _, count in ranked[_FREERS_NAMED:])
    if others:
        shown.append(f"{plural(len(ranked) - _FREERS_NAMED, 'more place')} ({plural(others, 'block')})")
    if nameless:
        shown.append(f"code without a backtrace ({plural(nameless, 'block')})")
    return (f"{where}, freed by {', '.join(shown)}{when}.",)


def _rhythm(site: SiteVerdict, traffic: Traffic) -> str:
    """How many are allocated a cycle, and how many of them stay where that is not the same."""
    stay, allocated = site.per_cycle_blocks, traffic.allocated_per_cycle
    if stay is None or allocated is None:
        return ""
    if abs(allocated - stay) <= max(0.1, 0.2 * stay):
        return f" {_number(stay)} per cycle"
    return f" {_number(allocated)} per cycle (of which {_number(stay)} {'stays' if _number(stay) == '1' else 'stay'})"


def _number(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 1 and abs(rate - round(rate)) < 0.1 else f"{rate:.2g}"


def _label(frames: tuple[RawFrame, ...], symbolizer: Symbolizer) -> str:
    """The first frame outside allocators, with its line; the innermost address where there is no name."""
    resolved = symbolizer.resolve_stack(frames)
    naming = name_site(resolved)
    if naming is None or resolved[naming].function is None:
        return f"the code at {format_address(frames[0].pc)}" if frames else "code without a backtrace"
    frame = resolved[naming]
    place = "" if frame.file is None or frame.line is None else f" ({base_name(frame.file)}:{frame.line})"
    return f"{frame.function}{place}"
