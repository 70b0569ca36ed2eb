"""What the report says of one image and of several: verdict, findings, sentences, exit by the ladder of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError, UsageError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.verdict import JudgeSettings
from heaptrail.postmortem import CycleRule, examine, report_on
from heaptrail.ram.firmware import Firmware
from heaptrail.ram.survey import Question
from heaptrail.reports.wording import meaning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Heap4Writer

    from heaptrail.model.report import Report
    from heaptrail.ram.images import Image

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]

NO_CYCLES = CycleRule()


def state(board: Board, heap: Heap4Writer, *, lost: int, cached: int = 0, hidden: int = 0) -> None:
    """Blocks of 0x60 bytes that are lost, of 0x40 in a list, of 0x20 of which nobody shows a pointer."""
    entry = 0
    while lost > 0 or cached > 0:  # by cycles, so that a later image only adds blocks
        for _ in range(min(lost, 2)):
            heap.alloc(0x58)
            lost -= 1
        if cached > 0:
            entry = heap.alloc(0x38, entry)
            cached -= 1
    for _ in range(hidden):
        heap.alloc(0x18)
    heap.finish()
    board.poke(board.symbols["cache"][0], entry)


def board_with(make_board: MakeBoard, make_heap: MakeHeap, rounds: int = 0, **blocks: int) -> Board:
    board = make_board()
    board.variable("cache")
    board.variable("rounds", rounds)
    heap = make_heap(board, 0x4000)
    state(board, heap, **blocks)
    return board


def report(boards: list[Board], rule: CycleRule = NO_CYCLES, images: list[Image] | None = None) -> Report:
    firmware = boards[-1].firmware()
    taken = images or [board.image() for board in boards]
    return report_on(examine(taken, firmware, Question(), rule), firmware, JudgeSettings(), options={})


def test_three_lost_blocks_of_one_size_are_a_leak(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    found = report([board_with(make_board, make_heap, lost=3, cached=2)])

    assert found.verdict == "leak"
    assert found.headline == "Leak: nothing points to 3 blocks of 96 B (0x60), 288 B lost so far."
    first, second = found.findings
    assert first.finding_class == "leak"
    assert first.sites[0].unreachable_blocks == 3
    assert first.evidence[0].startswith("Unreachable: no register")
    assert meaning(first) == "nothing points to these blocks any more"
    assert second.finding_class == "in_flight"
    assert second.summary == "2 blocks of 64 B (0x40, header included), in use"


def test_one_block_may_be_held_by_a_hidden_pointer(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    found = report([board_with(make_board, make_heap, lost=0, hidden=2)])

    assert found.verdict == "inconclusive"
    assert found.findings[0].finding_class == "undecided"
    assert any("hidden pointer" in reason for reason in found.reasons)
    assert any("--keep" in sentence for sentence in found.findings[0].evidence)


def test_one_image_without_lost_blocks_shows_no_growth(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    found = report([board_with(make_board, make_heap, lost=0, cached=50)])

    assert found.verdict == "inconclusive"
    assert found.headline == "Inconclusive: something points to each of 50 live blocks: nothing is unreachable."
    assert any("One image shows no growth" in reason for reason in found.reasons)


def test_an_image_that_lacks_memory_gives_no_verdict(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = board_with(make_board, make_heap, lost=5)
    heap_end = board.symbols["ucHeap"][0] + 0x4000

    found = report([board], images=[board.image(end=heap_end)])

    assert found.verdict == "inconclusive"
    assert found.headline.startswith("Inconclusive: the image lacks")
    assert found.findings[0].sites[0].unreachable_blocks is None


def test_images_count_two_more_each_cycle_and_see_a_growing_cache(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    boards = [board_with(make_board, make_heap, lost=2 * cycle, cached=cycle) for cycle in range(2, 10)]

    found = report(boards, CycleRule(apart=1))

    by_size = {finding.sites[0].sizes_bytes[0]: finding for finding in found.findings}
    assert found.verdict == "leak"
    assert by_size[0x60].per_cycle_blocks == 2
    assert "+2 per cycle" in by_size[0x60].summary
    assert "without a backtrace" in found.headline
    assert meaning(by_size[0x60]) == "blocks keep coming and stay"
    assert by_size[0x60].sites[0].unreachable_blocks == 18
    assert by_size[0x40].per_cycle_blocks == 1
    assert by_size[0x40].sites[0].unreachable_blocks == 0
    assert "all still reachable" in by_size[0x40].summary
    assert any("from block" in sentence for sentence in by_size[0x40].evidence)
    assert "--why" in by_size[0x40].advice[0]


def test_the_firmwares_own_counter_tells_the_cycles(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    boards = [board_with(make_board, make_heap, rounds=10 * n, lost=20 * n) for n in range(1, 5)]

    found = report(boards, CycleRule(counter="rounds"))

    assert found.findings[0].per_cycle_blocks == 2
    assert found.cycles == 40


@pytest.mark.parametrize(("name", "match"), [("ronuds", "no integer variable"), ("rounds", "fewer than")])
def test_a_counter_that_cannot_count_is_refused(
    make_board: MakeBoard, make_heap: MakeHeap, name: str, match: str
) -> None:
    boards = [board_with(make_board, make_heap, rounds=rounds, lost=1) for rounds in (5, 4)]

    with pytest.raises(EvidenceError, match=match):
        report(boards, CycleRule(counter=name))


def test_images_of_unknown_distance_have_no_rate(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    boards = [board_with(make_board, make_heap, lost=2 * cycle) for cycle in range(2, 7)]

    found = report(boards)

    assert found.verdict == "leak"
    assert found.rate_bytes_per_cycle is None
    assert any(problem.what == "cycles_unknown" for problem in found.problems)


def test_an_unused_heap_is_refused(make_board: MakeBoard) -> None:
    board = make_board()
    for name, words in (("xStart", 2), ("pxEnd", 1), ("ucHeap", 64)):
        board.variable(name, words=words)

    with pytest.raises(EvidenceError, match="was never used"):
        report([board])


def test_a_firmware_with_another_heap_is_refused(make_board: MakeBoard) -> None:
    with pytest.raises(EvidenceError, match="no heap that heaptrail knows"):
        report([make_board()])


def test_code_of_another_build_is_refused_or_warned_of(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = board_with(make_board, make_heap, lost=3)
    firmware = board.firmware()
    image = board.image()
    other = type(image.memory)(
        [*image.memory.pieces, image.memory.pieces[0]._replace(address=0x0800_0000)], order="<", word_bytes=4
    )
    changed = type(image)("board", "core", other, (), 0)

    with pytest.raises(EvidenceError, match="is not that of firmware"):
        examine([changed], firmware, Question(), NO_CYCLES)
    allowed = examine([changed], firmware, Question(allow_mismatch=True), NO_CYCLES)

    assert ("elf_mismatch" in {what for what, _ in allowed.surveys[0].problems}) is True


def test_an_exclusion_that_matches_nothing_is_refused(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = board_with(make_board, make_heap, lost=3)

    with pytest.raises(UsageError, match="--exclude tracr"):
        examine([board.image()], board.firmware(), Question(exclude=("tracr",)), NO_CYCLES)


def test_a_stripped_elf_is_refused(make_board: MakeBoard, tmp_path: Path) -> None:
    board = make_board()
    path = board.elf()
    content = bytearray(path.read_bytes())
    section_table = int.from_bytes(content[32:36], "little")
    content[section_table + 3 * 40 + 4] = 8  # .symtab becomes NOBITS
    (tmp_path / "firmware.elf").write_bytes(content)

    with pytest.raises(EvidenceError, match="no symbol table"):
        Firmware(tmp_path / "firmware.elf", DEFAULT_LIMITS)


def test_lost_blocks_that_are_no_longer_added_to_are_neither_a_leak_nor_none(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    """The workload may have stopped before the first image."""
    boards = [board_with(make_board, make_heap, rounds=100 * n, lost=40) for n in range(1, 9)]
    firmware = boards[-1].firmware()
    terms = JudgeSettings(tolerate_bytes_per_cycle=10_000)

    taken = examine([board.image() for board in boards], firmware, Question(), CycleRule(counter="rounds"))
    found = report_on(taken, firmware, terms, options={})

    assert found.verdict == "inconclusive"
    assert "lost once or before the first image" in found.headline
