"""JUnit XML: the structure that CI servers expect, whatever the report holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

from heaptrail.reports.junit import JunitRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.report import Report

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports" / "junit"

STRUCTURE: dict[str, tuple[set[str], dict[str, str]]] = {
    # element: its attributes, all of them required; its children and how often they may come
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite": "+"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time"},
        {"properties": "1", "testcase": "+"},
    ),
    "properties": (set(), {"property": "*"}),
    "property": ({"name", "value"}, {}),
    "testcase": ({"classname", "name", "time"}, {"failure": "?", "error": "?", "skipped": "?"}),
    "failure": ({"type", "message"}, {}),
    "error": ({"type", "message"}, {}),
    "skipped": (set(), {}),
}
"""What the schema of Jenkins' xunit plugin and GitLab's parser have in common, as far as we use it."""


def check(element: ET.Element) -> None:
    attributes, children = STRUCTURE[element.tag]
    assert set(element.attrib) == attributes, element.tag
    for name in ("tests", "failures", "errors", "skipped"):
        assert element.get(name, "0").isdigit()
    assert float(element.get("time", "0")) >= 0
    tags = [child.tag for child in element]
    assert set(tags) <= set(children), element.tag
    for tag, times in children.items():
        assert tags.count(tag) in {"1": range(1, 2), "+": range(1, 10_000), "?": range(2), "*": range(10_000)}[times]
    for child in element:
        check(child)


def parsed(report: Report) -> ET.Element:
    root = ET.fromstring(JunitRenderer().render(report))
    check(root)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases)
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("errors", "")) == len(suite.findall("testcase/error"))
        assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases), "tests have names"
    return root


@pytest.mark.parametrize("name", ["leak", "no_leak", "bare_log"])
def test_the_xml_of_a_sample_stays_the_same(name: str, golden: Callable[[Path, str], bool]) -> None:
    report = samples.SAMPLES[name]()
    parsed(report)

    assert golden(GOLDENS / f"{name}.xml", JunitRenderer().render(report).decode())


@pytest.mark.parametrize(("name", "failures", "errors"), [("leak", 2, 0), ("no_leak", 0, 0), ("empty", 0, 1)])
def test_a_leak_fails_and_what_is_undecided_does_not_pass(name: str, failures: int, errors: int) -> None:
    root = parsed(samples.SAMPLES[name]())

    assert int(root.get("failures", "")) == failures
    assert int(root.get("errors", "")) == errors


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.reports)
def test_any_report_gives_xml_of_this_structure(report: Report) -> None:
    root = parsed(report)

    texts = [value for element in root.iter() for value in (*element.attrib.values(), element.text or "")]
    assert all(character.isprintable() or character == "\n" for text in texts for character in text)
