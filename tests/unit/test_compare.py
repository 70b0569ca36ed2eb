"""Two reports: what is new, what grew, what is gone, and what cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import strategies
from hypothesis import HealthCheck, given, settings
from unit.reports import samples

from heaptrail.compare import compare
from heaptrail.model.verdict import Interval

if TYPE_CHECKING:
    from heaptrail.model.report import Report


def with_rate(report: Report, factor: float) -> Report:
    """The same sites, each losing `factor` times as much."""

    def scaled(thing: Any) -> Any:
        return msgspec.structs.replace(
            thing,
            per_cycle_bytes=thing.per_cycle_bytes * factor,
            per_cycle_footprint_bytes=thing.per_cycle_footprint_bytes * factor,
        )

    leak = report.findings[0]
    leak = msgspec.structs.replace(scaled(leak), sites=tuple(scaled(site) for site in leak.sites))
    return msgspec.structs.replace(report, findings=(leak, *report.findings[1:]))


def rebuilt(report: Report) -> Report:
    """The same program from another build: other addresses, lines, folders and build id."""

    def moved(frame: Any) -> Any:
        return msgspec.structs.replace(
            frame, pc=frame.pc + 64, line=frame.line + 3, file=frame.file.replace("dev", "ci")
        )

    findings = tuple(
        msgspec.structs.replace(
            finding,
            sites=tuple(
                msgspec.structs.replace(site, line=site.line + 3, frames=tuple(map(moved, site.frames)))
                for site in finding.sites
            ),
        )
        for finding in report.findings
    )
    elf = msgspec.structs.replace(report.provenance.elf, build_id="0" * 40)  # type: ignore[type-var]
    provenance = msgspec.structs.replace(report.provenance, elf=elf)
    return msgspec.structs.replace(report, findings=findings, provenance=provenance)


def without_site(report: Report, name: str) -> Report:
    leak = report.findings[0]
    kept = tuple(site for site in leak.sites if site.name != name)
    return msgspec.structs.replace(report, findings=(msgspec.structs.replace(leak, sites=kept), *report.findings[1:]))


def words(before: Report, after: Report) -> tuple[str, dict[str | None, str]]:
    found = compare(before, after)
    return found.outcome, {change.name: change.change for change in found.changes}


def test_the_same_leak_in_another_build_is_the_same_leak() -> None:
    outcome, changes = words(samples.leak(), rebuilt(samples.leak()))

    assert outcome == "same"
    assert changes == {"softvol_ap_update_mode": "same", "resample_ap_update_mode": "same"}


def test_a_mended_leak_is_gone() -> None:
    found = compare(samples.leak(), samples.no_leak())

    assert found.outcome == "better"
    assert {change.change for change in found.changes} == {"gone"}
    assert found.sentences()[0] == (
        "Better: the leak in resample_ap_update_mode (resample.c:410) is gone: 3,848 B per cycle before; 1 more change."
    )


def test_a_leak_where_there_was_none_is_new() -> None:
    assert words(samples.no_leak(), samples.leak())[0] == "worse"
    outcome, changes = words(without_site(samples.leak(), "resample_ap_update_mode"), samples.leak())
    assert (outcome, changes["resample_ap_update_mode"]) == ("worse", "new")


@pytest.mark.parametrize(
    ("factor", "outcome", "change"), [(1.05, "same", "same"), (1.5, "worse", "grown"), (0.5, "better", "shrunk")]
)
def test_a_rate_that_changes_by_more_than_a_tenth_counts(factor: float, outcome: str, change: str) -> None:
    found, changes = words(samples.leak(), with_rate(samples.leak(), factor))

    assert (found, changes["softvol_ap_update_mode"]) == (outcome, change)


def test_rates_with_and_without_the_allocators_header_are_not_mixed() -> None:
    """The first run had no ELF for the allocator's rule: 16 bytes of header on a small block would look like growth."""

    def small(report: Report, footprint: float | None) -> Report:
        leak = report.findings[0]
        changed = {"per_cycle_bytes": 16.0, "per_cycle_footprint_bytes": footprint}
        sites = tuple(msgspec.structs.replace(site, **changed) for site in leak.sites)
        return msgspec.structs.replace(report, findings=(msgspec.structs.replace(leak, sites=sites),))

    outcome, changes = words(small(samples.leak(), None), small(samples.leak(), 32.0))

    assert (outcome, set(changes.values())) == ("same", {"same"})


def test_half_mended_is_better_not_well() -> None:
    outcome, changes = words(samples.leak(), without_site(samples.leak(), "softvol_ap_update_mode"))

    assert outcome == "better"
    assert changes == {"softvol_ap_update_mode": "gone", "resample_ap_update_mode": "same"}


def test_an_inconclusive_second_run_shows_nothing_gone() -> None:
    after = msgspec.structs.replace(samples.empty(), provenance=samples.leak().provenance)

    outcome, changes = words(samples.leak(), after)

    assert outcome == "inconclusive"
    assert set(changes.values()) == {"not_shown"}


def test_an_inconclusive_first_run_makes_nothing_new() -> None:
    found = compare(samples.empty(), samples.leak())

    assert found.outcome == "inconclusive"
    assert "cannot tell whether this leak is new" in found.headline


def test_a_loss_that_rose_without_a_site_is_worse() -> None:
    after = msgspec.structs.replace(
        samples.leak(), rate_bytes_per_cycle=Interval(low=9_000.0, estimate=9_100.0, high=9_200.0)
    )

    found = compare(samples.leak(), after)

    assert found.outcome == "worse"
    assert "the loss rose from 7,696 to 9,100 B per cycle" in found.reasons[0]


def test_without_names_only_one_build_can_be_compared() -> None:
    def nameless(report: Report) -> Report:
        leak = report.findings[0]
        sites = tuple(
            msgspec.structs.replace(
                site, name=None, frames=tuple(msgspec.structs.replace(f, function=None) for f in site.frames)
            )
            for site in leak.sites
        )
        return msgspec.structs.replace(report, findings=(msgspec.structs.replace(leak, sites=sites),))

    assert compare(nameless(samples.leak()), nameless(samples.leak())).outcome == "same"
    other = compare(nameless(samples.leak()), nameless(rebuilt(samples.leak())))
    assert (other.outcome, "give both ELFs" in other.headline) == ("inconclusive", True)


def test_a_known_leak_is_no_reason() -> None:
    leak = msgspec.structs.replace(samples.leak().findings[0], suppressed_by="leak:ap_update_mode (known.supp:1)")
    known = msgspec.structs.replace(samples.leak(), findings=(leak,), all_suppressed=True)

    found = compare(samples.no_leak(), known)

    assert found.outcome == "same"
    assert {change.suppressed_by for change in found.changes} == {"leak:ap_update_mode (known.supp:1)"}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.reports, strategies.reports)
def test_any_two_reports_can_be_compared_and_a_report_with_itself_is_never_worse(a: Report, b: Report) -> None:
    assert compare(a, b).reasons
    assert compare(a, a).outcome != "worse" or (a.verdict == "leak" and not a.findings)
