"""Conversations with a pretend board that behaves and misbehaves, over a real pseudo terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.capture import read_capture
from heaptrail.errors import TargetError
from heaptrail.procedures.console import ConsoleTimeout, Rebooted
from heaptrail.procedures.workload import Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from heaptrail.procedures.console import Console
    from heaptrail.procedures.workload import Workload

    Make = Callable[..., Workload]
    Open = Callable[[Workload], Console]


def free_figures(answer: list[str]) -> list[str]:
    return [line for line in answer if " Free : " in line]


@pytest.mark.parametrize("prompt", [None, "c906>", r"c\d+>\s*"])
@pytest.mark.parametrize("faults", [(), ("--no-echo",), ("--chatter",), ("--swallow 3",), ("--slow 0.0005",)])
def test_an_answer_is_what_stands_between_echo_and_prompt(
    workload: Make, console: Open, faults: tuple[str, ...], prompt: str | None
) -> None:
    board = console(workload(*faults, target={"prompt": prompt} if prompt else None))
    board.connect()

    for _ in range(3):
        answer = board.command("free")
        told = [line for line in answer if line and "[wifi]" not in line]
        assert told[0] == "==> Round [1] <=="
        assert len(told) == 4
        assert len(free_figures(answer)) == 2


def test_a_command_without_an_answer_ends_at_the_prompt(workload: Make, console: Open) -> None:
    board = console(workload())
    board.connect()

    assert board.command("memleak 1") == []
    assert board.command("status") == ["tracer on, stopped"]


def test_characters_are_sent_at_the_pace_of_the_console_and_recorded(
    workload: Make, console: Open, tmp_path: Path
) -> None:
    board = console(workload(target={"char_delay_s": 0.001}))
    board.connect()
    board.command("free")

    with (tmp_path / "run.cast").open("rb") as file:
        typed = [event.text for event in read_capture(file)[1] if event.kind == "i"]
    assert typed[-5:] == ["f", "r", "e", "e", "\r"]


def test_every_round_counts_even_when_several_end_at_once_during_a_command(workload: Make, console: Open) -> None:
    board = console(workload("--bursts"))
    board.connect()
    board.perform(Step(send="rtplayer_test a.wav", expect="playing"))
    board.perform(Step(send="l"))
    while board.lines.cycles < 9:
        board.command("free")
    board.command("rtpc q")

    assert board.lines.cycles % 3 == 0
    rounds = [line for line in board.lines.since(0) if "playback round" in line]
    assert len(rounds) == board.lines.cycles


def test_a_console_that_never_answers_ends_with_one_sentence(workload: Make, console: Open) -> None:
    board = console(workload("--silent", target={"answer_timeout_s": 0.5, "prompt": "c906>"}))

    with pytest.raises(
        ConsoleTimeout, match=r"the prompt 'c906>' did not come within 0.5 s, and nothing else"
    ) as caught:
        board.connect()
    assert "power" in caught.value.try_this


def test_noise_points_to_the_baud_rate(workload: Make, console: Open) -> None:
    board = console(workload("--noise", target={"answer_timeout_s": 1.0}))

    with pytest.raises(ConsoleTimeout, match="which looks like noise") as caught:
        board.connect()
    assert "baud than 115200" in caught.value.try_this


def test_another_prompt_than_configured_is_shown(workload: Make, console: Open) -> None:
    board = console(workload(target={"answer_timeout_s": 0.5, "prompt": "nsh>"}))

    with pytest.raises(ConsoleTimeout, match=r"the prompt 'nsh>' did not come.*c906>'"):
        board.connect()


def test_a_console_that_hangs_in_a_command_is_said(workload: Make, console: Open) -> None:
    board = console(workload("--hang-after 2", target={"answer_timeout_s": 0.4}))
    board.connect()
    board.command("free")

    with pytest.raises(ConsoleTimeout, match=r"the prompt 'c906>' did not come after `free` within"):
        board.command("free")


def test_a_console_that_loses_every_first_character_is_said(workload: Make, console: Open) -> None:
    board = console(workload("--swallow -1"))
    board.connect()

    with pytest.raises(ConsoleTimeout, match="lost the first character of `free` 3 times") as caught:
        board.command("free")
    assert "char_delay_s" in caught.value.try_this


def test_a_step_that_is_not_answered_is_said(workload: Make, console: Open) -> None:
    board = console(workload())
    board.connect()

    with pytest.raises(ConsoleTimeout, match=r"nothing matched 'boo' within 0.2 s after sending 'echo boo'"):
        board.perform(Step(send="echo boo", expect="boo", timeout_s=0.2))


def test_a_reset_is_noticed_and_marked(workload: Make, console: Open, tmp_path: Path) -> None:
    board = console(workload("--reboot-at 2 --reboots 1"))
    board.connect()
    board.perform(Step(send="rtplayer_test a.wav", expect="playing"))

    with pytest.raises(Rebooted):
        board.perform(Step(send="l", sleep_s=5))
    with (tmp_path / "run.cast").open("rb") as file:
        marks = [event.text for event in read_capture(file)[1] if event.kind == "m"]
    assert marks == ["boot"]


def test_a_board_that_dies_is_said(workload: Make, console: Open) -> None:
    board = console(workload("--die-at 2"))
    board.connect()
    board.perform(Step(send="rtplayer_test a.wav", expect="playing"))

    with pytest.raises(TargetError, match="was killed by SIGKILL"):
        board.perform(Step(send="l", sleep_s=5))


def test_a_talking_board_never_settles_and_a_quiet_one_does(workload: Make, console: Open) -> None:
    quiet, talking = console(workload()), console(workload("--chatter"))
    quiet.connect()
    talking.connect()

    assert quiet.settle(0.05, 2.0)
    assert not talking.settle(0.2, 0.4)
