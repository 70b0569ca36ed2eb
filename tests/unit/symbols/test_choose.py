"""ELFs that are found: in a folder by build id, and debug information where it was split off to."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from unit.symbols.conftest import PLAYER, Compile, Told

from heaptrail.errors import UsageError
from heaptrail.model.observations import RawFrame
from heaptrail.symbols.choose import Chosen, choose
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.lines import open_symbolizer
from heaptrail.symbols.several import SeveralImages

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.symbols.lines import ElfSymbolizer

ONE = "int main(void) { return 1; }"
OTHER = "int main(void) { return 22; }"
BUILD = ("-g", "-no-pie", "-Wl,--build-id")


def build_id(elf: Path) -> str:
    found = open_image(elf).build_id
    assert found is not None
    return found


def test_a_file_is_itself(compile_program: Compile) -> None:
    elf = compile_program(ONE, *BUILD)

    assert choose(elf, {"0123"}) == Chosen(elf)


def test_the_elf_of_a_folder_is_found_by_the_log_s_build_id(compile_program: Compile, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one = compile_program(ONE, *BUILD, output="deep/one")
    other = compile_program(OTHER, *BUILD, output="other")
    compile_program(ONE, "-c", output="one.o")
    (tmp_path / "torn.elf").write_bytes(one.read_bytes()[:3000])

    assert choose(tmp_path, {build_id(one)}) == Chosen(one)
    assert choose(tmp_path, {build_id(other)[:16]}) == Chosen(other), "a device sends the beginning only"


def test_the_only_elf_of_a_folder_needs_no_build_id(compile_program: Compile, tmp_path: Path) -> None:
    elf = compile_program(ONE, *BUILD)
    (tmp_path / "copy.elf").write_bytes(elf.read_bytes())

    assert choose(tmp_path).elf.read_bytes() == elf.read_bytes()


def test_several_elfs_and_nothing_to_choose_by_are_named(compile_program: Compile, tmp_path: Path) -> None:
    compile_program(ONE, *BUILD, output="one")
    compile_program(OTHER, *BUILD, output="other")

    with pytest.raises(UsageError, match=r"holds one, other, and the log carries no build id to choose by"):
        choose(tmp_path)


def test_no_elf_with_the_build_id_is_said_with_how_many_there_are(compile_program: Compile, tmp_path: Path) -> None:
    compile_program(ONE, *BUILD, output="one")

    with pytest.raises(UsageError, match=r"none of the 1 ELF files in .* has the log's build id 0123456789abcdef"):
        choose(tmp_path, {"0123456789abcdef0123"})


def test_a_folder_without_an_elf_is_said(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")

    with pytest.raises(UsageError, match="holds no linked ELF"):
        choose(tmp_path)


def test_of_a_stripped_twin_and_the_whole_one_the_whole_one_is_taken(compile_program: Compile, tmp_path: Path) -> None:
    elf = compile_program(ONE, *BUILD)
    subprocess.run(["strip", "-o", tmp_path / "a-stripped", elf], check=True)

    assert choose(tmp_path, {build_id(elf)}).elf == elf


# --- debug information in a file of its own ---


@pytest.fixture
def split(compile_program: Compile, tmp_path: Path) -> tuple[Path, Path]:
    """A program whose debug information was split off, and the file that has it, somewhere else."""
    whole = compile_program(PLAYER, "-O0", *BUILD, output="whole")
    debug, bare = tmp_path / "elsewhere.debug", tmp_path / "bare"
    subprocess.run(["objcopy", "--only-keep-debug", whole, debug], check=True)
    subprocess.run(["objcopy", "--strip-debug", f"--add-gnu-debuglink={debug}", whole, bare], check=True)
    whole.unlink()
    return bare, debug


def opened(elf: Path, tmp_path: Path) -> ElfSymbolizer:
    return open_symbolizer(elf, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("place", ["elsewhere.debug", ".debug/elsewhere.debug"])
def test_split_debug_information_is_found_by_its_link(
    split: tuple[Path, Path], tmp_path: Path, told: Told, place: str
) -> None:
    bare, debug = split
    (tmp_path / place).parent.mkdir(exist_ok=True)
    debug.rename(tmp_path / place)

    symbolizer = opened(bare, tmp_path)

    line, frame = next(iter(told(bare).values()))
    assert symbolizer.resolve(frame)[0].line == line
    assert symbolizer.remarks == ()


def test_split_debug_information_is_found_by_build_id(split: tuple[Path, Path], tmp_path: Path) -> None:
    bare, debug = split
    name = build_id(bare)
    target = tmp_path / ".build-id" / name[:2] / f"{name[2:]}.debug"
    target.parent.mkdir(parents=True)
    debug.rename(target)

    assert opened(bare, tmp_path).image.debug_info


def test_split_debug_information_of_another_build_is_not_taken(
    split: tuple[Path, Path], tmp_path: Path, compile_program: Compile
) -> None:
    bare, debug = split
    other = compile_program(OTHER, *BUILD, output="other")
    subprocess.run(["objcopy", "--only-keep-debug", other, debug], check=True)

    symbolizer = opened(bare, tmp_path)

    assert not symbolizer.image.debug_info
    assert symbolizer.remarks == (
        "bare is stripped: its debug information is in elsewhere.debug, which is not beside it (give --debug-file)",
    )


def test_a_folder_gives_a_stripped_elf_its_debug_file(split: tuple[Path, Path], tmp_path: Path) -> None:
    bare, debug = split

    assert choose(tmp_path, {build_id(bare)}) == Chosen(bare, debug)


# --- several ELFs of one device ---


@pytest.fixture
def loader_and_program(compile_program: Compile, tmp_path: Path) -> tuple[ElfSymbolizer, ElfSymbolizer]:
    program = compile_program("void run(void) {}\nint main(void) { run(); return 0; }", *BUILD, output="program")
    apart = ("-Wl,-Ttext-segment=0x7000000",)
    loader = compile_program(
        "void boot(void) {}\nint main(void) { boot(); return 0; }", *BUILD, *apart, output="loader"
    )
    return opened(program, tmp_path), opened(loader, tmp_path)


def at(symbolizer: ElfSymbolizer, function: str) -> RawFrame:
    printed = subprocess.run(["nm", symbolizer._elf.path], check=True, capture_output=True, text=True).stdout
    address = next(int(line.split()[0], 16) for line in printed.splitlines() if line.endswith(f" T {function}"))
    return RawFrame(address + 4, "call")


def test_each_address_is_looked_up_in_the_elf_that_covers_it(
    loader_and_program: tuple[ElfSymbolizer, ElfSymbolizer],
) -> None:
    program, loader = loader_and_program
    both = SeveralImages([program, loader])

    stack = (at(loader, "boot"), at(program, "run"))
    assert [frame.function for frame in both.resolve_stack(stack)] == ["boot", "run"]
    assert both.image.name == "program + loader"
    assert both.image.build_id == program.image.build_id
    assert both.remarks == ()
    fit = both.fit([*stack, RawFrame(0x9999_0000, "call")])
    assert (fit.inside, fit.outside, fit.example_outside) == (2, 1, 0x9999_0000)


def test_an_address_that_two_elfs_cover_is_looked_up_in_the_first_and_said(
    compile_program: Compile, tmp_path: Path
) -> None:
    first = opened(compile_program(PLAYER, *BUILD, output="first"), tmp_path)
    second = opened(compile_program(PLAYER, *BUILD, "-O2", output="second"), tmp_path)
    both = SeveralImages([first, second])

    (frame,) = both.resolve(at(first, "main"))

    assert frame.module == "first"
    assert len(both.remarks) == 1
    assert "in the code of first and second: looked up in first" in both.remarks[0]
