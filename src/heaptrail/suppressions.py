"""Known leaks: lists of them read, and marked in a report. Nothing is taken out of a report or of its books.

Two kinds of file. LeakSanitizer's own format, as it is: a line `leak:PATTERN`, or a comment that begins with `#`
(https://clang.llvm.org/docs/AddressSanitizer.html, "Suppressing memory leaks"). And TOML, where an entry also says why,
whose it is, and until when it holds:

    [[leak]]
    pattern = "softvol_*"
    reason = "waits for the vendor, ticket 812"
    owner = "audio"
    expires = 2027-03-31

A pattern is looked for in the function, file and module of every frame, as LeakSanitizer does: anywhere in the name,
`*` stands for anything, `^` and `$` hold it at the beginning and the end.
"""

from __future__ import annotations

import tomllib
from datetime import date
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from heaptrail.errors import FormatError, UsageError
from heaptrail.model.report import ReportProblem, SuppressionUse
from heaptrail.symbols.patterns import matches
from heaptrail.units import format_bytes, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from heaptrail.model.report import Finding, Frame, Report, Site
    from heaptrail.model.verdict import SiteClass

_PREFIX: Final = "leak:"
_BYTES_AT_MOST: Final = 1 << 20
_PATTERN_AT_MOST: Final = 1_000
_GROWING: Final[tuple[SiteClass, ...]] = ("leak", "held_until_teardown")
_CONCERNED: Final[tuple[SiteClass, ...]] = (*_GROWING, "undecided")
"""What an entry may be about. A mended leak's site may still hold one block; that must not keep its entry alive."""
_PROBLEMS: Final = ("partly_suppressed", "expired_suppression", "stale_suppression")
_ALL_KNOWN: Final = " Every leak is on the list of known ones."
_BUILT_IN_CYCLES: Final = 3000.0
"""As in the judge's built-in tolerance: a heap that outlives this many cycles (`model.verdict.JudgeSettings`)."""


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `place` is its file and line; `expires` is the last day on which it holds."""

    pattern: str
    file: str
    place: str
    reason: str | None = None
    owner: str | None = None
    expires: date | None = None

    @property
    def name(self) -> str:
        """How a report names the entry: `leak:softvol_* (known.supp:3)`."""
        return f"{_PREFIX}{self.pattern} ({self.place})"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pattern: str
    reason: str
    owner: str | None = None
    expires: date | None = None


class _KnownLeaks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    leak: tuple[_Entry, ...] = ()


def load_suppressions(path: Path) -> tuple[Suppression, ...]:
    """The entries of one file, in its order; `.toml` is read as TOML, everything else as LeakSanitizer's format.

    Raises:
        UsageError: The file cannot be read.
        FormatError: A line or entry is none; the sentence says which.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_BYTES_AT_MOST + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", try_this="the path of a list of known leaks"
        ) from error
    if len(content) > _BYTES_AT_MOST:
        raise FormatError(f"{path.name} has more than {_BYTES_AT_MOST:,} bytes", try_this="a list of known leaks")
    text = content.decode("utf-8-sig", "replace")
    return _toml_entries(text, path.name) if path.suffix == ".toml" else sanitizer_entries(text, path.name)


def sanitizer_entries(text: str, file_name: str) -> tuple[Suppression, ...]:
    """The entries of a LeakSanitizer file. Raises `FormatError` for a line that is neither entry nor comment."""
    entries: list[Suppression] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if not line.startswith(_PREFIX):
            raise FormatError(
                f"{file_name} line {number}: {line[:60]!r} does not begin with {_PREFIX!r}",
                try_this="a line like leak:function_or_file_name, or # before a comment",
            )
        entries.append(
            _checked(Suppression(pattern=line.removeprefix(_PREFIX), file=file_name, place=f"{file_name}:{number}"))
        )
    return tuple(entries)


def _toml_entries(text: str, file_name: str) -> tuple[Suppression, ...]:
    example = 'an entry like: [[leak]] pattern = "softvol_*", reason = "...", owner = "...", expires = 2027-03-31'
    try:
        known = msgspec.convert(tomllib.loads(text), _KnownLeaks)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise FormatError(f"{file_name} is no list of known leaks: {error}", try_this=example) from None
    return tuple(
        _checked(
            Suppression(
                pattern=entry.pattern.removeprefix(_PREFIX),
                file=file_name,
                place=f"{file_name}, entry {number}",
                reason=entry.reason,
                owner=entry.owner,
                expires=entry.expires,
            )
        )
        for number, entry in enumerate(known.leak, start=1)
    )


def _checked(entry: Suppression) -> Suppression:
    if not entry.pattern.strip("^$* ") or len(entry.pattern) > _PATTERN_AT_MOST:
        raise FormatError(
            f"{entry.place}: the pattern {entry.pattern[:60]!r} would match "
            f"{'nothing' if len(entry.pattern) > _PATTERN_AT_MOST else 'every leak'}",
            try_this="a part of a function's or file's name",
        )
    return entry


def mark_suppressed(
    report: Report, entries: Sequence[Suppression], *, today: date, tolerate_bytes_per_cycle: float | None = None
) -> Report:
    """The report with its known leaks marked, the entries' uses counted, and a problem for each stale or expired one.

    Args:
        report: Any report.
        entries: Of one or more files, in the order in which they are tried.
        today: Decides what is expired.
        tolerate_bytes_per_cycle: What the books may leave unexplained; None for the built-in tolerance.
    """
    matchers = [_Matcher(entry, expired=entry.expires is not None and today > entry.expires) for entry in entries]
    report = _unmarked(report)
    findings = tuple(_marked(finding, matchers) for finding in report.findings)
    uses = tuple(matcher.use() for matcher in matchers)
    named = {"--suppressions": ", ".join(dict.fromkeys(entry.file for entry in entries))}
    provenance = msgspec.structs.replace(report.provenance, options={**report.provenance.options, **named})
    marked = msgspec.structs.replace(report, findings=findings, suppressions=uses, provenance=provenance)
    partly = _partly(report.findings, findings, matchers)
    excused = _all_suppressed(marked, tolerate_bytes_per_cycle)
    problems = (*report.problems, *partly, *_entry_problems(uses, report.verdict != "inconclusive"))
    if not excused:
        return msgspec.structs.replace(marked, problems=problems)
    return msgspec.structs.replace(
        marked,
        problems=problems,
        all_suppressed=True,
        headline=report.headline + _ALL_KNOWN,
    )


def _unmarked(report: Report) -> Report:
    """The report as it was before another list was laid on it; a saved report may be marked already."""
    return msgspec.structs.replace(
        report,
        findings=tuple(msgspec.structs.replace(finding, suppressed_by=None) for finding in report.findings),
        problems=tuple(problem for problem in report.problems if problem.what not in _PROBLEMS),
        headline=report.headline.removesuffix(_ALL_KNOWN),
        all_suppressed=False,
    )


class _Matcher:
    """An entry and what it matched so far."""

    def __init__(self, entry: Suppression, *, expired: bool) -> None:
        self.entry = entry
        self.expired = expired
        self._seen: dict[str, bool] = {}
        self.findings = 0
        self.sites = 0
        self.live_bytes = 0

    def fits(self, site: Site) -> bool:
        return any(self._fits_name(name) for frame in site.frames for name in _names(frame))

    def _fits_name(self, name: str) -> bool:
        found = self._seen.get(name)
        if found is None:
            found = self._seen[name] = matches(self.entry.pattern, name)
        return found

    def use(self) -> SuppressionUse:
        status: Literal["used", "stale", "expired"] = "used" if self.sites else "stale"
        entry = self.entry
        return SuppressionUse(
            pattern=f"{_PREFIX}{entry.pattern}",
            place=entry.place,
            status="expired" if self.expired else status,
            reason=entry.reason,
            owner=entry.owner,
            expires=entry.expires.isoformat() if entry.expires else None,
            findings=self.findings,
            sites=self.sites,
            live_bytes=self.live_bytes,
        )


def _names(frame: Frame) -> Iterable[str]:
    return (name for name in (frame.function, frame.file, frame.module) if name)


def _marked(finding: Finding, matchers: Sequence[_Matcher]) -> Finding:
    if finding.finding_class not in _CONCERNED:
        return finding
    users: dict[str, _Matcher] = {}
    covered = 0
    for site in finding.sites:
        matcher = next((m for m in matchers if m.fits(site)), None)
        if matcher is not None:
            users[matcher.entry.name] = matcher
            matcher.sites += 1
            matcher.live_bytes += site.live_bytes
            covered += not matcher.expired
    for matcher in users.values():
        matcher.findings += 1
    if not finding.sites or covered < len(finding.sites):
        return finding
    return msgspec.structs.replace(finding, suppressed_by=", ".join(users))


def _partly(
    before: Sequence[Finding], after: Sequence[Finding], matchers: Sequence[_Matcher]
) -> Iterable[ReportProblem]:
    """Findings of which some sites are known and others are not: those are not suppressed."""
    live = [matcher for matcher in matchers if not matcher.expired]
    for finding, marked in zip(before, after, strict=True):
        if finding.finding_class in _CONCERNED and marked.suppressed_by is None:
            known = sum(any(matcher.fits(site) for matcher in live) for site in finding.sites)
            if known:
                yield ReportProblem(
                    what="partly_suppressed",
                    text=f"{known} of {plural(len(finding.sites), 'site')} of a finding are on the list of known "
                    f"leaks, so it is not suppressed: {finding.summary}",
                )


def _entry_problems(uses: Sequence[SuppressionUse], conclusive: bool) -> Iterable[ReportProblem]:  # noqa: FBT001 - a fact
    for use in uses:
        where = f"{use.pattern} ({use.place})"
        if use.status == "expired":
            still = f"its leak is still there: {plural(use.sites, 'site')}, {format_bytes(use.live_bytes)} live"
            text = f"{where} expired on {use.expires}, and {still if use.sites else 'it matches nothing any more'}"
            yield ReportProblem(what="expired_suppression", text=text)
        elif use.status == "stale" and conclusive:
            text = f"{where} matched no leak of this run; if that is mended, take it off the list"
            yield ReportProblem(what="stale_suppression", text=text)


def _all_suppressed(report: Report, tolerate: float | None) -> bool:
    """Whether the verdict `leak` rests on known leaks alone: each is on the list, and the books leave no other."""
    growing = [finding for finding in report.findings if finding.finding_class in _GROWING]
    if report.verdict != "leak" or not growing or any(finding.suppressed_by is None for finding in growing):
        return False
    books = report.books
    if books is None or books.window_cycles <= 0:
        return False
    if tolerate is None:
        idle = [max(point.free_bytes for point in series.points) for series in report.series if series.points]
        tolerate = min(idle, default=0) / _BUILT_IN_CYCLES
    return books.unexplained_bytes / books.window_cycles <= tolerate
