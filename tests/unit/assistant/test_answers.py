"""What an assistant is told: short whatever the report holds, printable, and never more certain than the report."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

from heaptrail.assistant import answers
from heaptrail.compare import compare
from heaptrail.errors import UsageError
from heaptrail.model.report import Report

AT_MOST_CHARACTERS = 120_000
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def strings_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings_of(item)]
    return [text for item in value for text in strings_of(item)] if isinstance(value, list) else []


def test_the_overview_says_verdict_books_and_the_first_findings() -> None:
    said = answers.overview(samples.leak())

    assert said["verdict"] == "leak"
    assert said["books"]["unexplained_bytes"] == 768
    assert said["findings"][0]["class"] == "leak"
    assert said["findings"][0]["function"] == "softvol_ap_update_mode"


@pytest.mark.parametrize("what", ["1", "#1", " softvol_ap_update_mode ", "SoftVolume.c", "0x08396d52"])
def test_a_finding_is_explained_by_number_name_file_or_address(what: str) -> None:
    said = answers.explanation(samples.leak(), what)

    assert said["finding"] == 1
    assert said["evidence"]
    assert any("softvol_ap_update_mode" in frame for frame in said["stacks"][0]["frames_innermost_first"])


def test_a_live_block_is_explained_by_its_address() -> None:
    report = samples.leak()
    address = report.findings[0].sites[0].addresses[0]

    said = answers.explanation(report, f"0x{address:x}")

    assert said["matched"] == "a block at this address was live in the last dump"
    assert said["finding"] == 1


@pytest.mark.parametrize("what", ["0", "99", "0x1", "no_such_function", "", "0x" + "f" * 40])
def test_what_is_not_there_is_an_error_with_something_to_try(what: str) -> None:
    with pytest.raises(UsageError) as caught:
        answers.explanation(samples.leak(), what)

    assert caught.value.try_this


def test_findings_come_in_pages_and_by_class() -> None:
    report = samples.huge(50)

    first = answers.finding_list(report, None, 0)
    leaks = answers.finding_list(report, "leak", 0)

    assert len(first["findings"]) == answers.PAGE
    assert answers.finding_list(report, None, first["next_offset"])["findings"][0]["finding"] == answers.PAGE + 1
    assert {row["class"] for row in leaks["findings"]} == {"leak"}


def test_a_report_of_a_hundred_thousand_characters_is_told_in_few() -> None:
    frame = samples.leak().findings[0].sites[0].frames[0]
    long = "x\x1b[31m" * 5_000
    frames = tuple(msgspec.structs.replace(frame, function=long, file=long) for _ in range(64))
    finding = samples.leak().findings[0]
    sites = tuple(msgspec.structs.replace(site, frames=frames) for site in finding.sites) * 50
    report = msgspec.structs.replace(
        samples.leak(),
        findings=(msgspec.structs.replace(finding, sites=sites, summary=long, evidence=(long,) * 99),) * 99,
        reasons=(long,) * 99,
    )

    for said in (answers.overview(report), answers.finding_list(report, None, 0), answers.explanation(report, "1")):
        assert len(json.dumps(said)) < AT_MOST_CHARACTERS
        assert not any("\x1b" in text for text in strings_of(said))


@few
@given(strategies.records(Report), strategies.records(Report))
def test_every_answer_is_printable_json_of_bounded_size(before: Report, after: Report) -> None:
    said = [answers.overview(after), answers.finding_list(after, None, 0), answers.difference(compare(before, after))]
    if after.findings:
        said.append(answers.explanation(after, "1"))

    for answer in said:
        assert len(json.dumps(answer, allow_nan=False)) < AT_MOST_CHARACTERS
        assert all(text.isprintable() for text in strings_of(answer))
