"""Evidence on whether an ELF and a capture belong together."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from heaptrail.model.observations import RawFrame
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.fit import image_fit
from heaptrail.symbols.lines import open_symbolizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_right_program_holds_every_address_behind_a_call(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], tmp_path: Path
) -> None:
    raws = [raw for name, (_, raw) in told(optimized_player).items() if name != "end"]
    fit = open_symbolizer(optimized_player, cache_dir=tmp_path).fit([*raws, *raws])
    assert (fit.inside, fit.outside, fit.calls, fit.not_calls) == (3, 0, 3, 0)
    assert (fit.share_inside, fit.share_calls) == (1.0, 1.0)


def test_a_call_address_fits_by_its_first_byte_or_its_last(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]]
) -> None:
    image = open_image(optimized_player)
    raws = [raw for name, (_, raw) in told(optimized_player).items() if name != "end"]
    for back in (1, 5):  # the agent's way on x86, and the instruction's start
        fit = image_fit(image, [RawFrame(raw.pc - back, "call") for raw in raws])
        assert (fit.calls, fit.not_calls) == (3, 0)


def test_riscv_call_addresses_are_at_calls(tiny_elf: Callable[..., Path]) -> None:
    code = bytes.fromhex("01000100ef00400182970100")  # c.nop c.nop, jal ra, c.jalr a5, c.nop
    image = open_image(tiny_elf(243, code))
    fit = image_fit(image, [RawFrame(0x0800_0000 + at, "call") for at in (4, 8, 0)])
    assert (fit.calls, fit.not_calls, fit.example_not_call) == (2, 1, 0x0800_0000)


def test_another_builds_addresses_are_mostly_not_behind_calls(optimized_player: Path) -> None:
    image = open_image(optimized_player)
    text = next(section for section in image.sections if section.name == ".text")
    anywhere = [RawFrame(a, "return") for a in random.Random(3).sample(range(text.address + 8, text.end), 60)]
    fit = image_fit(image, anywhere)
    assert fit.inside == 60
    assert fit.share_calls < 0.5
    assert fit.example_not_call in {frame.pc for frame in anywhere}


def test_addresses_outside_are_counted_with_an_example(optimized_player: Path) -> None:
    image = open_image(optimized_player)
    fit = image_fit(image, [RawFrame(0x0833_6AEE, "call"), RawFrame(0x0833_6B46, "call")])
    assert (fit.inside, fit.outside, fit.example_outside, fit.share_inside) == (0, 2, 0x0833_6AEE, 0.0)
    assert fit.share_calls is None, "nothing inside to look at"


def test_no_addresses_are_no_evidence(optimized_player: Path) -> None:
    assert image_fit(open_image(optimized_player), []).share_inside is None


def test_a_call_at_the_very_end_of_the_code_returns_behind_it(tiny_elf: Callable[..., Path]) -> None:
    image = open_image(tiny_elf(243, bytes(12) + bytes.fromhex("ef004001")))
    fit = image_fit(image, [RawFrame(0x0800_0010, "return")])
    assert (fit.inside, fit.calls) == (1, 1)
