"""Lists of known leaks: what a pattern fits, what a file may hold, and what a marked report says and does not hide."""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING

import msgspec
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.reports import samples

from heaptrail.errors import FormatError, UsageError
from heaptrail.reports.jsonfile import JsonRenderer, load_report
from heaptrail.reports.terminal import TerminalRenderer
from heaptrail.suppressions import load_suppressions, mark_suppressed, sanitizer_entries
from heaptrail.symbols.patterns import matches

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.model.report import Report

TODAY = date(2026, 5, 1)
TOML = """
[[leak]]
pattern = "softvol_*"
reason = "waits for the vendor, ticket 812"
owner = "audio"
expires = 2026-06-30
"""


def marked(list_text: str, report: Report | None = None, tolerate: float | None = 100.0) -> Report:
    entries = sanitizer_entries(list_text, "known.supp")
    return mark_suppressed(report or samples.leak(), entries, today=TODAY, tolerate_bytes_per_cycle=tolerate)


def problems(report: Report) -> list[str]:
    return [problem.what for problem in report.problems if problem not in samples.PROBLEMS]


# --- Patterns, as LeakSanitizer reads them ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("softvol", "softvol_ap_update_mode", True),
        ("update", "softvol_ap_update_mode", True),
        ("^softvol", "softvol_ap_update_mode", True),
        ("^update", "softvol_ap_update_mode", False),
        ("mode$", "softvol_ap_update_mode", True),
        ("update$", "softvol_ap_update_mode", False),
        ("^softvol*mode$", "softvol_ap_update_mode", True),
        ("^a$", "aa", False),
        ("a*a$", "a", False),
        ("soft*update", "softvol_ap_update_mode", True),
        ("update*soft", "softvol_ap_update_mode", False),
        ("^*mode", "softvol_ap_update_mode", True),
        ("Softvol", "softvol", False),
        ("a.c", "abc", False),
        ("/lib/*.c", "/src/lib/deep/a.c", True),
    ],
)
def test_a_pattern_fits_as_in_leak_sanitizer(pattern: str, name: str, *, fits: bool) -> None:
    assert matches(pattern, name) is fits


@settings(max_examples=300, deadline=None)
@given(
    body=st.text("ab*", min_size=1, max_size=8),
    name=st.text("ab", max_size=8),
    at_start=st.booleans(),
    at_end=st.booleans(),
)
def test_a_pattern_fits_what_the_same_regular_expression_finds(
    body: str, name: str, *, at_start: bool, at_end: bool
) -> None:
    import re

    expression = ("^" if at_start else "") + body.replace("*", ".*") + (r"\Z" if at_end else "")
    pattern = ("^" if at_start else "") + body + ("$" if at_end else "")

    assert matches(pattern, name) is (re.search(expression, name) is not None)


def test_a_pattern_of_many_stars_costs_no_time() -> None:
    started = time.process_time()
    assert not matches("a*" * 400 + "b", "a" * 10_000)
    assert time.process_time() - started < 2


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_leak_sanitizer_file_is_read_as_it_is() -> None:
    entries = sanitizer_entries("# ours\n\n  leak:softvol_*\nleak:^libfoo.a$\r\n", "known.supp")

    assert [(entry.pattern, entry.place) for entry in entries] == [
        ("softvol_*", "known.supp:3"),
        ("^libfoo.a$", "known.supp:4"),
    ]


def test_a_toml_list_has_reason_owner_and_expiry(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(TOML)

    (entry,) = load_suppressions(path)

    assert entry.name == "leak:softvol_* (known.toml, entry 1)"
    assert (entry.reason, entry.owner, entry.expires) == (
        "waits for the vendor, ticket 812",
        "audio",
        date(2026, 6, 30),
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.supp", b"race:foo", "line 1: 'race:foo' does not begin with 'leak:'"),
        ("a.supp", b"leak:ok\nleak:", "a.supp:2: the pattern '' would match every leak"),
        ("a.supp", b"leak:*", "would match every leak"),
        ("a.supp", b"\x00\xff", "line 1"),
        ("a.supp", b"leak:" + b"x" * 2_000, "would match nothing"),
        ("a.supp", b"#" * ((1 << 20) + 1), "more than 1,048,576 bytes"),
        ("a.toml", b"[[leak]]\npattern = 'x'", "missing required field `reason`"),
        ("a.toml", b"[[leak]]\npattern = 'x'\nreason = 'y'\nexpire = 2026-01-01", "unknown field `expire`"),
        ("a.toml", b"[[leak", "no list of known leaks"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_the_place(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(FormatError) as caught:
        load_suppressions(tmp_path / name)
    assert says in caught.value.sentence


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_suppressions(tmp_path / "none.supp")


# --- Marking a report -------------------------------------------------------------------------------------------------


def test_a_known_leak_is_marked_and_stays_in_the_books() -> None:
    report = marked("leak:*_ap_update_mode\n")

    assert report.findings[0].suppressed_by == "leak:*_ap_update_mode (known.supp:1)"
    assert report.books == samples.leak().books
    assert report.verdict == "leak"
    (use,) = report.suppressions
    assert (use.status, use.findings, use.sites, use.live_bytes) == ("used", 1, 2, 92_160)
    text = TerminalRenderer().render(report).decode()
    assert "suppressed by leak:*_ap_update_mode (known.supp:1)\n" in text
    assert "  used     leak:*_ap_update_mode: 2 sites, 92,160 B live\n" in text


def test_all_leaks_known_and_the_books_balanced_is_all_suppressed() -> None:
    report = marked("leak:AudioTrack.c\n")

    assert report.all_suppressed
    assert report.headline.endswith("Every leak is on the list of known ones.")
    assert load_report(JsonRenderer().render(report)) == report


def test_books_that_leave_more_than_is_tolerated_are_not_excused() -> None:
    """768 B over 12 cycles, 64 B a cycle, have no site: a new leak may hide there."""
    assert not marked("leak:AudioTrack.c\n", tolerate=60.0).all_suppressed
    assert marked("leak:AudioTrack.c\n", tolerate=None).all_suppressed, "idle free heap / 3000 = 182 B"
    without = msgspec.structs.replace(samples.leak(), books=None)
    assert not marked("leak:AudioTrack.c\n", without).all_suppressed


def test_a_finding_of_which_one_site_is_unknown_is_not_suppressed() -> None:
    report = marked("leak:softvol_\n")

    assert report.findings[0].suppressed_by is None
    assert problems(report) == ["partly_suppressed"]
    assert "1 of 2 sites" in report.problems[-1].text


def test_an_entry_that_matches_no_leak_is_stale_even_where_its_site_still_holds_a_block() -> None:
    report = marked("leak:packet_cache_grow\nleak:AudioTrack\n")

    assert [use.status for use in report.suppressions] == ["stale", "used"]
    assert problems(report) == ["stale_suppression"]


def test_an_inconclusive_run_makes_no_entry_look_stale() -> None:
    assert problems(marked("leak:gone\n", samples.empty())) == []


@pytest.mark.parametrize(("day", "status"), [(date(2026, 6, 30), "used"), (date(2026, 7, 1), "expired")])
def test_an_entry_holds_until_its_day_is_over(tmp_path: Path, day: date, status: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(TOML.replace("softvol_*", "ap_update_mode"))

    report = mark_suppressed(samples.leak(), load_suppressions(path), today=day, tolerate_bytes_per_cycle=100)

    assert report.suppressions[0].status == status
    assert report.all_suppressed == (status == "used")
    assert problems(report) == ([] if status == "used" else ["expired_suppression"])


def test_another_list_replaces_the_first() -> None:
    again = marked("leak:nothing\n", marked("leak:AudioTrack.c\n"))

    assert again.findings[0].suppressed_by is None
    assert not again.all_suppressed
    assert again.headline == samples.leak().headline


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.reports, st.lists(st.text("ab*^$", min_size=1, max_size=5), max_size=3))
def test_marking_never_changes_a_verdict_or_figure(report: Report, patterns: list[str]) -> None:
    kept = [f"leak:{pattern}\n" for pattern in patterns if pattern.strip("^$* ")]

    found = marked("".join(kept), report)

    assert (found.verdict, found.books, len(found.findings)) == (report.verdict, report.books, len(report.findings))
    growing = [f for f in found.findings if f.finding_class in ("leak", "held_until_teardown")]
    assert not found.all_suppressed or all(f.suppressed_by for f in growing)
