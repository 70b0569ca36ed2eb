"""What an ELF says of itself, and that a broken one is refused with a sentence."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heaptrail.errors import EvidenceError, FormatError, HeaptrailError, UsageError
from heaptrail.limits import Limits
from heaptrail.model.observations import RawFrame
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.lines import open_symbolizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_an_image_knows_its_build_its_cpu_and_its_code(optimized_player: Path) -> None:
    image = open_image(optimized_player)
    notes = subprocess.run(["readelf", "-n", optimized_player], check=True, capture_output=True, text=True).stdout
    assert f"Build ID: {image.build_id}" in notes
    assert (image.arch, image.bits, image.debug_info, image.debug_line) == ("x86_64", 64, True, True)
    assert image.info.name == "player"
    main = next(line for line in _nm(optimized_player) if line.endswith(" main"))
    assert image.is_executable(int(main.split()[0], 16))
    assert image.symbols.at(int(main.split()[0], 16) + 3).name == "main"
    assert image.symbols.is_entry(int(main.split()[0], 16))
    assert not image.symbols.is_entry(int(main.split()[0], 16) + 3)


def _nm(elf: Path) -> list[str]:
    return subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout.splitlines()


def test_without_a_build_id_the_content_is_the_identity(
    compile_program: Callable[..., Path], player_source: str
) -> None:
    one = open_image(compile_program(player_source, "-g", "-Wl,--build-id=none", output="one"))
    two = open_image(compile_program(player_source + "\n", "-g", "-O2", "-Wl,--build-id=none", output="two"))
    assert (one.build_id, two.build_id) == (None, None)
    assert one.identity.startswith("content-")
    assert one.identity != two.identity


def test_a_file_whose_section_headers_were_stripped_still_knows_its_code(
    optimized_player: Path, tmp_path: Path
) -> None:
    data = bytearray(optimized_player.read_bytes())
    struct.pack_into("<Q", data, 40, 0)  # e_shoff
    struct.pack_into("<HH", data, 60, 0, 0)  # e_shnum, e_shstrndx
    stripped = tmp_path / "no-sections"
    stripped.write_bytes(data)
    whole, image = open_image(optimized_player), open_image(stripped)
    assert image.build_id == whole.build_id
    assert image.is_executable(whole.executable_ranges[-1][0])
    assert image.nearest_section(0) is None


def test_a_symbol_without_a_size_reaches_to_the_next_one(tiny_elf: Callable[..., Path]) -> None:
    symbols = (("reset", 0x0800_0000, 0), ("sized", 0x0800_0010, 4), ("last", 0x0800_0020, 0))
    table = open_image(tiny_elf(243, bytes(64), symbols=symbols)).symbols
    named = [table.at(0x0800_0000 + at) for at in (0x0, 0xF, 0x10, 0x14, 0x3F)]
    assert [symbol.name if symbol else None for symbol in named] == ["reset", "reset", "sized", None, "last"]
    assert table.at(0x07FF_FFFF) is None


def test_big_endian_files_are_read_too(tiny_elf: Callable[..., Path]) -> None:
    image = open_image(tiny_elf(8, bytes(16), symbols=(("start", 0x0800_0000, 16),), order=">"))
    assert (image.arch, image.little_endian, image.symbols.at(0x0800_0004).name) == ("machine 8", False, "start")


def test_code_bytes_before_an_address_are_those_of_the_section(tiny_elf: Callable[..., Path]) -> None:
    image = open_image(tiny_elf(243, bytes(range(64))))
    assert image.code_before(0x0800_0010, 4) == bytes([12, 13, 14, 15])
    assert image.code_before(0x0800_0002, 4) is None
    assert image.code_at(0x0800_003E, 4) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not an ELF: it is empty"),
        (b"\x7fEL", "not an ELF: it starts with 7f 45 4c"),
        (b"MZ\x90\x00 a Windows program", "not an ELF: it starts with 4d 5a 90 00"),
        (b"\x7fELF", "cut off: the ELF header"),
        (b"\x7fELF\x07\x01" + bytes(60), "no ELF class and byte order"),
        (b"\x7fELF\x01\x01\x01" + bytes(10), "cut off: the ELF header"),
    ],
)
def test_what_is_no_elf_is_refused_with_what_was_found(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "firmware.bin"
    file.write_bytes(content)
    with pytest.raises(FormatError, match=sentence) as refused:
        open_image(file)
    assert "firmware.bin" in refused.value.sentence
    assert refused.value.try_this


def test_an_object_file_is_refused_since_its_addresses_are_not_final(
    compile_program: Callable[..., Path], player_source: str
) -> None:
    with pytest.raises(FormatError, match="an object file, not linked"):
        open_image(compile_program(player_source, "-c", "-g"))


def test_a_file_that_is_not_there_and_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, found in (("nowhere.elf", "No such file"), (".", "not a regular file"), ("pipe", "not a regular file")):
        with pytest.raises(UsageError, match=found):
            open_image(tmp_path / name)


@pytest.mark.parametrize("sixteenth", range(16))
def test_a_file_cut_anywhere_is_refused_as_cut_off(optimized_player: Path, tmp_path: Path, sixteenth: int) -> None:
    data = optimized_player.read_bytes()
    cut = tmp_path / "cut.elf"
    cut.write_bytes(data[: len(data) * sixteenth // 16])
    with pytest.raises(FormatError, match=r"cut off|not an ELF"):
        open_symbolizer(cut, cache_dir=tmp_path / "cache")


def _with_section_size(elf: Path, index: int, size: int) -> bytes:
    data = bytearray(elf.read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<Q", data, table + index * 64 + 32, size)
    return bytes(data)


@pytest.mark.parametrize(("size", "sentence"), [(1 << 62, "claims .* B, the limit is"), (50_000_000, "cut off")])
def test_a_section_that_claims_too_much_is_refused_before_it_is_read(
    optimized_player: Path, tmp_path: Path, size: int, sentence: str
) -> None:
    file = tmp_path / "huge.elf"
    file.write_bytes(_with_section_size(optimized_player, 14, size))
    with pytest.raises(FormatError, match=sentence):
        open_image(file)


def test_the_section_limit_is_the_users(optimized_player: Path) -> None:
    with pytest.raises(FormatError, match=r"claims .* B, the limit is 100 B"):
        open_image(optimized_player, Limits(elf_section_bytes=100))


def test_a_compressed_section_counts_by_what_it_unpacks_to(
    compile_program: Callable[..., Path], player_source: str, tmp_path: Path
) -> None:
    elf = compile_program(player_source, "-g", "-gz")
    data = bytearray(elf.read_bytes())
    (section,) = (s for s in open_image(elf)._tables.sections if s.name == ".debug_info")
    struct.pack_into("<Q", data, section.offset + 8, 1 << 40)  # ch_size
    bomb = tmp_path / "bomb.elf"
    bomb.write_bytes(data)
    with pytest.raises(FormatError, match=r"section \.debug_info claims to unpack to"):
        open_image(bomb)


def test_a_table_of_a_billion_sections_or_segments_is_refused(optimized_player: Path, tmp_path: Path) -> None:
    data = bytearray(optimized_player.read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<H", data, 60, 0)  # e_shnum 0: the count is in the first header
    struct.pack_into("<Q", data, table + 32, 1_000_000_000)
    file = tmp_path / "many.elf"
    file.write_bytes(data)
    with pytest.raises(FormatError, match="1,000,000,000 sections"):
        open_image(file)


def test_a_file_that_changes_while_it_is_read_is_refused(
    compile_program: Callable[..., Path], player_source: str
) -> None:
    elf = compile_program(player_source, "-g")
    image = open_image(elf)
    elf.write_bytes(elf.read_bytes() + b"\0")
    with pytest.raises(EvidenceError, match="changed while it was being read"):
        _ = image.symbols


def test_unreadable_debug_information_leaves_the_functions_and_a_remark(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], tmp_path: Path
) -> None:
    answers = told(optimized_player)
    data = bytearray(optimized_player.read_bytes())
    image = open_image(optimized_player)
    for section in image._tables.sections:
        if section.name in (".debug_info", ".debug_abbrev", ".debug_line"):
            data[section.offset : section.offset + section.size] = os.urandom(section.size)
    file = tmp_path / "garbled.elf"
    file.write_bytes(data)
    frame = open_symbolizer(file, cache_dir=tmp_path / "cache").resolve(answers["main"][1])[-1]
    assert (frame.function, frame.line) == ("main", None)
    assert frame.note


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=24))
def test_an_elf_with_changed_bytes_is_read_or_refused_and_nothing_else(
    optimized_player: Path, tmp_path: Path, edits: list[tuple[float, int]]
) -> None:
    data = bytearray(optimized_player.read_bytes())
    tables = len(data) // 8
    for place, value in edits:
        # Half of the places fall on the headers and the section table, where the structure is.
        at = (
            place * 2 * tables
            if place < 0.25
            else -1 - (place - 0.25) * 4 * tables
            if place < 0.5
            else place * len(data)
        )
        data[int(at)] = value
    file = tmp_path / "mutant.elf"
    file.write_bytes(data)
    with contextlib.suppress(HeaptrailError):
        symbolizer = open_symbolizer(file, cache_dir=tmp_path / "cache")
        for address in (0x40_1000, 0x40_1100, 0x40_1180, 0x40_11C0, 1 << 63):
            assert symbolizer.resolve(RawFrame(address, "return"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=600))
def test_random_bytes_behind_the_magic_number_are_refused_or_empty(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "noise.elf"
    file.write_bytes(b"\x7fELF\x02\x01" + data)
    with contextlib.suppress(FormatError):
        assert open_image(file).executable_ranges == ()


def test_a_section_that_claims_more_than_the_file_holds_is_read_as_far_as_it_goes(
    tiny_elf: Callable[..., Path],
) -> None:
    """Its type says that it is none, so that its place was not checked; found by fuzzing, as a MemoryError."""
    path = tiny_elf(243, bytes(16), bits=64)
    data = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<I", data, table + 64 + 4, 0)
    struct.pack_into("<Q", data, table + 64 + 32, 1 << 60)
    path.write_bytes(bytes(data))

    image = open_image(path)

    assert image.is_executable(0x0800_0000 + (1 << 50))
    assert image.code_before(0x0800_0008, 4) == bytes(4)
