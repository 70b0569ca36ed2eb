"""Whole hunts on a pretend board, and what is left when the board, the cable or the user ends them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from heaptrail.capture import CaptureHeader, CaptureWriter, read_capture
from heaptrail.clock import SystemClock
from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.nuttx import Nuttx
from heaptrail.errors import HeaptrailError, TargetError
from heaptrail.model.observations import Block
from heaptrail.procedures.hunt import HuntOutcome, HuntProgress, hunt
from heaptrail.procedures.target import transport_for
from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from heaptrail.procedures.workload import Workload

    Make = Callable[..., Workload]

TINA = ConsoleCommands(sample="free", arm="memleak 1", peek="memleak show", collect="memleak 0")
STEPS_OF_A_WHOLE_HUNT = [
    "step: workload start",
    "step: tracer on",
    "step: workload stop",
    "step: teardown done",
    "step: tracer off",
]


class Recorded:
    """A finished hunt and what its capture holds."""

    def __init__(self, outcome: HuntOutcome, path: Path, told: list[HuntProgress]) -> None:
        self.outcome = outcome
        self.told = told
        with path.open("rb") as file:
            _, reader = read_capture(file)
            self.events = list(reader)
        assert not reader.cut
        assert reader.bad_lines == 0

    @property
    def marks(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "m"]

    @property
    def typed(self) -> list[str]:
        return [event.text.strip() for event in self.events if event.kind == "i" and event.text.strip()]

    @property
    def output(self) -> str:
        return "".join(event.text for event in self.events if event.kind == "o")

    def rounds_before(self, command: str, *, nth: int = 0) -> int:
        """Rounds completed in the output before `command` was typed for the nth time."""
        places = [i for i, event in enumerate(self.events) if event.kind == "i" and event.text.strip() == command]
        before = self.events[: places[nth]]
        return "".join(event.text for event in before if event.kind == "o").count("playback round")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Recorded]:
    def go(
        workload: Workload,
        commands: ConsoleCommands = TINA,
        watch: Callable[[HuntProgress], None] | None = None,
    ) -> Recorded:
        path = tmp_path / "run.cast"
        told: list[HuntProgress] = []

        def tell(progress: HuntProgress) -> None:
            told.append(progress)
            if watch is not None:
                watch(progress)

        capture = CaptureWriter(path, CaptureHeader(), SystemClock())
        outcome = hunt(workload, commands, transport_for(workload), capture, clock=SystemClock(), progress=tell)
        return Recorded(outcome, path, told)

    return go


Run = "Callable[..., Recorded]"


def test_a_hunt_follows_the_procedure_of_the_case(workload: Make, run: Run) -> None:
    done = run(workload())

    assert done.outcome.phase == "done"
    assert done.outcome.error is None
    assert not done.outcome.left_armed
    assert done.marks == STEPS_OF_A_WHOLE_HUNT
    assert [command for command, _ in itertools.groupby(done.typed)] == [
        "free",
        "rtplayer_test a.wav",
        "l",
        "free",
        "memleak 1",
        "free",
        "memleak show",
        "free",
        "memleak show",
        "free",
        "memleak show",
        "rtpc q",
        "memleak 0",
        "free",
    ]


def test_rounds_are_counted_before_the_tracer_and_listings_are_spread_over_the_traced_ones(
    workload: Make, run: Run
) -> None:
    done = run(workload("--round-s 0.03"))

    armed = done.rounds_before("memleak 1")
    assert armed >= 2 + 6
    peeks = [done.rounds_before("memleak show", nth=nth) - armed for nth in range(3)]
    assert peeks[0] >= 2
    assert peeks[1] >= 4
    assert peeks[2] >= 6
    assert done.rounds_before("memleak 0") >= armed + 6
    assert done.outcome.readings == done.typed.count("free")
    assert done.outcome.dumps == 4


def test_progress_says_what_happens_and_how_much_is_free(workload: Make, run: Run) -> None:
    done = run(workload())

    phases = [phase for phase, _ in itertools.groupby(done.told, key=lambda told: told.phase)]
    assert phases == ["connect", "start", "warm-up", "measure", "trace", "stop", "collect", "done"]
    assert all(told.done <= told.total for told in done.told)
    assert all(told.text for told in done.told)
    figures = [told.free_bytes for told in done.told if told.free_bytes is not None]
    assert figures[0] == 547_632
    assert min(figures) < 547_632 - 14 * 2 * 0xF00


def test_steps_can_be_the_rounds_and_each_is_marked(workload: Make, run: Run) -> None:
    done = run(
        workload(
            start=[], stop=[], cycle=[{"send": "connect", "expect": "connected"}], cycle_mark=None, warmup_cycles=1
        )
    )

    assert done.outcome.cycles == 13
    assert done.marks.count("cycle") == 13
    assert done.marks.index("step: tracer on") == 1 + 7
    assert "step: workload stop" not in done.marks
    assert done.typed.count("connect") == 13


def test_readings_can_be_rarer_than_rounds(workload: Make, run: Run) -> None:
    done = run(workload("--round-s 0.03", sample_every_cycles=3))

    assert done.outcome.readings == 1 + 1 + 2 + 2 + 1


@pytest.mark.parametrize("fault", ["--chatter", "--bursts", "--no-echo", "--swallow 4", "--slow 0.00002"])
def test_a_difficult_console_is_hunted_all_the_same(workload: Make, run: Run, fault: str) -> None:
    done = run(workload(fault))

    assert done.outcome.phase == "done"
    assert done.outcome.error is None
    assert done.marks == STEPS_OF_A_WHOLE_HUNT
    assert "size = 0x00000f00" in done.output


def test_a_board_that_resets_is_started_again_and_hunted_to_the_end(workload: Make, run: Run) -> None:
    done = run(workload("--reboot-at 5 --reboots 2"))

    assert done.outcome.phase == "done"
    assert done.outcome.reboots == 2
    assert done.marks == ["step: workload start", "boot", "step: workload start", "boot", *STEPS_OF_A_WHOLE_HUNT]
    assert done.outcome.notes == ("the device began anew in the phase measure",) * 2


def test_a_reset_with_the_tracer_on_traces_anew_but_does_not_measure_again(workload: Make, run: Run) -> None:
    done = run(workload("--round-s 0.03 --reboot-at 11 --reboots 1"))

    assert done.outcome.phase == "done"
    assert done.outcome.notes == ("the device began anew in the phase trace",)
    assert done.typed.count("memleak 1") == 2
    assert done.marks[-4:] == STEPS_OF_A_WHOLE_HUNT[-4:]


def test_a_board_that_resets_again_and_again_is_given_up(workload: Make, run: Run) -> None:
    done = run(workload("--reboot-at 3 --reboots 100"))

    assert done.outcome.reboots == 4
    assert done.outcome.error is not None
    assert "the device began anew 4 times" in done.outcome.error.sentence
    assert done.marks.count("boot") == 4


def test_a_board_that_dies_leaves_all_that_was_recorded(workload: Make, run: Run) -> None:
    done = run(workload("--die-at 9"))

    assert isinstance(done.outcome.error, TargetError)
    assert "was killed by SIGKILL" in done.outcome.error.sentence
    assert "playback round 8 complete" in done.output


def test_a_round_that_never_ends_is_said_and_the_board_left_in_order(workload: Make, run: Run) -> None:
    done = run(workload("--stuck-at 10", cycle_timeout_s=0.4))

    assert done.outcome.error is not None
    assert "did not end within 0.4 s: no line matched" in done.outcome.error.sentence
    assert done.outcome.phase == "trace"
    assert done.typed[-2:] == ["rtpc q", "memleak 0"]
    assert not done.outcome.left_armed


@pytest.mark.parametrize(("round_number", "phase"), [(5, "measure"), (10, "trace")])
def test_memory_that_runs_out_ends_the_hunt_with_what_is_known(
    workload: Make, run: Run, monkeypatch: pytest.MonkeyPatch, round_number: int, phase: str
) -> None:
    monkeypatch.setattr("heaptrail.procedures.driver._AFTER_OUT_OF_MEMORY_S", 0.2)
    done = run(workload(f"--out-of-memory-at {round_number}"))

    assert done.outcome.phase == "done"
    assert done.outcome.out_of_memory == "softvol_ap_update_mode: no memory"
    assert done.outcome.notes[0].startswith(f"the workload ended in the phase {phase}")
    assert done.marks[-1] == ("step: tracer off" if phase == "trace" else "step: teardown done")
    assert ("memleak 0" in done.typed) == (phase == "trace")


@pytest.mark.parametrize("phase", ["connect", "start", "measure", "trace", "collect"])
def test_control_c_leaves_the_board_in_order_and_a_usable_capture(workload: Make, run: Run, phase: str) -> None:
    def interrupt(progress: HuntProgress) -> None:
        if progress.phase == phase and progress.done == progress.total // 2 and "order" not in progress.text:
            raise KeyboardInterrupt

    done = run(workload(), watch=interrupt)

    assert done.outcome.interrupted
    assert done.outcome.phase == phase
    assert not done.outcome.left_armed
    assert ("memleak 1" in done.typed) == ("memleak 0" in done.typed)
    if phase in ("measure", "trace"):
        assert "rtpc q" in done.typed


def test_a_second_control_c_ends_at_once_and_says_that_the_tracer_runs(workload: Make, run: Run) -> None:
    def impatient(progress: HuntProgress) -> None:
        if (progress.phase == "trace" and progress.done) or "interrupted" in progress.text:
            raise KeyboardInterrupt

    done = run(workload(), watch=impatient)

    assert done.outcome.interrupted
    assert done.outcome.left_armed
    assert "the tracer could not be switched off" in done.outcome.notes[-1]
    assert "memleak 0" not in done.typed


def test_a_console_that_hangs_with_the_tracer_on_is_given_up_in_bounded_time(
    workload: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STEP", "PROMPT", "DUMP"):
        monkeypatch.setattr(f"heaptrail.procedures.driver._WIND_DOWN_{name}_S", 0.2)
    done = run(workload("--hang-after 14", target={"answer_timeout_s": 1.5}))

    assert done.outcome.error is not None
    assert "the prompt 'c906>' did not come after" in done.outcome.error.sentence
    assert done.outcome.left_armed
    assert "the tracer could not be switched off" in done.outcome.notes[-1]


def test_a_console_that_never_answers_is_one_sentence(workload: Make, run: Run) -> None:
    done = run(workload("--silent", target={"answer_timeout_s": 0.4}))

    assert done.outcome.error is not None
    assert "a prompt did not come within 0.4 s" in done.outcome.error.sentence
    assert done.outcome.phase == "connect"
    assert done.marks == []


def test_a_program_that_is_not_there_is_one_sentence(workload: Make, run: Run) -> None:
    done = run(workload(target={"console": "exec:./no-such-program"}))

    assert done.outcome.error is not None
    assert "cannot be started" in done.outcome.error.sentence


def test_a_console_without_a_tracer_is_measured_only(workload: Make, run: Run) -> None:
    done = run(workload(), commands=ConsoleCommands(sample="free"))

    assert done.outcome.phase == "done"
    assert "no command for a tracer" in done.outcome.notes[0]
    assert done.outcome.dumps == 0
    assert "memleak 1" not in done.typed


def test_a_full_disk_ends_the_hunt_and_the_board_is_left_in_order(
    workload: Make, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: CaptureWriter, what: str, label: str = "") -> None:
        if label == "tracer on":
            raise HeaptrailError(f"the disk is full at {what}", try_this="make room")

    monkeypatch.setattr(CaptureWriter, "mark", full)
    done = run(workload())

    assert done.outcome.error is not None
    assert "the disk is full" in done.outcome.error.sentence
    assert not done.outcome.left_armed


def test_where_the_allocator_always_records_blocks_are_listed_and_nothing_is_switched(
    workload: Make, run: Run, tmp_path: Path
) -> None:
    done = run(workload("--nuttx"), commands=Nuttx.commands)

    assert done.outcome.phase == "done"
    assert done.outcome.notes == ("this console does not know `ps`",)
    assert not done.outcome.left_armed
    assert done.typed.count("memdump used") == done.outcome.dumps == 4
    assert not [mark for mark in done.marks if "tracer" in mark]
    found = list(observe(tmp_path / "run.cast", ReadOptions(dialect="nuttx")))
    blocks = [sum(isinstance(each, Block) and each.dump == number for each in found) for number in range(1, 5)]
    assert blocks[0] < blocks[1] < blocks[2], "they are listed while the workload runs"
    assert blocks[3] == 1, "and after it"
