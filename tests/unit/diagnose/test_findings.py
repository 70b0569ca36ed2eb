"""Which sites become one finding, what names them, and when nothing may."""

from __future__ import annotations

from typing import Any

from heaptrail.diagnose.findings import findings_of
from heaptrail.model.observations import RawFrame
from heaptrail.model.report import Frame
from heaptrail.model.verdict import SiteVerdict, Verdict
from heaptrail.symbols import FakeSymbolizer, NoSymbols

MALLOC, CALLOC, SOFTVOL, RESAMPLE, START, DEVICE, TASK, OTHER = range(0x1000, 0x9000, 0x1000)


def frame(pc: int, function: str, line: int, *, wrapper: bool = False, inlined: bool = False) -> Frame:
    return Frame(
        pc=pc, kind="call", function=function, file=f"/src/{function}.c", line=line, wrapper=wrapper, inlined=inlined
    )


SYMBOLS = FakeSymbolizer(
    {
        MALLOC: (frame(MALLOC, "pvPortMalloc", 10, wrapper=True),),
        CALLOC: (frame(CALLOC, "pvPortCalloc", 20, wrapper=True),),
        SOFTVOL: (frame(SOFTVOL, "softvol_ap_update_mode", 250),),
        RESAMPLE: (frame(RESAMPLE, "resample_ap_update_mode", 310),),
        START: (frame(START, "_AudioTrackStart", 163),),
        DEVICE: (frame(DEVICE, "startSoundDevice", 800, inlined=True), frame(DEVICE, "doRender", 942)),
        TASK: (frame(TASK, "render_task", 77),),
        OTHER: (frame(OTHER, "log_open", 5),),
    }
)


def site(*pcs: int, site_class: str = "leak", per_cycle: float | None = 1.0, **more: Any) -> SiteVerdict:
    facts: dict[str, Any] = {
        "live_blocks": 15,
        "live_bytes": 15 * 3840,
        "size_kind": "requested",
        "sizes_bytes": (3840,),
        "tasks": ("AudioRender",),
        "per_cycle_bytes": None if per_cycle is None else per_cycle * 3840,
    }
    return SiteVerdict(
        frames=tuple(RawFrame(pc=pc, kind="call") for pc in pcs),
        site_class=site_class,
        per_cycle_blocks=per_cycle,
        **(facts | more),
    )


SOFTVOL_SITE = site(MALLOC, CALLOC, SOFTVOL, START, DEVICE, TASK)
RESAMPLE_SITE = site(MALLOC, CALLOC, RESAMPLE, START, DEVICE, TASK)


def judged(*sites: SiteVerdict) -> Verdict:
    return Verdict(verdict="leak", reasons=("seen",), sites=sites)


def test_two_plugins_that_one_start_routine_calls_are_one_finding_with_two_sites() -> None:
    (finding,) = findings_of(judged(SOFTVOL_SITE, RESAMPLE_SITE), SYMBOLS)

    assert [s.name for s in finding.sites] == ["softvol_ap_update_mode", "resample_ap_update_mode"]
    assert finding.per_cycle_blocks == 2.0
    assert finding.summary == (
        "softvol_ap_update_mode (softvol_ap_update_mode.c:250) and resample_ap_update_mode "
        "(resample_ap_update_mode.c:310) each leave 1 block of 3,840 B (0xf00) per cycle, "
        "reached from _AudioTrackStart (_AudioTrackStart.c:163)"
    )


def test_what_is_true_of_all_sites_of_a_finding_is_said_once() -> None:
    softvol = site(MALLOC, CALLOC, SOFTVOL, START, DEVICE, TASK, evidence=("1 more each cycle.", "14 of 15 stayed."))
    resample = site(MALLOC, CALLOC, RESAMPLE, START, DEVICE, TASK, evidence=("1 more each cycle.",))

    (finding,) = findings_of(judged(softvol, resample), SYMBOLS)

    assert set(finding.evidence) == {"each site: 1 more each cycle.", "softvol_ap_update_mode: 14 of 15 stayed."}


def test_two_leaks_that_share_only_the_task_entry_are_two_findings() -> None:
    elsewhere = site(MALLOC, OTHER, TASK)

    findings = findings_of(judged(SOFTVOL_SITE, elsewhere), SYMBOLS)

    assert sorted(f.sites[0].name or "" for f in findings) == ["log_open", "softvol_ap_update_mode"]


def test_sites_with_different_counts_per_cycle_are_two_findings() -> None:
    rarer = site(MALLOC, CALLOC, RESAMPLE, START, DEVICE, TASK, per_cycle=0.5)

    assert len(findings_of(judged(SOFTVOL_SITE, rarer), SYMBOLS)) == 2


def test_inlined_frames_follow_the_raw_address_that_they_share() -> None:
    (finding,) = findings_of(judged(SOFTVOL_SITE), SYMBOLS)

    functions = [(f.function, f.inlined) for f in finding.sites[0].frames if f.pc == DEVICE]
    assert functions == [("startSoundDevice", True), ("doRender", False)]


def test_a_stack_that_ends_inside_the_allocator_names_no_one() -> None:
    (finding,) = findings_of(judged(site(MALLOC, CALLOC)), SYMBOLS)

    assert finding.sites[0].name is None
    assert "Site unknown" in " ".join(finding.advice)


def test_one_frame_that_all_blocks_share_is_the_tracers_own_and_accuses_no_one() -> None:
    shared = site(OTHER, sizes_bytes=(16, 3840), tasks=("AudioRender", "Demux"))

    (finding,) = findings_of(judged(shared), SYMBOLS)

    assert finding.sites[0].name is None


def test_without_an_elf_a_finding_is_known_by_its_addresses() -> None:
    (finding,) = findings_of(judged(SOFTVOL_SITE), NoSymbols())

    assert finding.sites[0].name is None
    assert "0x00001000 < 0x00002000 < 0x00003000" in finding.summary
    assert any("--elf" in sentence for sentence in finding.advice)


def test_leaks_rank_before_what_is_innocent_and_by_bytes_per_cycle() -> None:
    innocent = site(MALLOC, OTHER, TASK, site_class="in_flight", per_cycle=None, live_bytes=10**9)
    small = site(MALLOC, RESAMPLE, TASK, per_cycle=0.05)

    findings = findings_of(judged(innocent, small, SOFTVOL_SITE), SYMBOLS)

    assert [f.sites[0].name for f in findings] == ["softvol_ap_update_mode", "resample_ap_update_mode", "log_open"]


def test_a_site_whose_last_block_goes_at_teardown_is_told_about_the_overwritten_pointer() -> None:
    (finding,) = findings_of(judged(site(MALLOC, SOFTVOL, START, TASK, freed_at_teardown=1)), SYMBOLS)

    assert "overwritten" in finding.advice[0]
