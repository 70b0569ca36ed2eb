"""SARIF 2.1.0 (OASIS): results for code scanning on GitHub, GitLab and Azure, and for the viewers in editors.

A result is a finding, at its first site's line; the other sites are related locations. The stack of each site is a code
flow in the order of the calls. `kind` says what a class means: a leak and what is held until teardown *fail*, what is
undecided is *open*, the rest is *informational* and has no level.

Fingerprints are of function names, file base names and call chain (`model/identity`), so a result stays the same one
when the firmware is built again or lines move. GitHub reads `primaryLocationLineHash` alone, so it is given there, too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from heaptrail.model.identity import finding_fingerprint
from heaptrail.reports import wording
from heaptrail.reports.untrusted import printable
from heaptrail.units import format_address
from heaptrail.version import __version__

if TYPE_CHECKING:
    from heaptrail.model.report import Finding, Frame, Report, Site
    from heaptrail.model.verdict import SiteClass

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_KINDS: Final[dict[SiteClass, tuple[str, str]]] = {
    "leak": ("fail", "error"),
    "held_until_teardown": ("fail", "warning"),
    "undecided": ("open", "none"),
}
"""Kind and level of a result (SARIF 3.27.9, 3.27.10); a level other than `none` is only for what fails."""
_INNOCENT: Final = ("informational", "none")
_RULES: Final[tuple[SiteClass, ...]] = tuple(wording.CLASSES)
_RESULTS: Final = 5_000
"""GitHub refuses a file of more than 25,000 results and shows 5,000; findings are ranked, so these are the worst."""
_RELATED: Final = 900
"""Of one finding: GitHub refuses more than 1,000 locations of a result."""
_SITES_WITH_FLOW: Final = 50
"""Of one finding. Viewers show the flows in a list; nobody steps through more."""


class SarifRenderer:
    """SARIF 2.1.0 for code scanning: a result for each finding, with its stacks as code flows."""

    name: ClassVar[str] = "sarif"
    suffixes: ClassVar[tuple[str, ...]] = (".sarif", ".sarif.json")

    def render(self, report: Report) -> bytes:
        """JSON, UTF-8, indented."""
        run = {
            "tool": {"driver": _driver()},
            "columnKind": "unicodeCodePoints",
            "invocations": [_invocation(report)],
            "results": [_result(finding) for finding in report.findings[:_RESULTS]],
            "properties": {
                "verdict": report.verdict,
                "headline": printable(report.headline),
                "knownLeaks": [wording.known_text(use) for use in report.suppressions],
            },
        }
        log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
        return msgspec.json.format(msgspec.json.encode(log), indent=1) + b"\n"


def _driver() -> dict[str, Any]:
    return {
        "name": "heaptrail",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(site_class) for site_class in _RULES],
    }


def _rule(site_class: SiteClass) -> dict[str, Any]:
    title, meaning = wording.CLASSES[site_class]
    return {
        "id": site_class,
        "name": "".join(word.capitalize() for word in site_class.split("_")),
        "shortDescription": {"text": f"Heap: {title}"},
        "fullDescription": {"text": f"{meaning[0].upper()}{meaning[1:]}."},
        "help": {"text": f"{title}: {meaning}. The evidence is in the result's message and in heaptrail's report."},
        "defaultConfiguration": {"level": _KINDS.get(site_class, _INNOCENT)[1]},
    }


def _invocation(report: Report) -> dict[str, Any]:
    """That the run came to its end, and every warning about its evidence."""
    warnings = [
        (problem.what, _problem_text(problem.text, wording.problem_place(problem, report.boots)))
        for problem in report.problems
    ]
    left_out = len(report.findings) - _RESULTS
    if left_out > 0:
        warnings.append(("too_many", f"{left_out:,} of {len(report.findings):,} findings are not in this file"))
    return {
        "executionSuccessful": True,
        "toolExecutionNotifications": [
            {"level": "warning", "descriptor": {"id": printable(what, 80)}, "message": {"text": text}}
            for what, text in warnings
        ],
    }


def _problem_text(text: str, place: str) -> str:
    return f"{printable(text)} ({place})" if place else printable(text)


def _result(finding: Finding) -> dict[str, Any]:
    kind, level = _KINDS.get(finding.finding_class, _INNOCENT)
    fingerprint = finding_fingerprint(finding)
    result: dict[str, Any] = {
        "ruleId": finding.finding_class,
        "ruleIndex": _RULES.index(finding.finding_class),
        "kind": kind,
        "level": level,
        "message": {"text": _message(finding)},
        "locations": [_site_location(site) for site in finding.sites[:1]],
        "partialFingerprints": {"heaptrailCallChain/v1": fingerprint, "primaryLocationLineHash": f"{fingerprint}:1"},
        "properties": {"liveBlocks": _exact(finding.live_blocks), "liveBytes": _exact(finding.live_bytes)},
    }
    if finding.per_cycle_bytes is not None:
        result["properties"]["bytesPerCycle"] = finding.per_cycle_bytes
    related = [
        _site_location(site) | {"id": number} for number, site in enumerate(finding.sites[1 : 1 + _RELATED], start=1)
    ]
    if related:
        result["relatedLocations"] = related
    flows = [_code_flow(site) for site in finding.sites[:_SITES_WITH_FLOW] if site.frames and kind != "informational"]
    if flows:
        result["codeFlows"] = flows
    if finding.suppressed_by is not None:
        known = {"kind": "external", "status": "accepted", "justification": printable(finding.suppressed_by)}
        result["suppressions"] = [known]
    return result


def _message(finding: Finding) -> str:
    """The summary, the evidence and the advice as plain text; SARIF reads `[...]` and `{n}` in messages as markup."""
    lines = [finding.summary, *finding.evidence[:4], *finding.advice[:2]]
    return "\n".join(_plain(line) for line in lines)


def _plain(text: str) -> str:
    r"""Braces doubled, brackets and backslashes escaped, or they are placeholders and links (SARIF 3.11.5, 3.11.6)."""
    shown = printable(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return shown.replace("{", "{{").replace("}", "}}")


def _site_location(site: Site) -> dict[str, Any]:
    location: dict[str, Any] = {"message": {"text": _plain(wording.site_label(site))}}
    if site.file:
        location["physicalLocation"] = _physical(site.file, site.line)
    if site.name:
        location["logicalLocations"] = [{"name": printable(site.name, 160), "kind": "function"}]
    return location


def _code_flow(site: Site) -> dict[str, Any]:
    """From the task's entry to the allocation."""
    return {"threadFlows": [{"locations": [{"location": _frame_location(frame)} for frame in reversed(site.frames)]}]}


def _frame_location(frame: Frame) -> dict[str, Any]:
    marks = [word for word, holds in (("inlined", frame.inlined), ("wrapper", frame.wrapper)) if holds]
    words = [wording.frame_label(frame), format_address(frame.pc), *marks]
    location: dict[str, Any] = {"message": {"text": _plain(" ".join(words))}}
    if frame.file:
        location["physicalLocation"] = _physical(frame.file, frame.line)
    if frame.function:
        location["logicalLocations"] = [{"name": wording.frame_label(frame), "kind": "function"}]
    return location


def _physical(file: str, line: int | None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
    if line is not None and 0 < line < 1 << 31:
        physical["region"] = {"startLine": line}
    return physical


@lru_cache(maxsize=4096)
def _uri(file: str) -> str:
    """A path of either kind of system as a URI reference; one that is relative stays so, for the repository's root."""
    path = printable(file, 1000).replace("\\", "/").removeprefix("./")
    if path[1:3] == ":/":
        path = f"/{path}"
    quoted = quote(path, safe="/:" if path.startswith("/") else "/")
    return f"file://{quoted}" if path.startswith("/") and not path.startswith("//") else quoted.lstrip("/") or "unknown"


def _exact(value: int) -> int:
    return min(max(value, -(1 << 53)), 1 << 53)
