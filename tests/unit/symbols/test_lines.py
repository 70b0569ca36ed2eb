"""Raw addresses to functions and lines, on programs that print the answers themselves."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError
from heaptrail.limits import Limits
from heaptrail.model.observations import RawFrame
from heaptrail.symbols import lines, symcache
from heaptrail.symbols.elf import open_image
from heaptrail.symbols.lines import open_symbolizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.symbols.elf import ElfImage

MAKE_OF_PROGRAM = [
    "-O0 -g -no-pie",
    "-O2 -g -no-pie",
    "-O2 -g -fPIE -pie",
    "-O2 -g -gdwarf-4 -no-pie",
    "-Os -g -gz -no-pie",
]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("flags", MAKE_OF_PROGRAM)
def test_every_call_resolves_to_its_own_line(
    compile_program: Callable[..., Path],
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    player_source: str,
    cache: Path,
    flags: str,
) -> None:
    elf = compile_program(player_source, *flags.split())
    symbolizer = open_symbolizer(elf, cache_dir=cache)
    for name, (line, raw) in told(elf).items():
        if name == "end":
            continue
        frame = symbolizer.resolve(raw)[0]
        assert (frame.function, frame.line, Path(frame.file).name) == (name, line, "program.c")
        assert (frame.pc, frame.kind, frame.module, frame.note) == (raw.pc, "return", "program", None)


def test_inlined_calls_are_frames_of_their_own_marked_as_inlined_into_the_next(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], cache: Path
) -> None:
    frames = open_symbolizer(optimized_player, cache_dir=cache).resolve(told(optimized_player)["softvol_apply"][1])
    assert [(frame.function, frame.inlined) for frame in frames] == [
        ("softvol_apply", True),
        ("softvol_update", True),
        ("AudioTrackStart", False),
    ]
    assert len({frame.pc for frame in frames}) == 1


def test_a_call_address_is_looked_up_as_it_is(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], cache: Path
) -> None:
    symbolizer = open_symbolizer(optimized_player, cache_dir=cache)
    line, returns_to = told(optimized_player)["AudioTrackStart"]
    call = RawFrame(returns_to.pc - 5, "call")
    assert symbolizer.resolve(call)[0].line == line
    # The return address taken for a call is already the next statement.
    assert symbolizer.resolve(RawFrame(returns_to.pc, "call"))[0].line != line


def test_a_program_without_debug_information_gives_functions_and_says_why_no_lines(
    compile_program: Callable[..., Path],
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    player_source: str,
    cache: Path,
) -> None:
    elf = compile_program(player_source, "-O2", "-no-pie")
    symbolizer = open_symbolizer(elf, cache_dir=cache)
    (frame,) = symbolizer.resolve(told(elf)["softvol_apply"][1])
    assert (frame.function, frame.file, frame.line) == ("AudioTrackStart", None, None)
    assert frame.note == lines.NOTE_NO_DEBUG
    assert symbolizer.image.debug_info is False
    assert "no debug information" in symbolizer.remarks[0]


def test_a_stripped_program_gives_addresses_and_says_so(
    compile_program: Callable[..., Path],
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    player_source: str,
    cache: Path,
) -> None:
    elf = compile_program(player_source, "-O2", "-no-pie", "-s")
    (frame,) = open_symbolizer(elf, cache_dir=cache).resolve(told(elf)["main"][1])
    assert (frame.function, frame.line, frame.module, frame.note) == (None, None, "program", lines.NOTE_NOTHING)


def test_a_debug_file_of_the_same_build_gives_the_lines(
    compile_program: Callable[..., Path],
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    player_source: str,
    cache: Path,
    tmp_path: Path,
) -> None:
    elf = compile_program(player_source, "-O2", "-g", "-no-pie")
    answers = told(elf)
    debug = tmp_path / "program.debug"
    subprocess.run(["objcopy", "--only-keep-debug", elf, debug], check=True)
    subprocess.run(["strip", elf], check=True)
    symbolizer = open_symbolizer(elf, debug_path=debug, cache_dir=cache)
    line, raw = answers["softvol_apply"]
    assert symbolizer.resolve(raw)[0].line == line
    assert symbolizer.image.debug_info is True


def test_a_debug_file_of_another_build_is_refused_with_both_build_ids(
    compile_program: Callable[..., Path], optimized_player: Path, player_source: str, cache: Path
) -> None:
    other = compile_program(player_source, "-O0", "-g", "-no-pie")
    with pytest.raises(EvidenceError) as refused:
        open_symbolizer(optimized_player, debug_path=other, cache_dir=cache)
    assert open_image(other).build_id in str(refused.value)
    assert open_image(optimized_player).build_id in str(refused.value)


def test_an_address_outside_code_names_the_nearest_section_and_no_function(optimized_player: Path, cache: Path) -> None:
    symbolizer = open_symbolizer(optimized_player, cache_dir=cache)
    data = next(section for section in open_image(optimized_player).sections if section.name == ".data")
    (frame,) = symbolizer.resolve(RawFrame(data.address + 1, "return"))
    assert (frame.function, frame.module) == (None, ".data")
    assert "not in the code" in frame.note
    assert symbolizer.fit([RawFrame(pc=data.address, kind="call")]).outside == 1
    (wild,) = symbolizer.resolve(RawFrame(0xFFFF_FFFF_FFFF_FFFF, "return"))
    assert wild.function is None
    (zero,) = symbolizer.resolve(RawFrame(0, "return"))
    assert zero.function is None


def test_the_hand_made_end_of_a_chain_is_the_function_it_names_not_the_one_before(
    optimized_player: Path, cache: Path
) -> None:
    image = open_image(optimized_player)
    entry = next(a for a in range(*image.executable_ranges[-2]) if _name(image, a) == "AudioTrackStart")
    (frame,) = open_symbolizer(optimized_player, cache_dir=cache).resolve(RawFrame(entry, "return"))
    assert (frame.function, frame.note) == ("AudioTrackStart", lines.NOTE_ENTRY)


NEVER_RETURNS = """
#include <stdlib.h>
__attribute__((noinline, noreturn)) void die(int code) { exit(code); }
__attribute__((noinline)) void caller(int code) { die(code); }
__attribute__((noinline)) int next(int code) { return code + 1; }
int main(int count, char **names) { (void)names; if (count > 1) caller(count); return next(count); }
"""


def test_a_call_that_never_returns_at_the_end_of_a_function_is_not_taken_for_the_next_one(
    compile_program: Callable[..., Path], cache: Path
) -> None:
    elf = compile_program(
        NEVER_RETURNS, "-O1", "-g", "-no-pie", "-falign-functions=1", "-fno-reorder-functions", "-fno-toplevel-reorder"
    )
    image = open_image(elf)
    after_die = next(a for a in range(*image.executable_ranges[-2]) if _name(image, a) == "next")
    assert _name(image, after_die - 1, exact=False) == "caller", "the layout that this test is about"
    frame = open_symbolizer(elf, cache_dir=cache).resolve(RawFrame(after_die, "return"))[-1]
    assert (frame.function, frame.line, frame.note) == ("caller", 4, None)


def _name(image: ElfImage, address: int, *, exact: bool = True) -> str | None:
    symbol = image.symbols.at(address)
    return symbol.name if symbol and (not exact or symbol.address == address) else None


def test_two_hundred_addresses_agree_with_addr2line(compile_program: Callable[..., Path], cache: Path) -> None:
    """A real program: C++ with templates, inlining three to six deep, and library code without lines."""
    elf = compile_program(CPLUSPLUS, "-O2", "-g", "-no-pie", suffix=".cc")
    image = open_image(elf)
    text = next(section for section in image.sections if section.name == ".text")
    sample = sorted(random.Random(7).sample(range(text.address, text.end), 200))
    symbolizer = open_symbolizer(elf, cache_dir=cache)
    asked = "\n".join(hex(address) for address in sample)
    printed = subprocess.run(
        ["addr2line", "-fiaC", "-e", elf], input=asked, check=True, capture_output=True, text=True
    ).stdout
    expected: dict[int, list[tuple[str, int | None]]] = {}
    rows = iter(printed.splitlines())
    for row in rows:
        if row.startswith("0x"):
            frames = expected.setdefault(int(row, 16), [])
        else:
            place = next(rows).split(" (discriminator")[0]
            line = place.rpartition(":")[2]
            frames.append((_bare(row), int(line) if line.isdecimal() and line != "0" else None))
    assert len(expected) == 200
    differing = []
    for address, frames in expected.items():
        found = [(_bare(f.function or "??"), f.line) for f in symbolizer.resolve(RawFrame(address, "call"))]
        # addr2line names the nearest symbol for the padding between functions; we say that nothing is there.
        if found != frames and found[0][0] != "??":
            differing.append((hex(address), found, frames))
    assert not differing


def _bare(function: str) -> str:
    """A function's own name: no scope, no template arguments, no parameters (addr2line prints some of these)."""
    depth, kept = 0, ""
    for letter in function.replace("(anonymous namespace)", "anonymous"):
        if letter in "<(":
            depth += 1
        elif letter in ">)":
            depth -= 1
        elif depth == 0:
            kept += letter
    return kept.removesuffix(" const").rpartition("::")[2].rpartition(" ")[2]


CPLUSPLUS = r"""
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>
namespace player {
struct Track { std::string name; std::vector<int> samples; };
template <class T> std::unique_ptr<T> make(const std::string &name) {
    auto track = std::make_unique<T>();
    track->name = name;
    return track;
}
class Mixer {
  public:
    void add(const std::string &name, int length) {
        auto track = make<Track>(name);
        for (int i = 0; i < length; i++) track->samples.push_back(i * 7 % 13);
        std::sort(track->samples.begin(), track->samples.end());
        tracks_[name] = std::move(track);
    }
    int mix() const {
        int sum = 0;
        for (auto &entry : tracks_) for (int sample : entry.second->samples) sum += sample;
        return sum;
    }
  private:
    std::map<std::string, std::unique_ptr<Track>> tracks_;
};
}
int main() { player::Mixer m; m.add("boot.mp3", 100); m.add("alarm.mp3", 50); std::printf("%d\n", m.mix()); }
"""


def test_a_warm_start_parses_no_dwarf_and_gives_the_same_answers(
    optimized_player: Path,
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raws = [raw for _, raw in told(optimized_player).values()]
    entry = RawFrame(open_image(optimized_player).executable_ranges[-2][0] + 4, "return")  # code without lines
    cold = open_symbolizer(optimized_player, cache_dir=cache)
    answers = [cold.resolve(raw) for raw in [*raws, entry]]

    def refuse(*_: object) -> None:
        raise AssertionError("DWARF was parsed")

    monkeypatch.setattr(symcache, "_convert", refuse)
    monkeypatch.setattr("heaptrail.symbols.elf.read_line_rows", refuse)
    warm = open_symbolizer(optimized_player, cache_dir=cache)
    assert [warm.resolve(raw) for raw in [*raws, entry]] == answers


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "foreign"])
def test_a_damaged_cache_is_made_anew(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], cache: Path, damage: str
) -> None:
    line, raw = told(optimized_player)["main"]
    open_symbolizer(optimized_player, cache_dir=cache)
    (kept,) = cache.iterdir()
    data = bytearray(kept.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0x40
    kept.write_bytes({"truncate": data[: len(data) // 2], "flip": data, "empty": b"", "foreign": b"x" * 5000}[damage])
    assert open_symbolizer(optimized_player, cache_dir=cache).resolve(raw)[0].line == line
    assert kept.stat().st_size == len(data), "the damaged file was replaced"


def test_a_cache_folder_that_cannot_be_made_is_no_error(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    line, raw = told(optimized_player)["main"]
    assert open_symbolizer(optimized_player, cache_dir=tmp_path / "file" / "cache").resolve(raw)[0].line == line


def test_a_stripped_twin_with_the_same_build_id_does_not_share_the_cache(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], cache: Path, tmp_path: Path
) -> None:
    twin = tmp_path / "twin"
    shutil.copy(optimized_player, twin)
    subprocess.run(["strip", twin], check=True)
    assert open_image(twin).build_id == open_image(optimized_player).build_id
    line, raw = told(optimized_player)["main"]
    assert open_symbolizer(twin, cache_dir=cache).resolve(raw)[0].line is None
    assert open_symbolizer(optimized_player, cache_dir=cache).resolve(raw)[0].line == line


def test_builds_that_share_a_fixed_build_id_do_not_share_the_cache(
    compile_program: Callable[..., Path],
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    player_source: str,
    cache: Path,
) -> None:
    fixed = "-Wl,--build-id=0x00112233445566778899aabbccddeeff"
    first = compile_program(player_source, "-O2", "-g", "-no-pie", fixed, output="first")
    moved = compile_program("\n\n\n" + player_source, "-O2", "-g", "-no-pie", fixed, output="moved")
    renamed_source = player_source.replace("AudioTrackStart", "AudioTrackReset")
    renamed = compile_program(renamed_source, "-O2", "-g", "-no-pie", fixed, output="renamed")
    for elf in (first, moved, renamed):
        for name, (line, raw) in told(elf).items():
            if name != "end":
                frame = open_symbolizer(elf, cache_dir=cache).resolve(raw)[0]
                assert (frame.function, frame.line) == (name, line)


FIRMWARE = """
int level = 3;
static inline __attribute__((always_inline)) int scaled(int x) { __asm__ volatile("nop"); return x * level; }
__attribute__((noinline)) int volume(int x) { return scaled(x) + 1; }
__attribute__((section(".far"), noinline)) int far_away(int x) {
    return x
        + level; }
void _start(void) { level = volume(level); for (;;) { } }
"""


def _firmware(compile_program: Callable[..., Path], tmp_path: Path, script: str, *flags: str) -> Path:
    (tmp_path / "layout.ld").write_text(script)
    return compile_program(
        FIRMWARE, "-g", "-O1", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-mcmodel=large", "-T", "layout.ld",
        "-Wl,--build-id=none", *flags,
    )  # fmt: skip


def test_a_linker_script_that_lists_ram_before_flash_loses_no_inlined_call(
    compile_program: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    elf = _firmware(
        compile_program,
        tmp_path,
        """PHDRS { ram PT_LOAD FLAGS(6); text PT_LOAD FLAGS(5); }
        SECTIONS { . = 0x20000000; .data : { *(.data*) } :ram
                   . = 0x08000000; .text : { *(.text*) *(.far) *(.rodata*) } :text
                   /DISCARD/ : { *(.note*) *(.eh_frame*) *(.comment) } }""",
    )
    image = open_image(elf)
    assert (image.load_address, image.executable_ranges[0][0]) == (0x2000_0000, 0x0800_0000)
    symbolizer = open_symbolizer(elf, cache_dir=cache)
    code = range(*image.executable_ranges[0])
    chains = {tuple(f.function for f in symbolizer.resolve(RawFrame(address, "call"))) for address in code}
    assert ("scaled", "volume") in chains


def test_code_that_the_symcache_cannot_reach_is_found_in_the_line_table_with_a_note(
    compile_program: Callable[..., Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code 8 GiB away from the rest: symcaches count in 32 bits."""
    elf = _firmware(
        compile_program,
        tmp_path,
        """SECTIONS { . = 0x08000000; .text : { *(.text*) } .data : { *(.data*) }
                   . = 0x208000000; .far : { *(.far) }
                   /DISCARD/ : { *(.note*) *(.eh_frame*) *(.comment) } }""",
    )
    (frame,) = open_symbolizer(elf, cache_dir=cache).resolve(RawFrame(0x2_0800_0000, "call"))
    assert (frame.function, frame.line) == ("far_away", 5)
    assert Path(frame.file).name == "program.c"
    assert frame.note == lines.NOTE_LINE_TABLE
    monkeypatch.setattr("heaptrail.symbols.elf.read_line_rows", lambda *_: pytest.fail("DWARF was parsed"))
    (again,) = open_symbolizer(elf, cache_dir=cache).resolve(RawFrame(0x2_0800_0000, "call"))
    assert again == frame


def test_allocators_and_the_users_own_wrappers_are_marked(
    compile_program: Callable[..., Path],
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    player_source: str,
    cache: Path,
) -> None:
    source = player_source.replace("softvol_update", "pvPortCalloc")
    elf = compile_program(source, "-O2", "-g", "-no-pie")
    symbolizer = open_symbolizer(elf, cache_dir=cache, extra_wrappers=("softvol_*",))
    frames = symbolizer.resolve(told(elf)["softvol_apply"][1])
    assert [(frame.function, frame.wrapper) for frame in frames] == [
        ("softvol_apply", True),
        ("pvPortCalloc", True),
        ("AudioTrackStart", False),
    ]


def test_deep_inlining_is_cut_in_the_middle_and_says_so(
    optimized_player: Path, told: Callable[[Path], dict[str, tuple[int, RawFrame]]], cache: Path
) -> None:
    symbolizer = open_symbolizer(optimized_player, cache_dir=cache, limits=Limits(inline_depth=2))
    frames = symbolizer.resolve(told(optimized_player)["softvol_apply"][1])
    assert [frame.function for frame in frames] == ["softvol_apply", "AudioTrackStart"]
    assert frames[0].note == "1 inlined calls are left out"


def test_thumb_addresses_are_even_whatever_the_log_says(tiny_elf: Callable[..., Path], cache: Path) -> None:
    elf = tiny_elf(40, bytes(64), symbols=(("vTaskStart", 0x0800_0001, 32), ("prvTask", 0x0800_0021, 32)))
    symbolizer = open_symbolizer(elf, cache_dir=cache)
    assert symbolizer.image.arch == "arm"
    assert symbolizer.resolve(RawFrame(0x0800_0011, "return"))[0].function == "vTaskStart"
    # 0x21 is the entry of prvTask with the Thumb bit: not a call in vTaskStart.
    assert symbolizer.resolve(RawFrame(0x0800_0021, "return"))[0].function == "prvTask"


def test_windowed_xtensa_return_addresses_get_their_region_back(tiny_elf: Callable[..., Path], cache: Path) -> None:
    elf = tiny_elf(94, bytes(64), address=0x400D_0000, symbols=(("app_main", 0x400D_0000, 64),))
    symbolizer = open_symbolizer(elf, cache_dir=cache)
    for window in (0x4000_0000, 0x8000_0000, 0xC000_0000):
        raw = RawFrame(0x000D_0010 | window, "return")
        (frame,) = symbolizer.resolve(raw)
        assert (frame.function, frame.pc) == ("app_main", raw.pc)
        assert symbolizer.fit([raw]).inside == 1


def test_riscv_firmware_of_either_width_is_known_by_its_name(tiny_elf: Callable[..., Path], cache: Path) -> None:
    for bits in (32, 64):
        elf = tiny_elf(243, bytes(32), bits=bits, symbols=(("vTaskSwitch", 0x0800_0000, 32),))
        symbolizer = open_symbolizer(elf, cache_dir=cache)
        assert symbolizer.image.arch == f"riscv{bits}"
        assert symbolizer.resolve(RawFrame(0x0800_0010, "return"))[0].function == "vTaskSwitch"


def test_many_frames_cost_one_lookup_each(
    optimized_player: Path,
    told: Callable[[Path], dict[str, tuple[int, RawFrame]]],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    symbolizer = open_symbolizer(optimized_player, cache_dir=cache)
    _, raw = told(optimized_player)["main"]
    first = symbolizer.resolve(raw)
    monkeypatch.setattr(symbolizer, "_resolve", lambda _: pytest.fail("looked up again"))
    assert symbolizer.resolve(raw) is first
