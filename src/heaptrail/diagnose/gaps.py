"""What the evidence lacks: problems from the log, folded, and what is missing with what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.report import ReportProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from heaptrail.model.evidence import Evidence
    from heaptrail.model.observations import Problem
    from heaptrail.model.report import Finding
    from heaptrail.symbols import Symbolizer


_ROUNDS_IN_A_LOG = (
    "the number of rounds is not in the log, so nothing can be counted per cycle; "
    "give --cycle-mark with the line that the firmware prints when a round ends"
)
_ROUNDS_BETWEEN_IMAGES = (
    "the number of rounds between the images is not known, so nothing can be counted per cycle; give --cycles-apart"
)


def report_problems(
    evidence: Evidence, symbolizer: Symbolizer, findings: tuple[Finding, ...]
) -> tuple[ReportProblem, ...]:
    """Every warning about the evidence: what is missing first, then what the log shows, equal ones counted."""
    return (*_missing(evidence, symbolizer, findings), *_folded(evidence.problems), *_omitted(evidence))


def _missing(evidence: Evidence, symbolizer: Symbolizer, findings: tuple[Finding, ...]) -> Iterator[ReportProblem]:
    has_stacks = any(block.frames for dump in evidence.dumps for block in dump.blocks)
    if has_stacks and symbolizer.image is None:
        yield ReportProblem(
            what="no_elf", text="no ELF was given, so addresses have no names; give the build's ELF with --elf"
        )
    yield from (ReportProblem(what="no_debug_info", text=remark) for remark in symbolizer.remarks)
    if evidence.cycles_from is None and (evidence.samples or evidence.dumps):
        images = {capture.format for capture in evidence.captures} == {"image"}
        yield ReportProblem(what="cycles_unknown", text=_ROUNDS_BETWEEN_IMAGES if images else _ROUNDS_IN_A_LOG)
    if evidence.samples and not evidence.dumps:
        yield ReportProblem(
            what="no_dump",
            text="there is no listing of live blocks, so no site can be named; run with the tracer on and print it",
        )
    if any(site.name is None and not site.frames for finding in findings for site in finding.sites):
        yield ReportProblem(
            what="no_stack", text="some blocks have no backtrace; raise the tracer's backtrace level in the firmware"
        )


def _folded(problems: Iterable[Problem]) -> Iterator[ReportProblem]:
    """Equal problems as one with a count, at the first one's line."""
    first: dict[tuple[str, str], Problem] = {}
    counts: dict[tuple[str, str], int] = {}
    for problem in problems:
        key = (problem.what, problem.text)
        first.setdefault(key, problem)
        counts[key] = counts.get(key, 0) + 1
    for key, problem in first.items():
        yield ReportProblem(
            what=problem.what, text=problem.text, line=problem.line, boot=problem.boot, count=counts[key]
        )


def _omitted(evidence: Evidence) -> Iterator[ReportProblem]:
    if evidence.problems_omitted:
        yield ReportProblem(
            what="too_many",
            text="further problems were counted and not kept one by one",
            count=evidence.problems_omitted,
        )
