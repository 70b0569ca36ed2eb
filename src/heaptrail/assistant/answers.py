"""What a report or a comparison says, in few words: bounded, and every string of it made printable.

An assistant pays for each word and believes much of what it reads. So lists are short and say what they leave out,
control characters and overlong names never get through, and a number that is unknown is null.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from heaptrail.errors import UsageError
from heaptrail.model.identity import finding_fingerprint, site_fingerprint
from heaptrail.reports import wording
from heaptrail.reports.untrusted import printable
from heaptrail.units import format_address, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.comparison import Comparison, SiteChange
    from heaptrail.model.report import Finding, Frame, Report, Site
    from heaptrail.model.verdict import SiteClass

Answer = dict[str, Any]

PAGE: Final = 20
_TEXT: Final = 600
_SENTENCES: Final = 8
_TOP: Final = 5
_PROBLEMS: Final = 10
_SITES: Final = 4
_FRAMES: Final = 24
_ADDRESSES: Final = 8
_COUNTS: Final = 24
_CHANGES: Final = 30
_NUMBER: Final = re.compile(r"#?\d{1,9}")
_ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}")


def overview(report: Report) -> Answer:
    """The verdict with its reasons and figures, the books, and the first few findings."""
    classes = {name: sum(f.finding_class == name for f in report.findings) for name in wording.CLASSES}
    elf = report.provenance.elf
    return _answer(
        {
            "verdict": report.verdict,
            "headline": report.headline,
            "reasons": report.reasons[:_SENTENCES],
            "rate_bytes_per_cycle": report.rate_bytes_per_cycle,
            "rate_bytes_per_hour": report.rate_bytes_per_hour,
            "upper_bound": report.upper_bound,
            "exhaustion_hours": report.exhaustion_hours,
            "exhaustion_cycles": report.exhaustion_cycles,
            "books": report.books,
            "findings_by_class": {name: count for name, count in classes.items() if count},
            "findings": [_row(number, finding) for number, finding in enumerate(report.findings[:_TOP], start=1)],
            "findings_left_out": max(len(report.findings) - _TOP, 0),
            "every_leak_is_known": report.all_suppressed,
            "known_leaks": report.suppressions[:_PROBLEMS],
            "warnings": [
                {"what": problem.what, "text": problem.text, "line": problem.line, "count": problem.count}
                for problem in report.problems[:_PROBLEMS]
            ],
            "warnings_left_out": max(len(report.problems) - _PROBLEMS, 0),
            "boots": report.boots,
            "cycles": report.cycles,
            "captures": [capture.name for capture in report.provenance.captures[:_PROBLEMS]],
            "elf": None if elf is None else {"name": elf.name, "build_id": elf.build_id, "lines": elf.debug_info},
        }
    )


def finding_list(report: Report, site_class: SiteClass | None, offset: int) -> Answer:
    """One page of the findings, ranked, of one class or of all."""
    chosen = [
        (number, finding)
        for number, finding in enumerate(report.findings, start=1)
        if site_class is None or finding.finding_class == site_class
    ]
    page = chosen[max(offset, 0) :][:PAGE]
    following = max(offset, 0) + len(page)
    return _answer(
        {
            "findings": [_row(number, finding) for number, finding in page],
            "in_all": len(chosen),
            "next_offset": following if following < len(chosen) else None,
        }
    )


def explanation(report: Report, what: str) -> Answer:
    """Everything about a finding, a block or a site.

    Args:
        report: To look in.
        what: A finding's number, an address of a live block or of code, or a part of a function's or file's name, or a
            site's fingerprint.

    Raises:
        UsageError: The report has nothing of that name; the message says what it has.
    """
    wanted = what.strip()
    if _NUMBER.fullmatch(wanted):
        number = int(wanted.removeprefix("#"))
        if not 0 < number <= len(report.findings):
            raise UsageError(
                f"there is no finding {number:,}: the report has {plural(len(report.findings), 'finding')}",
                try_this="a number of list_findings",
            )
        return _answer(_full(number, report.findings[number - 1], report.findings[number - 1].sites))
    if _ADDRESS.fullmatch(wanted):
        found, why = _at_address(report, int(wanted, 16))
    else:
        found, why = _named(report, wanted), "the name stands in its stack"
    if not found:
        raise UsageError(
            f"nothing in this report is called {printable(wanted, 100)!r}"
            + ("; of a site with many blocks only some addresses are kept" if _ADDRESS.fullmatch(wanted) else ""),
            try_this="a finding's number, a live block's address, or a name of a function or file in list_findings",
        )
    number, finding, sites = found[0]
    others = [{"finding": other, "class": rest.finding_class, "summary": rest.summary} for other, rest, _ in found[1:]]
    return _answer(
        {
            "matched": why,
            **_full(number, finding, sites),
            "also_in": others[:_TOP],
            "also_in_left_out": max(len(others) - _TOP, 0),
        }
    )


def difference(comparison: Comparison) -> Answer:
    """What became of the leaks: the outcome, its reasons, and the sites that changed, the worst first."""
    return _answer(
        {
            "outcome": comparison.outcome,
            "headline": comparison.headline,
            "reasons": comparison.reasons[:_SENTENCES],
            "before": msgspec.structs.replace(comparison.before, captures=comparison.before.captures[:_TOP]),
            "after": msgspec.structs.replace(comparison.after, captures=comparison.after.captures[:_TOP]),
            "changes": [_change(change) for change in comparison.changes[:_CHANGES]],
            "changes_left_out": max(len(comparison.changes) - _CHANGES, 0),
            "other_sites": comparison.other_sites,
        }
    )


_Found = list[tuple[int, "Finding", "Sequence[Site]"]]


def _at_address(report: Report, address: int) -> tuple[_Found, str]:
    blocks = _matching(report, lambda site: address in site.addresses)
    if blocks:
        return blocks, "a block at this address was live in the last dump"
    code = _matching(report, lambda site: any(frame.pc == address for frame in site.frames))
    return code, "the address stands in its stack"


def _named(report: Report, wanted: str) -> _Found:
    if not wanted:
        return []
    folded = wanted.casefold()
    exact = _matching(report, lambda site: site_fingerprint(site) == folded or site.name == wanted)
    return exact or _matching(report, lambda site: any(folded in name.casefold() for name in _names(site)))


def _names(site: Site) -> list[str]:
    return [name for frame in site.frames for name in (frame.function, frame.file) if name]


def _matching(report: Report, fits: Any) -> _Found:  # noqa: ANN401 - a predicate on sites
    found: _Found = []
    for number, finding in enumerate(report.findings, start=1):
        sites = [site for site in finding.sites if fits(site)]
        if sites:
            found.append((number, finding, sites))
    return found


def _row(number: int, finding: Finding) -> Answer:
    first = finding.sites[0] if finding.sites else None
    return {
        "finding": number,
        "class": finding.finding_class,
        "summary": finding.summary,
        "function": first.name if first else None,
        "place": wording.place_text(first.file, first.line) if first and first.file else None,
        "sites": len(finding.sites),
        "live_blocks": finding.live_blocks,
        "live_bytes": finding.live_bytes,
        "per_cycle_blocks": finding.per_cycle_blocks,
        "per_cycle_bytes": finding.per_cycle_bytes,
        "tasks": finding.tasks[:_TOP],
        "suppressed_by": finding.suppressed_by,
    }


def _full(number: int, finding: Finding, sites: Sequence[Site]) -> Answer:
    return {
        **_row(number, finding),
        "meaning": wording.CLASSES[finding.finding_class][1],
        "per_cycle_footprint_bytes": finding.per_cycle_footprint_bytes,
        "evidence": finding.evidence[:_SENTENCES],
        "advice": finding.advice[:_SENTENCES],
        "fingerprint": finding_fingerprint(finding),
        "stacks": [_site(site) for site in sites[:_SITES]],
        "stacks_left_out": max(len(sites) - _SITES, 0),
    }


def _site(site: Site) -> Answer:
    step = max(1, -(-len(site.counts) // _COUNTS))
    return {
        "name": wording.site_label(site),
        "fingerprint": site_fingerprint(site),
        "live_blocks": site.live_blocks,
        "live_bytes": site.live_bytes,
        "size_kind": site.size_kind,
        "sizes_bytes": site.sizes_bytes[:_ADDRESSES],
        "per_cycle_blocks": site.per_cycle_blocks,
        "per_cycle_bytes": site.per_cycle_bytes,
        "cycle_and_live_blocks_at_dumps": site.counts[::step],
        "tasks": site.tasks[:_TOP],
        "addresses": [format_address(address) for address in site.addresses[:_ADDRESSES]],
        "addresses_left_out": max(len(site.addresses) - _ADDRESSES, 0),
        "frames_innermost_first": [_frame(frame) for frame in site.frames[:_FRAMES]],
        "frames_left_out": max(len(site.frames) - _FRAMES, 0),
    }


def _frame(frame: Frame) -> str:
    place = wording.place_text(frame.file, frame.line)
    marks = [word for word, holds in (("inlined", frame.inlined), ("wrapper", frame.wrapper)) if holds]
    words = [format_address(frame.pc), wording.frame_label(frame), f"({place})" if place else "", *marks]
    return " ".join(word for word in words if word)


def _change(change: SiteChange) -> Answer:
    return {
        "change": change.change,
        "name": change.name,
        "chain": change.chain[:_TOP],
        "before": change.before,
        "after": change.after,
        "suppressed_by": change.suppressed_by,
    }


def _answer(value: Answer) -> Answer:
    return {key: _clean(item) for key, item in value.items()}


def _clean(value: Any) -> Any:  # noqa: ANN401 - the JSON types
    """Records as objects, strings printable and bounded, and null for a number that is none."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, str):
        return printable(value, _TEXT)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value
