"""JUnit XML, as CI servers read it: one test for the verdict, one for each finding.

The layout is that of the Ant task (`testsuites`, `testsuite`, `properties`, `testcase`, `failure`, `error`), to which
Jenkins and GitLab keep. A leak is a failure; a run that decides nothing is an error, since a server must not show it
as passed. A known leak is skipped, with the entry that it is known by; where every leak is known, the verdict's test
passes, as the exit status is 0 then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final
from xml.etree import ElementTree as ET

from heaptrail.reports import wording
from heaptrail.reports.untrusted import NAME_CHARACTERS, plain_lines, printable
from heaptrail.units import format_rate

if TYPE_CHECKING:
    from heaptrail.model.report import Finding, Report
    from heaptrail.model.verdict import Interval, UpperBound

SUITE: Final = "heaptrail"
_FAILING: Final = ("leak", "held_until_teardown")


class JunitRenderer:
    """JUnit XML for CI servers: the verdict and each finding as a test."""

    name: ClassVar[str] = "junit"
    suffixes: ClassVar[tuple[str, ...]] = (".xml",)

    def render(self, report: Report) -> bytes:
        """One suite; everything from a device is escaped and printable, as XML 1.0 demands."""
        failing = [finding for finding in report.findings if _fails(finding)]
        known = sum(finding.suppressed_by is not None for finding in report.findings)
        leak, open_still = report.verdict == "leak" and not report.all_suppressed, report.verdict == "inconclusive"
        counts = {
            "tests": str(1 + len(report.findings)),
            "failures": str(len(failing) + leak),
            "errors": str(int(open_still)),
        }
        suites = ET.Element("testsuites", {"name": SUITE, **counts})
        seconds = f"{_seconds(report):.3f}"
        suite = ET.SubElement(suites, "testsuite", {"name": SUITE, **counts, "skipped": str(known), "time": seconds})
        properties = ET.SubElement(suite, "properties")
        for key, value in _facts(report):
            ET.SubElement(properties, "property", {"name": key, "value": value})
        verdict = _case(suite, "verdict", "no leak", seconds)
        if leak:
            _trouble(verdict, "failure", "leak", report.headline, report.reasons)
        elif open_still:
            _trouble(verdict, "error", "inconclusive", report.headline, report.reasons)
        for number, finding in enumerate(report.findings, start=1):
            case = _case(suite, "finding", f"{number}. {finding.summary}", "0.000")
            if _fails(finding):
                lines = (*finding.evidence, *finding.advice)
                _trouble(case, "failure", finding.finding_class, finding.summary, lines)
            elif finding.suppressed_by is not None:
                ET.SubElement(case, "skipped").text = printable(f"known: {finding.suppressed_by}")
        ET.indent(suites)
        content: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
        return content + b"\n"


def _fails(finding: Finding) -> bool:
    return finding.finding_class in _FAILING and finding.suppressed_by is None


def _case(suite: ET.Element, kind: str, name: str, seconds: str) -> ET.Element:
    attributes = {"classname": f"{SUITE}.{kind}", "name": printable(name, NAME_CHARACTERS), "time": seconds}
    return ET.SubElement(suite, "testcase", attributes)


def _trouble(case: ET.Element, tag: str, kind: str, message: str, lines: tuple[str, ...]) -> None:
    trouble = ET.SubElement(case, tag, {"type": kind, "message": printable(message)})
    trouble.text = plain_lines("\n".join(printable(line) for line in lines))


def _limit(bound: UpperBound | None, unit: str) -> str | None:
    return format_rate(bound.value) if bound is not None and bound.unit == unit else None


def _facts(report: Report) -> list[tuple[str, str]]:
    bound = report.upper_bound
    facts = {
        "verdict": report.verdict,
        "rate_bytes_per_cycle": _rate(report.rate_bytes_per_cycle),
        "rate_bytes_per_hour": _rate(report.rate_bytes_per_hour),
        "upper_bound_bytes_per_cycle": _limit(bound, "cycle"),
        "upper_bound_bytes_per_hour": _limit(bound, "hour"),
        "confidence": None if bound is None else f"{bound.confidence:g}",
        "largest_single_loss_bytes": None if bound is None else str(bound.largest_single_loss_bytes),
        "cycles": None if report.cycles is None else str(report.cycles),
        "boots": str(report.boots),
        "build_id": report.provenance.elf.build_id if report.provenance.elf is not None else None,
        "captures": ", ".join(capture.name for capture in report.provenance.captures) or None,
    }
    known = [("known_leak", wording.known_text(use)) for use in report.suppressions]
    return [(key, printable(value)) for key, value in [*facts.items(), *known] if value is not None]


def _rate(rate: Interval | None) -> str | None:
    if rate is None or rate.estimate is None:
        return None
    ends = "" if rate.low is None or rate.high is None else f" ({format_rate(rate.low)} to {format_rate(rate.high)})"
    return f"{format_rate(rate.estimate)}{ends}"


def _seconds(report: Report) -> float:
    times = [point.t_s for series in report.series for point in series.points if point.t_s is not None]
    return max(times) - min(times) if times else 0.0
