"""A known leak in every format: named with the entry it is known by, counted in the books, and no failure."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec
import pyarrow.parquet as pq
import pytest
from unit.reports import samples

from heaptrail.registry import resolve
from heaptrail.reports import REGISTRY
from heaptrail.suppressions import Suppression, mark_suppressed

if TYPE_CHECKING:
    from heaptrail.model.report import Report

USED = Suppression(pattern="_AudioTrackStart", file="known.toml", place="known.toml, entry 1", reason="ticket 812")
STALE = Suppression(pattern="mended_long_ago", file="known.toml", place="known.toml, entry 2")
EXPIRED = Suppression(
    pattern="softvol_*", file="known.toml", place="known.toml, entry 3", owner="audio", expires=date(2026, 1, 1)
)


def known(*entries: Suppression) -> Report:
    return mark_suppressed(samples.leak(), entries, today=date(2026, 2, 1), tolerate_bytes_per_cycle=1_000)


def text_of(name: str, report: Report) -> str:
    content = resolve(REGISTRY, name, kind="report format")().render(report).decode()
    return " ".join(content.replace("&#95;", "_").replace("\u00a0", " ").split())


@pytest.mark.parametrize("name", ["html", "json", "junit", "markdown", "sarif", "terminal"])
def test_a_report_for_people_and_servers_says_what_each_entry_matched(name: str) -> None:
    text = text_of(name, known(USED, STALE, EXPIRED))

    for entry in (USED, STALE, EXPIRED):
        assert entry.pattern.replace("*", "") in text.replace("&#42;", "")
    for word in ("used", "stale", "expired", "ticket 812", "2 sites"):
        assert word in text or (name == "json" and word == "2 sites")


@pytest.mark.parametrize("name", ["html", "json", "junit", "markdown", "sarif", "terminal"])
def test_an_entry_that_matches_nothing_or_has_expired_is_pointed_out(name: str) -> None:
    text = text_of(name, known(USED, STALE, EXPIRED))

    if name != "junit":  # its properties say the status; warnings about the list are no test of the firmware
        assert "matched no leak of this run" in text
        assert "expired on 2026-01-01" in text


def test_a_suppressed_leak_is_still_in_every_sum() -> None:
    before, after = samples.leak(), known(USED)

    assert after.all_suppressed
    assert (after.verdict, after.books) == (before.verdict, before.books)
    for name in ("collapsed", "speedscope", "pprof", "heaptrack", "perfetto"):
        renderer = resolve(REGISTRY, name, kind="report format")()
        plain = msgspec.structs.replace(after, headline=before.headline)
        assert renderer.render(plain) == renderer.render(before), f"{name} counts the same bytes"
    for name in ("parquet", "arrow"):
        assert resolve(REGISTRY, name, kind="report format")().render(after)
    table = pq.read_table(io.BytesIO(resolve(REGISTRY, "parquet", kind="report format")().render(after)))
    leaks = [row for row in table.to_pylist() if row["suppressed_by"]]
    assert sum(row["live_bytes"] for row in leaks) == samples.LEAK_FINDING.live_bytes


def test_junit_passes_and_skips_what_is_known_as_the_exit_status_says() -> None:
    suite = ET.fromstring(resolve(REGISTRY, "junit", kind="report format")().render(known(USED)))[0]

    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "1")
    assert [case.findtext("skipped") for case in suite.findall("testcase")][1] == (
        "known: leak:_AudioTrackStart (known.toml, entry 1)"
    )


def test_junit_fails_where_a_known_leak_has_expired() -> None:
    suite = ET.fromstring(resolve(REGISTRY, "junit", kind="report format")().render(known(EXPIRED)))[0]

    assert (suite.get("failures"), suite.get("skipped")) == ("2", "0")


def test_sarif_names_the_entry_as_an_accepted_suppression() -> None:
    log = json.loads(resolve(REGISTRY, "sarif", kind="report format")().render(known(USED)))

    (suppression,) = log["runs"][0]["results"][0]["suppressions"]
    assert suppression["status"] == "accepted"
    assert "_AudioTrackStart" in suppression["justification"]
