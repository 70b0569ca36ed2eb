"""The agent on bare metal, emulated: what it prints is read with the ELF and names the calls that were made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from heaptrail.model.observations import Block, Dump, Problem, SiteCount
from heaptrail.reading import ReadOptions, observe
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.lines import open_symbolizer

if TYPE_CHECKING:
    from conftest import Board

    from heaptrail.model.observations import AnyObservation, RawFrame

pytestmark = pytest.mark.firmware
HERE = Path(__file__).resolve().parent
SOFTVOL = (
    *("board_malloc", "board_calloc", "softvol_update", "track_start softvol", "start_device", "render"),
    *("cycle softvol", "audio_render"),
)
RESAMPLE = (
    *("board_malloc", "board_calloc", "resample_update", "track_start resample", "start_device", "render"),
    *("cycle resample", "audio_render"),
)


@pytest.fixture
def found(player: tuple[Path, str], tmp_path: Path) -> list[AnyObservation]:
    log = tmp_path / "board.log"
    log.write_text(player[1], encoding="utf-8")
    return list(observe(log, ReadOptions()))


@pytest.fixture
def calls(player: tuple[Path, str]) -> Calls:
    return Calls(player[0])


class Calls:
    """Frames as the comments `CALL name` of the source lines that they resolve to."""

    def __init__(self, elf: Path) -> None:
        self.symbols = open_symbolizer(elf)

    def named(self, frames: tuple[RawFrame, ...]) -> list[str]:
        return [name for frame in frames if (name := self._name(frame)) is not None]

    def _name(self, raw: RawFrame) -> str | None:
        frame = self.symbols.resolve(raw)[0]
        if frame.file is None or frame.line is None or Path(frame.file).name not in ("heap.c", "player.c"):
            return None
        line = (HERE / Path(frame.file).name).read_text(encoding="utf-8").splitlines()[frame.line - 1]
        call = re.search(r"/\* CALL (\w+)(?: \w+)? \*/", line)
        assert call is not None, f"{frame.file}:{frame.line} is no call of a chain: {line}"
        assert frame.function == call[1]
        return line[call.start() + len("/* CALL ") : call.end() - len(" */")]


def test_the_dump_is_whole_and_names_the_build(player: tuple[Path, str], found: list[AnyObservation]) -> None:
    dumps = [each for each in found if isinstance(each, Dump)]

    assert [(each.declared_blocks, each.complete) for each in dumps] == [(8, True), (8, True)]
    assert f" build={open_image(player[0]).build_id} " in player[1]
    assert {each.what for each in found if isinstance(each, Problem)} == {"alloc_failed"}


def test_a_backtrace_is_the_chain_of_calls(found: list[AnyObservation], calls: Calls) -> None:
    blocks = [each for each in found if isinstance(each, Block) and each.size_bytes == 0x60]

    assert len(blocks) == 2 * 3, "three rounds, in two dumps"
    assert {tuple(calls.named(each.frames)) for each in blocks} == {SOFTVOL}
    assert {each.task for each in blocks} == {"AudioRender"}


def test_what_a_scan_finds_in_an_unwritten_array_is_weeded_out(
    found: list[AnyObservation], calls: Calls, board: Board
) -> None:
    """The scan on Cortex-M also takes what the last call left in the array; the ELF shows that it is no caller."""
    blocks = [each for each in found if isinstance(each, Block) and each.size_bytes == 0x50]

    checked = [calls.symbols.callers(each.frames) for each in blocks]

    assert [calls.named(each.kept) for each in checked] == [list(RESAMPLE)] * 6
    assert {bool(each.stale) for each in checked} == {board.name == "mps2"}


def test_of_no_other_backtrace_a_frame_is_left_out(found: list[AnyObservation], calls: Calls) -> None:
    """Those of start-up code and of an interrupt among them, on top of whatever it interrupted."""
    stacks = {each.frames for each in found if isinstance(each, Block) and each.size_bytes != 0x50}

    assert [calls.symbols.callers(stack).stale for stack in stacks] == [()] * len(stacks)


def test_the_stack_never_holds_what_the_agent_itself_wrote(found: list[AnyObservation]) -> None:
    for each in found:
        if isinstance(each, Block):
            assert len({frame.pc for frame in each.frames}) >= len(each.frames) - 3
            assert each.frames[0].pc not in [frame.pc for frame in each.frames[1:2]]


def test_who_frees_is_known_by_name(found: list[AnyObservation], calls: Calls) -> None:
    freed = [each for each in found if isinstance(each, SiteCount) and each.frees]

    assert [(each.live_blocks, each.frees, each.oldest_death_allocations) for each in freed] == [(0, 3, 0)]
    assert calls.named(freed[0].frames) == ["board_malloc", "demux"]
    assert calls.named(freed[0].freed_by) == ["board_free", "destroy", "demux destroy"]


def test_start_up_and_interrupts_are_told_apart_from_tasks(found: list[AnyObservation], calls: Calls) -> None:
    by_size = {each.size_bytes: each for each in found if isinstance(each, Block) and each.dump == 1}

    assert (by_size[40].task, by_size[40].task_id) == ("(start-up)", None)
    assert calls.named(by_size[40].frames) == ["board_malloc", "main"]
    assert (by_size[8].task, by_size[8].task_id) == ("ISR", None)
    assert calls.named(by_size[8].frames[:2]) == ["board_malloc", "in_interrupt"]
    assert by_size[0x60].task_id == 50
