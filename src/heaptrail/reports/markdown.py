"""A comment for a pull request or a merge request: the verdict first, then what leaks, then the figures.

In every string from the device or the ELF, the characters that mean something in Markdown or HTML are written as
references, and so are those that make a mention, an issue link or a web link on GitHub and GitLab. Such strings never
stand in code spans, where references are not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from heaptrail.reports import wording
from heaptrail.reports.untrusted import printable
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.model.report import Finding, Report, Site
    from heaptrail.model.verdict import VerdictWord

MARKS: Final[dict[VerdictWord, str]] = {"leak": "\u274c", "no_leak": "\u2705", "inconclusive": "\u26a0\ufe0f"}
_FINDINGS_SHOWN: Final = 5
_SITES_SHOWN: Final = 3
_FRAMES_SHOWN: Final = 16
_PROBLEMS_SHOWN: Final = 5
_KNOWN_SHOWN: Final = 20
_SENTENCE: Final = 400
"""GitHub refuses a comment of more than 65,536 characters; with these bounds it stays far below."""
_SPECIAL: Final = re.compile(r"[\\`*~<>&|@#$\[\]!]|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])|(?<=:)//|(?<=www)\.|(?<=WWW)\.")


def markdown_text(text: str, limit: int = _SENTENCE) -> str:
    """`text` as plain words in Markdown: nothing in it is markup, a link or a mention."""
    return _SPECIAL.sub(lambda found: "".join(f"&#{ord(letter)};" for letter in found.group()), printable(text, limit))


class MarkdownRenderer:
    """A short comment for a pull request, with the verdict first."""

    name: ClassVar[str] = "markdown"
    suffixes: ClassVar[tuple[str, ...]] = (".md",)

    def render(self, report: Report) -> bytes:
        """GitHub-flavoured Markdown, UTF-8. Its size is bounded, whatever the report holds."""
        return ("\n".join(_lines(report)) + "\n").encode()


def _lines(report: Report) -> Iterator[str]:
    yield f"### {MARKS[report.verdict]} {markdown_text(report.headline)}"
    yield ""
    yield from (f"- {markdown_text(reason)}" for reason in wording.further_reasons(report)[:_PROBLEMS_SHOWN])
    yield from _figures(report)
    open_findings = [f for f in report.findings if f.finding_class in (*wording.GROWING, "undecided")]
    for finding in open_findings[:_FINDINGS_SHOWN]:
        yield from _finding(finding)
    if len(open_findings) > _FINDINGS_SHOWN:
        yield f"\nand {plural(len(open_findings) - _FINDINGS_SHOWN, 'more finding')} in the full report"
    yield from _suppressions(report)
    yield from _problems(report)
    yield from _innocent(report)


def _figures(report: Report) -> Iterator[str]:
    rows = []
    if report.rate_bytes_per_cycle is not None:
        rows.append(("lost per cycle", " ".join(_with_range(wording.loss_per_cycle(report)))))
    if report.exhaustion_hours is not None or report.exhaustion_cycles is not None:
        rows.append(("heap used up in", " ".join(_with_range(wording.exhaustion(report)))))
    if report.upper_bound is not None and report.verdict != "leak":  # beside a leak's own limits it contradicts them
        rows.append(("proven", wording.upper_bound_text(report.upper_bound)))
    if report.books is not None:
        lost, explained, unexplained = wording.books_rows(report.books)
        rows.append(
            (
                f"books over {plural(report.books.window_cycles, 'cycle')}",
                f"{lost[1]} lost, {explained[1]} explained ({explained[2]}), {unexplained[1]} unexplained",
            )
        )
    if rows:
        yield ""
        yield "| | |"
        yield "|---|---|"
        yield from (f"| {label} | {markdown_text(value)} |" for label, value in rows)


def _with_range(figure: tuple[str, str]) -> tuple[str, ...]:
    estimate, limits = figure
    return (estimate, f"({limits})") if limits else (estimate,)


def _finding(finding: Finding) -> Iterator[str]:
    title, _ = wording.CLASSES[finding.finding_class]
    known = ", suppressed" if finding.suppressed_by else ""
    yield ""
    yield f"**{title}{known}**: {markdown_text(finding.summary)}"
    if finding.suppressed_by:
        yield f"(known: {markdown_text(finding.suppressed_by)})"
    yield from (f"> {markdown_text(advice)}" for advice in finding.advice[:1])
    yield ""
    for site in finding.sites[:_SITES_SHOWN]:
        yield from _stack(site)
    if len(finding.sites) > _SITES_SHOWN:
        yield f"and {plural(len(finding.sites) - _SITES_SHOWN, 'more site')}"


def _stack(site: Site) -> Iterator[str]:
    grows = wording.growth_text(site)
    figures = f"{grows} per cycle" if grows != wording.UNKNOWN else f"{wording.live_text(site)} live"
    yield f"<details><summary>{markdown_text(wording.site_label(site))}: {figures}</summary>"
    yield ""
    for frame in site.frames[:_FRAMES_SHOWN]:
        place = wording.place_text(frame.file, frame.line, parts=1)
        words = [format_address(frame.pc), markdown_text(wording.frame_label(frame)), markdown_text(place)]
        words += ["(inlined)"] if frame.inlined else []
        words += ["(wrapper)"] if frame.wrapper else []
        yield f"- {' '.join(word for word in words if word)}"
    if len(site.frames) > _FRAMES_SHOWN:
        yield f"- and {plural(len(site.frames) - _FRAMES_SHOWN, 'more frame')}"
    yield ""
    yield "</details>"


def _suppressions(report: Report) -> Iterator[str]:
    if report.suppressions:
        yield ""
        yield "Known leaks:"
        yield from (f"- {markdown_text(wording.known_text(use))}" for use in report.suppressions[:_KNOWN_SHOWN])
        if len(report.suppressions) > _KNOWN_SHOWN:
            yield f"- and {len(report.suppressions) - _KNOWN_SHOWN:,} more on the list"


def _problems(report: Report) -> Iterator[str]:
    if report.problems:
        yield ""
        yield "Warnings about the evidence:"
        for problem in report.problems[:_PROBLEMS_SHOWN]:
            yield f"- {markdown_text(problem.what, 40)}: {markdown_text(problem.text)}"
        if len(report.problems) > _PROBLEMS_SHOWN:
            yield f"- and {len(report.problems) - _PROBLEMS_SHOWN:,} more"


def _innocent(report: Report) -> Iterator[str]:
    parts = []
    for site_class, (title, _) in wording.CLASSES.items():
        sites = sum(len(f.sites) for f in report.findings if f.finding_class == site_class)
        if sites and site_class not in (*wording.GROWING, "undecided"):
            parts.append(f"{title} {sites:,}")
    if parts:
        yield ""
        yield f"Not leaks, by sites: {', '.join(parts)}."
