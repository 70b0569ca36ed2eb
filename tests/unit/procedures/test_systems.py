"""Hunts on boards that speak as each of the systems: found by asking, driven by its own commands, faults and all."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from heaptrail.capture import CaptureHeader, CaptureWriter, read_capture
from heaptrail.clock import SystemClock
from heaptrail.dialects import ConsoleCommands
from heaptrail.interpret import Interpretation, interpret
from heaptrail.model.observations import Block, HeapSample, Problem
from heaptrail.procedures.hunt import HuntOutcome, hunt
from heaptrail.procedures.identify import is_refused
from heaptrail.procedures.target import transport_for
from heaptrail.procedures.workload import Workload, parse_workload
from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

DEVICE = Path(__file__).parent / "speaking_device.py"
ROUNDS = {"warmup_cycles": 1, "measured_cycles": 3, "traced_cycles": 3}
LOST_BYTES, OLD_BYTES = 64, 128


class Hunted(NamedTuple):
    outcome: HuntOutcome
    capture: Path

    @property
    def found(self) -> list[AnyObservation]:
        return list(observe(self.capture, ReadOptions()))

    @property
    def typed(self) -> list[str]:
        with self.capture.open("rb") as file:
            _, events = read_capture(file)
            return [event.text.strip() for event in events if event.kind == "i" and event.text.strip()]

    @property
    def blocks(self) -> list[list[int]]:
        """Sizes of the blocks in each listing."""
        listed: dict[int, list[int]] = {}
        for block in self.found:
            if isinstance(block, Block):
                listed.setdefault(block.dump, []).append(block.size_bytes)
        return list(listed.values())

    @property
    def free(self) -> list[int]:
        return [each.free_bytes for each in self.found if isinstance(each, HeapSample) and each.free_bytes is not None]


def workload(system: str, *faults: str, rounds: dict[str, int] | None = None) -> Workload:
    console = f'exec:"{sys.executable}" "{DEVICE}" {system} {" ".join(faults)}'
    plan = {"cycle": [{"send": "connect", "expect": "connected"}], **(rounds or ROUNDS)}
    return parse_workload({"target": {"console": console, "answer_timeout_s": 20.0}, "workload": plan}, folder=Path())


@pytest.fixture
def hunted(tmp_path: Path) -> Callable[..., Hunted]:
    def go(
        system: str, *faults: str, commands: ConsoleCommands | None = None, rounds: dict[str, int] | None = None
    ) -> Hunted:
        plan, capture, clock = workload(system, *faults, rounds=rounds), tmp_path / "run.cast", SystemClock()
        writer = CaptureWriter(capture, CaptureHeader(dialect="auto"), clock)
        return Hunted(hunt(plan, commands, transport_for(plan), writer, clock=clock), capture)

    return go


SYSTEMS = ("nuttx", "rtthread", "zephyr", "espidf", "tina")
FAULTS = ("--no-echo", "--chatter", "--slow 0.0002")
ESP_TRACE = ConsoleCommands(sample="free", arm="trace start", peek="trace dump", collect="trace stop")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_console_is_known_by_its_prompt_and_nothing_but_its_own_commands_is_typed(
    hunted: Callable[..., Hunted], system: str
) -> None:
    done = hunted(system)

    assert done.outcome.error is None
    assert done.outcome.phase == "done"
    assert done.outcome.notes[0].startswith(f"the console is taken for {system}: its prompt is `")
    assert "help" not in done.typed
    assert len(done.free) >= 6
    assert {after - before for before, after in itertools.pairwise(done.free[1:5])} == {-LOST_BYTES}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("system", ["nuttx", "rtthread", "zephyr", "tina"])
def test_blocks_of_the_lost_rounds_are_listed_whatever_the_console_does(
    hunted: Callable[..., Hunted], system: str, fault: str
) -> None:
    done = hunted(system, fault)

    assert done.outcome.error is None
    assert done.outcome.dumps == 4
    assert [sizes.count(LOST_BYTES) for sizes in done.blocks] == sorted(
        sizes.count(LOST_BYTES) for sizes in done.blocks
    )
    assert done.blocks[-1].count(LOST_BYTES) >= 3


def test_nuttx_lists_what_was_born_since_the_workload_began(hunted: Callable[..., Hunted]) -> None:
    done = hunted("nuttx", rounds={"warmup_cycles": 1, "measured_cycles": 16, "traced_cycles": 12})

    assert done.typed.count("memdump used 21") == 4
    assert "ps" in done.typed
    assert not any(OLD_BYTES in sizes for sizes in done.blocks), "blocks from before the workload are left out"
    report = interpret([done.capture], ReadOptions(), Interpretation())
    assert [finding.finding_class for finding in report.findings[:1]] == ["leak"]
    assert [site.frames[0].pc for site in report.findings[0].sites] == [0x0803_0000]


def test_nuttx_without_sequence_numbers_lists_everything(hunted: Callable[..., Hunted]) -> None:
    done = hunted("nuttx", "--no-sequence")

    assert done.typed.count("memdump used") == 4
    assert done.blocks[-1].count(OLD_BYTES) == 20


@pytest.mark.parametrize("system", ["nuttx", "rtthread", "zephyr", "tina"])
def test_a_firmware_without_its_tracer_is_said_and_what_it_needs(hunted: Callable[..., Hunted], system: str) -> None:
    done = hunted(system, "--bare")

    assert done.outcome.error is None
    assert (done.outcome.dumps, done.outcome.left_armed) == (0, False)
    assert any("this console does not know `" in note and "; that takes " in note for note in done.outcome.notes)
    assert len(done.free) >= 6


@pytest.mark.parametrize("system", ["nuttx", "zephyr"])
def test_a_listing_that_was_cut_is_not_called_whole(hunted: Callable[..., Hunted], system: str) -> None:
    done = hunted(system, "--cut-dump")

    assert done.outcome.error is None
    assert "missing_records" in {each.what for each in done.found if isinstance(each, Problem)}


def test_esp_idf_has_no_command_for_traces_and_the_note_says_what_it_takes(hunted: Callable[..., Hunted]) -> None:
    done = hunted("espidf")

    assert any("heap_trace_start" in note and "[target.commands]" in note for note in done.outcome.notes)


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_esp_idf_traces_with_commands_of_the_firmwares_own(hunted: Callable[..., Hunted], fault: str) -> None:
    done = hunted("espidf", fault, commands=ESP_TRACE)

    assert done.outcome.error is None
    assert done.outcome.dumps == 4
    assert all(set(sizes) == {LOST_BYTES} for sizes in done.blocks)


def test_a_prompt_that_many_have_is_followed_by_a_question(hunted: Callable[..., Hunted]) -> None:
    done = hunted("unmarked")

    assert done.typed[0] == "help"
    assert done.outcome.notes[0] == "the console is taken for tina: its `help` says `memleak trace the heap`"
    assert done.blocks[-1] == [LOST_BYTES] * 3


def test_a_console_that_nobody_knows_ends_the_hunt_with_a_sentence(hunted: Callable[..., Hunted]) -> None:
    done = hunted("strange")

    assert "neither its prompt `#` nor its `help` shows what it is" in done.outcome.notes[0]
    assert done.outcome.error is not None
    assert "the console does not know `free`" in done.outcome.error.sentence
    assert "connect" not in done.typed


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (["nsh: memdump: command not found"], True),
        (["Unrecognized command"], True),
        (["Command not recognised.  Enter 'help' to view a list of available commands."], True),
        (["[wifi] beacon 3", "memdump: command not found."], True),
        (["[cloud] reboot: invalid command from server"], False),
        (["memdump " + "x" * 200 + " unknown command"], False),
        ([], False),
    ],
)
def test_a_refusal_is_told_from_what_other_tasks_print(answer: list[str], *, refused: bool) -> None:
    assert is_refused("memdump used", answer) == refused
