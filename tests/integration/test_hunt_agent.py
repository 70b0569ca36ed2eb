"""A hunt that finds out that the tracer is heaptrail's own: compact listings, and counters of each site every round."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.capture import CaptureWriter, read_capture
from heaptrail.clock import SystemClock
from heaptrail.dialects.heaptrail_agent import HeaptrailAgent
from heaptrail.dialects.tina import Tina
from heaptrail.interpret import Interpretation, interpret
from heaptrail.model.observations import SiteCount
from heaptrail.procedures.hunt import HuntOutcome, HuntProgress, hunt
from heaptrail.procedures.listing import listing_of
from heaptrail.procedures.target import capture_header, transport_for
from heaptrail.procedures.workload import load_workload
from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from heaptrail.dialects import ConsoleCommands

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"


class Hunted:
    """What was typed, what came, and how it ended."""

    def __init__(self, outcome: HuntOutcome, path: Path, told: list[HuntProgress]) -> None:
        self.outcome, self.path, self.told = outcome, path, told
        with path.open("rb") as file:
            _, events = read_capture(file)
            kept = list(events)
        self.typed = [event.text.strip() for event in kept if event.kind == "i" and event.text.strip()]
        self.output = "".join(event.text for event in kept if event.kind == "o")


def hunted(folder: Path, dialect: str, commands: ConsoleCommands | None) -> Hunted:
    workload = load_workload(WORKLOAD)
    console = "exec:../../out/rtplayer/rtplayer --rounds-per-second 100 --speed 0"
    target = msgspec.structs.replace(workload.target, console=console, dialect=dialect)
    plan = msgspec.structs.replace(workload.workload, measured_cycles=6, traced_cycles=12)
    workload = msgspec.structs.replace(workload, target=target, workload=plan)
    clock, path, told = SystemClock(), folder / "run.cast", []
    header = capture_header(workload, dialect=dialect, build_id=None, started_unix_s=None)
    capture = CaptureWriter(path, header, clock)
    outcome = hunt(workload, commands, transport_for(workload), capture, clock=clock, progress=told.append)
    return Hunted(outcome, path, told)


@pytest.fixture
def by_name(players: dict[str, Path], tmp_path: Path) -> Hunted:
    assert players["leaking"].exists()
    return hunted(tmp_path, "heaptrail", HeaptrailAgent.commands)


def test_each_site_is_counted_after_every_round_and_the_counts_reach_the_evidence(by_name: Hunted) -> None:
    counts = [each for each in observe(by_name.path, ReadOptions()) if isinstance(each, SiteCount)]
    leaking = [each for each in counts if each.live_bytes == 0xF00 * each.live_blocks and each.live_blocks > 4]

    assert by_name.outcome.error is None
    assert by_name.typed.count("memleak sites") >= 6
    assert len({each.cycle for each in leaking}) >= 3
    assert {each.site for each in leaking if each.live_blocks >= 6}, "the two that leak grow from round to round"


def test_listings_are_compact_and_the_last_one_is_announced_with_its_blocks(by_name: Hunted) -> None:
    assert by_name.typed.count("memleak show compact") == 3
    assert "memleak show" not in by_name.typed
    announced = [step.text for step in by_name.told if step.text.startswith("listing ")]
    assert len(announced) == 4
    assert all(re.fullmatch(r"listing \d+ live blocks?", text) for text in announced)


def test_the_estimate_is_near_what_the_listing_took(by_name: Hunted) -> None:
    asked = by_name.output.rindex("memleak sites")
    printed = by_name.output[by_name.output.index("heaptrail: begin dump") :]
    printed = printed[: printed.index("heaptrail: end dump")]

    listing = listing_of(by_name.output[asked:].splitlines())

    assert listing is not None
    assert abs(listing.case_bytes - len(printed)) < 0.25 * len(printed) + 300


def test_a_console_that_nobody_named_is_known_by_its_first_listing(players: dict[str, Path], tmp_path: Path) -> None:
    """`auto` begins with Tina's commands, which the agent understands, too."""
    found = hunted(tmp_path, "auto", Tina.commands)

    assert found.typed.count("memleak show") == 1
    assert found.typed.count("memleak show compact") == 2
    assert "memleak sites" in found.typed
    report = interpret([found.path], ReadOptions(), Interpretation(elf=players["leaking"]))
    assert report.verdict == "leak"
    assert {site.name for site in report.findings[0].sites} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
