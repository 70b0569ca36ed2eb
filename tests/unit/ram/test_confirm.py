"""Findings of a traced run put to a RAM image, block by block; and images kept as core files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.errors import UsageError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.report import Finding, Frame, Provenance, Report, Site
from heaptrail.ram.confirm import confirm
from heaptrail.ram.corewriter import write_core
from heaptrail.ram.failure import failure_hook
from heaptrail.ram.images import read_image
from heaptrail.ram.memory import Registers
from heaptrail.ram.origins import Origin
from heaptrail.ram.reach import REACHABLE, UNREACHABLE
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conftest import Board, Heap4Writer

    from heaptrail.model.verdict import SiteClass

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]


def run(addresses: Sequence[int], site_class: SiteClass = "undecided", verdict: str = "inconclusive") -> Report:
    """A report of a run that found one site with these blocks."""
    site = Site(
        name="render", file=None, line=None, frames=(), live_blocks=len(addresses), live_bytes=24 * len(addresses),
        size_kind="requested", sizes_bytes=(24,), addresses=tuple(addresses),
    )  # fmt: skip
    finding = Finding(
        finding_class=site_class, summary="", sites=(site,), live_blocks=len(addresses), live_bytes=0, evidence=()
    )
    return Report(
        verdict=verdict, headline="", reasons=("too few cycles",), rate_bytes_per_cycle=None,  # type: ignore[arg-type]
        rate_bytes_per_hour=None, upper_bound=None, exhaustion_hours=None, exhaustion_cycles=None, books=None,
        findings=(finding,), series=(), tasks=(), problems=(), boots=1, cycles=None,
        provenance=Provenance(captures=(), elf=None, versions={}, options={}),
    )  # fmt: skip


def test_three_unreachable_blocks_make_an_undecided_finding_a_leak(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    lost = [heap.alloc(24) for _ in range(3)]
    held = heap.alloc(24)
    heap.finish()
    board.variable("player", held)
    firmware = board.firmware()

    found = confirm(run([*lost, held]), survey(board.image(), firmware, Question()), firmware)

    (finding,) = found.findings
    assert found.verdict == "leak"
    assert finding.finding_class == "leak"
    assert finding.sites[0].unreachable_blocks == 3
    assert "nothing points to 3 of 4 blocks" in finding.evidence[0]
    assert "is reached from player" in finding.evidence[1]
    assert [capture.format for capture in found.provenance.captures] == ["image"]


def test_reachable_blocks_excuse_nothing(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    tail = heap.alloc(24)
    head = heap.alloc(24, tail)
    heap.finish()
    board.variable("cache", head)
    firmware = board.firmware()

    found = confirm(run([tail, head], "leak", "leak"), survey(board.image(), firmware, Question()), firmware)

    assert found.verdict == "leak"
    assert found.findings[0].finding_class == "leak"
    assert "something points to each of 2 blocks" in found.findings[0].evidence[0]


def test_a_site_that_was_only_counted_is_known_by_its_backtrace(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """Its blocks were not listed; the agent's tables in the image have them, with return addresses."""
    board = make_board()
    heap = make_heap(board, 0x400)
    for _ in range(4):
        heap.alloc(24)
    heap.finish()
    firmware = board.firmware()
    found = survey(board.image(), firmware, Question())
    stacks = [(0x0800_0104, 0x0800_0204)] * 3 + [(0x0800_0104, 0x0800_0304)]
    found = msgspec.structs.replace(found, origins=tuple(Origin(frames=stack) for stack in stacks))
    frames = tuple(Frame(pc=pc, kind="call") for pc in (0x0800_0100, 0x0800_0100, 0x0800_0200))
    report = run([])
    site = msgspec.structs.replace(report.findings[0].sites[0], frames=frames)
    finding = msgspec.structs.replace(report.findings[0], sites=(site,))

    confirmed = confirm(msgspec.structs.replace(report, findings=(finding,)), found, firmware)

    assert confirmed.findings[0].sites[0].unreachable_blocks == 3
    assert confirmed.verdict == "leak"


def test_blocks_that_were_freed_since_say_nothing(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    inside = heap.alloc(100)
    heap.finish()
    firmware = board.firmware()

    found = confirm(run([inside + 16, 0x1234]), survey(board.image(), firmware, Question()), firmware)

    assert found.findings[0].evidence == ()
    assert found.verdict == "inconclusive"


@pytest.mark.parametrize("shape", [{}, {"word": 8}, {"order": ">"}], ids=["Arm", "RV64", "big-endian"])
def test_a_kept_image_is_read_again_with_its_registers(
    make_board: MakeBoard, make_heap: MakeHeap, tmp_path: Path, shape: dict[str, int]
) -> None:
    board = make_board(**shape)
    heap = make_heap(board, 0x400, align=2 * board.word)
    in_register, lost = heap.alloc(24), heap.alloc(24)
    heap.finish()
    firmware = board.firmware()
    image = board.image(registers=(Registers("CPU 0", (7, in_register), 0x2000_4000),))

    write_core(tmp_path / "kept.core", image, firmware)
    again = read_image(str(tmp_path / "kept.core"), firmware, DEFAULT_LIMITS)

    assert again.kind == "core"
    assert again.registers[0].stack_pointer == 0x2000_4000
    found = survey(again, firmware, Question())
    assert dict(zip((b.address for b in found.heap.live), found.reach.states, strict=True)) == {
        in_register: REACHABLE,
        lost: UNREACHABLE,
    }


def test_an_image_that_cannot_be_kept_says_so(make_board: MakeBoard, tmp_path: Path) -> None:
    board = make_board()

    with pytest.raises(UsageError, match="cannot be written"):
        write_core(tmp_path / "missing" / "kept.core", board.image(), board.firmware())


def test_the_hook_of_a_failed_allocation_is_known_by_name(make_board: MakeBoard) -> None:
    board = make_board()
    board.functions["vApplicationMallocFailedHook"] = 0x0800_0020
    board.functions["out_of_memory"] = 0x0800_0030
    firmware = board.firmware()

    assert failure_hook(firmware, "auto") == "vApplicationMallocFailedHook"
    assert failure_hook(firmware, "out_of_memory") == "out_of_memory"
    with pytest.raises(UsageError, match="no function oom_hook"):
        failure_hook(firmware, "oom_hook")


def test_a_firmware_without_a_known_hook_says_which_were_looked_for(make_board: MakeBoard) -> None:
    with pytest.raises(UsageError, match="none of the functions vApplicationMallocFailedHook"):
        failure_hook(make_board().firmware(), "auto")


def test_roots_that_the_user_names_hold_at_any_byte(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """A packed struct holds a pointer at an odd address, and an excluded table may hold one that counts."""
    board = make_board()
    heap = make_heap(board, 0x400)
    packed, tabled, lost = heap.alloc(24), heap.alloc(24), heap.alloc(24)
    heap.finish()
    message = board.variable("message", words=4)
    board.ram[message + 1 - 0x2000_0000 : message + 5 - 0x2000_0000] = packed.to_bytes(4, "little")
    table = board.variable("table", tabled)
    firmware = board.firmware()

    plain = survey(board.image(), firmware, Question(exclude=("table",)))
    told = survey(board.image(), firmware, Question(exclude=("table",), roots=("mess*", f"{table:#x}+4")))

    assert plain.with_state(UNREACHABLE) == [0, 1, 2]
    assert [told.heap.live[index].address for index in told.with_state(UNREACHABLE)] == [lost]
    with pytest.raises(UsageError, match="--root mesage"):
        survey(board.image(), firmware, Question(roots=("mesage",)))


def test_a_root_below_a_stack_pointer_counts(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x800)
    block, stack = heap.alloc(24), heap.alloc(256)
    heap.finish()
    board.poke(stack + 16, block)
    image = board.image(registers=(Registers("CPU 0", (stack,), stack + 200),))

    found = survey(image, board.firmware(), Question(roots=(f"{stack:#x}+64",)))

    assert msgspec.structs.asdict(found.reach)["states"][0] == REACHABLE
