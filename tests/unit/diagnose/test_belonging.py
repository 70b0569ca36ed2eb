"""An ELF of another build is refused, or used with a warning when the user insists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.diagnose.belonging import check_belonging
from heaptrail.errors import EvidenceError
from heaptrail.model.evidence import CaptureInfo, Evidence, LiveDump
from heaptrail.model.observations import Block, Dump, RawFrame
from heaptrail.model.report import Frame, ImageInfo
from heaptrail.symbols import FakeSymbolizer, NoSymbols
from heaptrail.symbols.fit import ImageFit

if TYPE_CHECKING:
    from collections.abc import Iterable

IMAGE = ImageInfo(name="player.elf", build_id="aa" * 20, arch="riscv64", bits=64, debug_info=True)


def evidence(*stacks: tuple[int, ...], build_id: str | None = None) -> Evidence:
    blocks = tuple(
        Block(
            line=index,
            dump=1,
            address=0x8000 + index,
            size_bytes=16,
            size_kind="requested",
            frames=tuple(RawFrame(pc=pc, kind="call") for pc in stack),
        )
        for index, stack in enumerate(stacks)
    )
    capture = CaptureInfo(name="night.cast", format="cast", bytes_read=1, lines=1, build_id=build_id)
    return Evidence(captures=(capture,), dumps=(LiveDump(dump=Dump(line=1, dump=1), blocks=blocks),))


def symbols(*pcs: int, wrappers: tuple[int, ...] = ()) -> FakeSymbolizer:
    table = {pc: (Frame(pc=pc, kind="call", function=f"f_{pc:x}", wrapper=pc in wrappers),) for pc in pcs}
    return FakeSymbolizer(table, image=IMAGE)


def test_addresses_outside_the_code_refuse_the_elf_with_what_was_found() -> None:
    with pytest.raises(EvidenceError, match=r"3 of 3 backtrace addresses lie outside the code of player\.elf"):
        check_belonging(evidence((0x10, 0x20), (0x10, 0x30)), symbols(0x999), allow_mismatch=False)


def test_another_build_id_refuses_the_elf_though_all_addresses_fit() -> None:
    with pytest.raises(EvidenceError, match=r"night\.cast was recorded with build bbbb"):
        check_belonging(evidence((0x10, 0x20), build_id="bb" * 20), symbols(0x10, 0x20), allow_mismatch=False)


class Movable(FakeSymbolizer):
    """A program that runs wherever it was loaded."""

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit:
        return ImageFit(inside=0, outside=len(set(frames)), example_outside=0x5555_5555_0010, movable=True)


def test_a_position_independent_program_is_refused_with_the_reason() -> None:
    with pytest.raises(
        EvidenceError, match=r"position-independent \(PIE\), and the log does not say where it was loaded"
    ) as refused:
        check_belonging(evidence((0x10, 0x20)), Movable({}, image=IMAGE), allow_mismatch=False)
    # It may well be the very build: what helps is another link, not another file.
    assert "-no-pie" in str(refused.value.try_this)


class AnotherBuild(FakeSymbolizer):
    """All addresses lie in its code, few of them at a call."""

    def fit(self, frames: Iterable[RawFrame]) -> ImageFit:
        known = len(set(frames))
        return ImageFit(inside=known, outside=0, calls=1, not_calls=known - 1, example_not_call=0x20)


def test_addresses_that_stand_at_no_call_are_those_of_another_build() -> None:
    with pytest.raises(EvidenceError, match=r"4 of 5 backtrace addresses stand at no call in player\.elf"):
        check_belonging(evidence((1, 2, 3, 4, 5)), AnotherBuild({}, image=IMAGE), allow_mismatch=False)


def test_a_user_who_insists_gets_a_warning_in_the_report() -> None:
    (problem,) = check_belonging(evidence((0x10, 0x20)), symbols(0x999), allow_mismatch=True)

    assert problem.what == "elf_mismatch"


def test_a_few_addresses_from_a_boot_rom_do_not_refuse_the_elf() -> None:
    fitting = evidence((0x10, 0x20, 0x30, 0x4000_0000))

    assert check_belonging(fitting, symbols(0x10, 0x20, 0x30, wrappers=(0x10,)), allow_mismatch=False) == ()


def test_stacks_that_start_in_no_allocator_are_suspicious() -> None:
    shared_innermost = evidence((0x10, 0x20), (0x10, 0x30))

    (problem,) = check_belonging(shared_innermost, symbols(0x10, 0x20, 0x30), allow_mismatch=False)

    assert problem.what == "elf_suspect"
    assert "f_10" in problem.text


def test_without_an_elf_there_is_nothing_to_compare() -> None:
    assert check_belonging(evidence((0x10,)), NoSymbols(), allow_mismatch=False) == ()
