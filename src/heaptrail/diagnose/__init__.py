"""Evidence and symbols in, a frozen report out. Pure: the same inputs give the same report, byte for byte.

Knows no dialect and no console. What analysis found is given names here, sites that are one cause become one finding,
and every weakness of the evidence becomes a problem that each report shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.diagnose.belonging import check_belonging
from heaptrail.diagnose.callers import Checked
from heaptrail.diagnose.capacities import Declarations
from heaptrail.diagnose.curve import report_series
from heaptrail.diagnose.findings import findings_of
from heaptrail.diagnose.gaps import report_problems
from heaptrail.diagnose.sentences import headline
from heaptrail.model.evidence import Evidence, FootprintRule
from heaptrail.model.report import Provenance, Report, TaskRow
from heaptrail.symbols import NoSymbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.model.evidence import TaskHistory
    from heaptrail.model.verdict import JudgeSettings
    from heaptrail.symbols import Symbolizer

_NO_OPTIONS: Mapping[str, str] = {}


def diagnose(
    evidence: Evidence,
    symbolizer: Symbolizer,
    settings: JudgeSettings,
    *,
    versions: Mapping[str, str],
    options: Mapping[str, str] = _NO_OPTIONS,
    allow_mismatch: bool = False,
) -> Report:
    """The report on one run.

    Args:
        evidence: What the captures say.
        symbolizer: Names for the addresses; `NoSymbols()` where there is no ELF.
        settings: The user's terms for a verdict.
        versions: Programs and their versions, for the provenance.
        options: The options that shaped this report, for the provenance.
        allow_mismatch: Use an ELF that does not belong to the capture all the same; the report then warns.

    Raises:
        EvidenceError: The ELF does not belong to the capture and `allow_mismatch` is False.
    """
    from heaptrail.analysis.verdict import judge  # noqa: PLC0415 - scipy takes 0.2 s, which streams need not pay

    mismatches = check_belonging(evidence, symbolizer, allow_mismatch=allow_mismatch)
    fits = all(problem.what != "elf_mismatch" for problem in mismatches)
    checked = Checked(symbolizer if fits else NoSymbols())
    evidence = _with_footprint(checked.evidence(evidence), symbolizer)
    declared = Declarations(settings.capacity, symbolizer)
    verdict = judge(evidence, settings, declared.of(evidence))
    findings = findings_of(verdict, symbolizer, checked.stale_pcs)
    return Report(
        verdict=verdict.verdict,
        headline=headline(verdict, findings, evidence),
        reasons=verdict.reasons,
        rate_bytes_per_cycle=verdict.rate_bytes_per_cycle,
        rate_bytes_per_hour=verdict.rate_bytes_per_hour,
        upper_bound=verdict.upper_bound,
        exhaustion_hours=verdict.exhaustion_hours,
        exhaustion_cycles=verdict.exhaustion_cycles,
        books=verdict.books,
        findings=findings,
        series=report_series(evidence, verdict.fits),
        tasks=tuple(_task_row(history) for history in evidence.tasks),
        problems=(
            *mismatches,
            *checked.problems(),
            *report_problems(evidence, symbolizer, findings),
            *declared.problems(),
        ),
        boots=evidence.boots,
        cycles=_cycles_completed(evidence),
        provenance=Provenance(
            captures=evidence.captures, elf=symbolizer.image, versions=dict(versions), options=dict(options)
        ),
    )


def _with_footprint(evidence: Evidence, symbolizer: Symbolizer) -> Evidence:
    """Evidence with the allocator's rule from the ELF's word size, where the log itself did not give one.

    FreeRTOS heap_2, heap_4 and heap_5 put a header of two words in front of a block and align to it: 8 bytes on a
    32-bit CPU and 16 on a 64-bit one (portable/MemMang, portBYTE_ALIGNMENT).
    """
    if evidence.footprint is not None or symbolizer.image is None:
        return evidence
    word_bytes = symbolizer.image.bits // 8
    rule = FootprintRule(
        header_bytes=2 * word_bytes,
        align_bytes=2 * word_bytes,
        basis=f"{2 * word_bytes}-byte block header, as in FreeRTOS heap_4 on a {symbolizer.image.bits}-bit CPU",
    )
    return msgspec.structs.replace(evidence, footprint=rule)


def _cycles_completed(evidence: Evidence) -> int | None:
    """Cycle ends over all boots, None where the capture does not tell cycles."""
    if evidence.cycles_from is None:
        return None
    return sum(1 for mark in evidence.marks if mark.what == "cycle")


def _task_row(history: TaskHistory) -> TaskRow:
    last = history.last
    return TaskRow(
        name=last.name,
        state=last.state,
        priority=last.priority,
        id=last.id,
        stack_free_min_words=history.stack_free_min_words,
        stack_free_min_bytes=history.stack_free_min_bytes,
        stack_size_bytes=last.stack_size_bytes,
        stack_used_max_percent=last.stack_used_max_percent,
        heap_bytes=last.heap_bytes,
        rows=history.rows,
    )
