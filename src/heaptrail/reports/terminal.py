"""The report for a terminal: plain text first, in 80 columns, with colour only where it is asked for.

Leaks stand in full; what is innocent is one line for each class. Nothing depends on colour: it repeats what the words
say. Strings from the device are stripped of control sequences, so a log cannot drive the terminal that shows it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, ClassVar, Final

from rich.console import Console
from rich.text import Text

from heaptrail.reports import wording
from heaptrail.reports.untrusted import plain_lines, printable
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Finding, Frame, Report, Site
    from heaptrail.model.verdict import SiteClass, VerdictWord

_VERDICT_STYLES: Final[dict[VerdictWord, str]] = {
    "leak": "bold red",
    "no_leak": "bold green",
    "inconclusive": "bold yellow",
}
_IN_FULL: Final[tuple[SiteClass, ...]] = ("leak", "held_until_teardown", "undecided")
_FINDINGS_IN_FULL: Final = 8
_SITES_IN_FULL: Final = 4
"""Of one finding; a reader who needs more opens the page or the JSON."""
_PROBLEMS_SHOWN: Final = 12
_NAMES_SHOWN: Final = 3
_FEWEST_COLUMNS: Final = 40
_FRAMES_SHOWN: Final = 32


class TerminalRenderer:
    """Text for a terminal or a log, in 80 columns.

    Args:
        width: Columns of the terminal; below 40 it is taken as 40.
        colour: Whether to write colours, for a terminal that shows them.
        ascii_only: Whether names outside ASCII are written as codes, for a console that shows nothing else.
        details: Whether every finding stands in full, innocent ones too.
    """

    name: ClassVar[str] = "terminal"
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)

    def __init__(
        self, *, width: int = 80, colour: bool = False, ascii_only: bool = False, details: bool = False
    ) -> None:
        self._width = max(width, _FEWEST_COLUMNS)
        self._colour = colour
        self._ascii_only = ascii_only
        self._details = details

    def render(self, report: Report) -> bytes:
        """The text, ending in a line feed, in UTF-8 (ASCII where that was asked for)."""
        page = _Page(self._width, colour=self._colour)
        _verdict(page, report)
        _figures(page, report)
        _findings(page, report, details=self._details)
        _known(page, report)
        _problems(page, report)
        _provenance(page, report)
        text = plain_lines(page.text())
        return text.encode("ascii", "backslashreplace") if self._ascii_only else text.encode()


class _Page:
    """Lines with a hanging indent, wrapped by their width on the screen."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self._width = width
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            width=width,
            color_system="standard" if colour else None,
            force_terminal=colour,
            no_color=not colour,
            legacy_windows=False,
            markup=False,
            highlight=False,
            emoji=False,
            _environ={},
        )

    def text(self) -> str:
        return self._file.getvalue()

    def blank(self) -> None:
        self._console.print()

    def title(self, text: str) -> None:
        self.blank()
        self.line(text, style="bold")

    def line(self, content: str | Text, *, first: str = "", hang: str | None = None, style: str = "") -> None:
        """One paragraph: `first` stands before its first line, `hang` (by default as many blanks) before the others."""
        hang = " " * len(first) if hang is None else hang
        text = Text(content, style=style) if isinstance(content, str) else content
        room = max(self._width - max(len(first), len(hang)), 20)
        for number, piece in enumerate(text.wrap(self._console, room)):
            piece.rstrip()
            self._console.print(Text(hang if number else first) + piece, soft_wrap=True)

    def path(self, place: str, *, first: str) -> None:
        """A file and line; what does not fit is left out at the front, where paths are alike."""
        room = self._width - len(first)
        shown = place if len(place) <= room else "..." + place[len(place) - room + 3 :]
        self.line(shown, first=first)

    def rows(self, rows: Sequence[tuple[str, str]], *, indent: str = "") -> None:
        """Label and value, the values aligned."""
        column = max((len(label) for label, _ in rows), default=0)
        for label, value in rows:
            self.line(value, first=f"{indent}{label:<{column}}  ")


def _verdict(page: _Page, report: Report) -> None:
    text = Text(printable(report.headline))
    text.stylize(_VERDICT_STYLES[report.verdict], 0, len(wording.VERDICTS[report.verdict]) + 1)
    page.line(text)
    for reason in wording.further_reasons(report):
        page.line(printable(reason), first="  - ")


def _figures(page: _Page, report: Report) -> None:
    if report.books is not None:
        books = report.books
        page.title(f"Books over {plural(books.window_cycles, 'cycle')}")
        rows = wording.books_rows(books)
        word = max(len(row[0]) for row in rows)
        number = max(len(row[1]) for row in rows)
        for name, count, share in rows:
            page.line(f"{name:<{word}}  {count:>{number}}  {share:>7}".rstrip(), first="  ")
        page.line(f"in {printable(books.basis)}", first="  ", style="dim")
    rates: list[tuple[str, str]] = []
    if report.rate_bytes_per_cycle is not None:
        rates.append(("per cycle", _with_range(wording.loss_per_cycle(report))))
    if report.rate_bytes_per_hour is not None:
        rates.append(("per hour", _with_range(wording.loss_per_hour(report))))
    if report.exhaustion_hours is not None:
        rates.append(("heap full in", _with_range(wording.exhaustion(report))))
    if report.exhaustion_cycles is not None:
        rates.append(("heap full after", _with_range(wording.exhaustion_cycles(report))))
    if report.upper_bound is not None and report.verdict != "leak":  # beside a leak's own limits it contradicts them
        rates.append(("upper bound", wording.upper_bound_text(report.upper_bound)))
    if rates:
        page.title("Loss")
        page.rows(rates, indent="  ")


def _with_range(figure: tuple[str, str]) -> str:
    estimate, limits = figure
    return f"{estimate} ({limits})" if limits else estimate


def _findings(page: _Page, report: Report, *, details: bool) -> None:
    if not report.findings:
        return
    page.title("Findings")
    full = [f for f in report.findings if details or f.finding_class in _IN_FULL]
    shown = full if details else full[:_FINDINGS_IN_FULL]
    for number, finding in enumerate(shown, start=1):
        if number > 1:
            page.blank()
        _finding(page, number, finding)
    if len(full) > len(shown):
        page.line(f"and {plural(len(full) - len(shown), 'more finding')}; the page and the JSON have all of them")
    if not details:
        _innocent(page, report.findings, after_others=bool(shown))


def _known(page: _Page, report: Report) -> None:
    """The user's list of known leaks: what each entry matched."""
    if report.suppressions:
        page.title("Known leaks")
    for use in report.suppressions:
        matched = f"{plural(use.sites, 'site')}, {wording.bytes_text(use.live_bytes)} live"
        said = [part for part in (use.reason, use.owner, use.expires and f"until {use.expires}") if part]
        more = f" ({', '.join(printable(part, 160) for part in said)})" if said else ""
        page.line(f"{printable(use.pattern, 160)}: {matched}{more}", first=f"  {use.status:<7}  ")


def _innocent(page: _Page, findings: Sequence[Finding], *, after_others: bool) -> None:
    rest = [f for f in findings if f.finding_class not in _IN_FULL]
    if rest and after_others:
        page.blank()
    for site_class, (title, _) in wording.CLASSES.items():
        group = [f for f in rest if f.finding_class == site_class]
        if not group:
            continue
        sites = [site for finding in group for site in finding.sites]
        names = ", ".join(_short_label(site) for site in sites[:_NAMES_SHOWN])
        more = f" and {len(sites) - _NAMES_SHOWN:,} more" if len(sites) > _NAMES_SHOWN else ""
        blocks = sum(finding.live_blocks for finding in group)
        total = wording.bytes_text(sum(finding.live_bytes for finding in group))
        page.line(
            f"{plural(len(sites), 'site')}, {plural(blocks, 'block')}, {total}: {names}{more}", first=f"{title:<9}  "
        )


def _finding(page: _Page, number: int, finding: Finding) -> None:
    title, _ = wording.CLASSES[finding.finding_class]
    text = Text(f"{title.upper()}: {printable(finding.summary)}")
    text.stylize("bold red" if finding.finding_class in wording.GROWING else "bold", 0, len(title) + 1)
    page.line(text, first=f"{number}. ")
    if finding.finding_class in wording.GROWING:
        page.line(wording.meaning(finding), first="   ", style="dim")
    if finding.suppressed_by is not None:
        page.line(f"suppressed by {printable(finding.suppressed_by)}", first="   ")
    rows = [("live", wording.live_text(finding)), ("tasks", wording.tasks_text(finding.tasks))]
    if finding.finding_class in wording.GROWING or finding.per_cycle_blocks:
        rows.insert(0, ("per cycle", wording.growth_text(finding)))
    page.rows(rows, indent="   ")
    for heading, sentences in (("evidence", finding.evidence), ("advice", finding.advice)):
        for index, sentence in enumerate(sentences):
            page.line(printable(sentence), first=f"   {heading if index == 0 else '':<9}- ", hang=" " * 14)
    sites = finding.sites[:_SITES_IN_FULL]
    for index, site in enumerate(sites, start=1):
        _site(page, site, f"site {index} of {len(finding.sites)}" if len(finding.sites) > 1 else "site")
    if len(finding.sites) > len(sites):
        page.line(f"and {plural(len(finding.sites) - len(sites), 'more site')}", first="   ")


def _site(page: _Page, site: Site, heading: str) -> None:
    page.blank()
    page.line(Text(f"{heading}: ") + Text(wording.site_label(site), style="bold"), first="   ")
    place = wording.place_text(site.file, site.line)
    if place:
        page.path(place, first="     ")
    page.line(f"{wording.live_text(site)} live; {wording.sizes_text(site, at_most=3)}", first="     ")
    if len(site.counts) > 1:
        page.line(f"live blocks by dump: {_counts(site)}", first="     ")
    naming = wording.naming_index(site)
    for index, frame in enumerate(site.frames[:_FRAMES_SHOWN]):
        _frame(page, frame, names_it=index == naming)
    if len(site.frames) > _FRAMES_SHOWN:
        page.line(f"and {plural(len(site.frames) - _FRAMES_SHOWN, 'more frame')}", first="       ")


def _counts(site: Site, at_most: int = 10) -> str:
    counts = [str(count) for _, count in site.counts]
    if len(counts) > at_most:
        half = at_most // 2
        counts = [*counts[:half], "..", *counts[-half:]]
    return " ".join(counts)


def _frame(page: _Page, frame: Frame, *, names_it: bool) -> None:
    """Raw address, function, place, remarks; the frame that names the site is marked, wrappers are dimmed."""
    remarks = [word for word, holds in (("inlined", frame.inlined), ("wrapper", frame.wrapper)) if holds]
    if frame.note:
        remarks.append(printable(frame.note))
    text = Text(f"{format_address(frame.pc)}  ", style="dim" if frame.wrapper else "")
    text.append(wording.frame_label(frame), style="bold" if names_it else "")
    place = wording.place_text(frame.file, frame.line, parts=1)
    if place:
        text.append(f"  {place}")
    if remarks:
        text.append(f"  ({'; '.join(remarks)})", style="dim")
    page.line(text, first="   > " if names_it else "     ", hang=" " * 17)


def _short_label(site: Site) -> str:
    if not site.name and not site.frames and len(site.sizes_bytes) == 1:
        return f"of {site.sizes_bytes[0]:,} B"  # without names and addresses nothing else tells sites apart
    label = wording.site_label(site)
    place = wording.place_text(site.file, site.line, parts=1)
    return f"{label} ({place})" if place and site.name else label


def _problems(page: _Page, report: Report) -> None:
    if not report.problems:
        return
    page.title("Warnings about the evidence")
    for problem in report.problems[:_PROBLEMS_SHOWN]:
        where = wording.problem_place(problem, report.boots)
        tail = f" ({where})" if where else ""
        text = Text(printable(problem.what, 40), style="yellow")
        page.line(text + Text(f": {printable(problem.text)}{tail}"), first="  - ")
    if len(report.problems) > _PROBLEMS_SHOWN:
        page.line(f"and {len(report.problems) - _PROBLEMS_SHOWN:,} more", first="  - ")


def _provenance(page: _Page, report: Report) -> None:
    rows: list[tuple[str, str]] = []
    for capture in report.provenance.captures[:_PROBLEMS_SHOWN]:
        dialects = ", ".join(printable(name, 40) for name in capture.dialects) or "nothing recognised"
        name = printable(capture.name, 160)
        label = "image" if capture.format == "image" else "capture"
        rows.append((label, f"{name}: {wording.amount_read(capture)}, {dialects}"))
    cycles = plural(report.cycles, "cycle") if report.cycles is not None else "cycles unknown"
    readings = sum(series.readings for series in report.series)
    rows.append(("span", f"{plural(report.boots, 'boot')}, {cycles}, {plural(readings, 'heap reading')}"))
    elf = report.provenance.elf
    if elf is None:
        rows.append(("elf", "none: addresses have no names"))
    else:
        build = f"build id {printable(elf.build_id, 80)}" if elf.build_id else "no build id"
        lines = "" if elf.debug_info else ", without line information"
        rows.append(("elf", f"{printable(elf.name, 160)} ({printable(elf.arch, 40)}), {build}{lines}"))
    versions = ", ".join(
        f"{printable(name, 40)} {printable(version, 40)}" for name, version in report.provenance.versions.items()
    )
    if versions:
        rows.append(("made by", versions))
    options = ", ".join(
        f"{printable(name, 40)} = {printable(value, 160)}" for name, value in report.provenance.options.items()
    )
    if options:
        rows.append(("options", options))
    page.title("Where this comes from")
    page.rows(rows, indent="  ")
