"""FreeRTOS heap_1: no block can be told from its neighbours, so it says what is handed out and whether that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError
from heaptrail.model.verdict import JudgeSettings
from heaptrail.postmortem import CycleRule, examine, report_on
from heaptrail.ram.survey import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board

    from heaptrail.model.report import Report

    MakeBoard = Callable[..., Board]


def heap_1(make_board: MakeBoard, used: int) -> Board:
    board = make_board()
    board.variable("ucHeap", size=4096)
    board.variable("xNextFreeByte", used)
    return board


def report(boards: list[Board]) -> Report:
    firmware = boards[-1].firmware()
    examined = examine([board.image() for board in boards], firmware, Question(), CycleRule(apart=1))
    return report_on(examined, firmware, JudgeSettings(), options={})


def test_one_image_says_how_much_is_handed_out_and_accuses_nobody(make_board: MakeBoard) -> None:
    found = report([heap_1(make_board, 1024)])

    assert found.verdict == "inconclusive"
    assert "1,024 B of 4,096 B are handed out" in found.reasons[0]
    assert found.series[0].points[0].free_bytes == 3072
    assert found.findings == ()
    assert not any("nothing is unreachable" in reason for reason in found.reasons)


def test_a_heap_that_goes_on_handing_out_memory_leaks(make_board: MakeBoard) -> None:
    found = report([heap_1(make_board, 256 + 64 * number) for number in range(32)])

    assert found.verdict == "leak"
    assert found.rate_bytes_per_cycle is not None
    assert found.rate_bytes_per_cycle.estimate == pytest.approx(64)


def test_more_handed_out_than_there_is_means_another_elf(make_board: MakeBoard) -> None:
    with pytest.raises(EvidenceError, match="do not belong together"):
        report([heap_1(make_board, 5000)])
