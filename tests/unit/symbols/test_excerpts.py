"""Source lines around a frame, and only source lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import UsageError
from heaptrail.symbols.excerpts import MAX_FILE_BYTES, MAX_LINE_CHARACTERS, SourceFiles, parse_source_map

if TYPE_CHECKING:
    from pathlib import Path


def _numbered(path: Path, count: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"line {number}\n" for number in range(1, count + 1)))
    return path


def test_four_lines_on_either_side_fewer_at_the_ends(tmp_path: Path) -> None:
    file = str(_numbered(tmp_path / "softvolume.c"))
    sources = SourceFiles()
    middle = sources.excerpt(file, 10)
    assert (middle.first_line, middle.lines) == (6, tuple(f"line {n}" for n in range(6, 15)))
    assert sources.excerpt(file, 1).lines == tuple(f"line {n}" for n in range(1, 6))
    assert sources.excerpt(file, 20).lines == tuple(f"line {n}" for n in range(16, 21))


def test_a_line_that_is_not_there_has_no_excerpt(tmp_path: Path) -> None:
    file = str(_numbered(tmp_path / "softvolume.c"))
    for line in (0, -1, 21, 1 << 40):
        assert SourceFiles().excerpt(file, line) is None


def test_a_source_map_leads_from_the_build_machine_to_here(tmp_path: Path) -> None:
    _numbered(tmp_path / "rtos" / "audio" / "track.c")
    sources = SourceFiles([f"/workspace={tmp_path}/other", f"/workspace/r128={tmp_path}/rtos"])
    assert sources.excerpt("/workspace/r128/audio/track.c", 3).lines[2] == "line 3"
    windows = SourceFiles([f"C:\\build={tmp_path}/rtos"])
    assert windows.excerpt("C:\\build\\audio\\track.c", 3).lines[2] == "line 3"


def test_a_prefix_ends_at_a_folder(tmp_path: Path) -> None:
    _numbered(tmp_path / "x" / "b" / "track.c")
    assert SourceFiles([f"/build/a={tmp_path}/x"]).excerpt("/build/ab/track.c", 1) is None


@pytest.mark.parametrize("entry", ["", "nothing", "=/new"])
def test_a_malformed_source_map_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match="OLD=NEW"):
        parse_source_map([entry])


def test_secrets_pipes_folders_binaries_and_giants_are_not_read(tmp_path: Path) -> None:
    _numbered(tmp_path / "id_rsa")
    os.mkfifo(tmp_path / "pipe.c")
    (tmp_path / "folder.c").mkdir()
    (tmp_path / "binary.c").write_bytes(b"a\n\0b\n")
    (tmp_path / "giant.c").write_bytes(b"\n" * (MAX_FILE_BYTES + 1))
    for name in ("id_rsa", "pipe.c", "folder.c", "binary.c", "giant.c", "missing.c", "nul\0.c"):
        assert SourceFiles().excerpt(str(tmp_path / name), 1) is None, name


def test_lines_are_counted_as_compilers_do_and_long_ones_are_cut(tmp_path: Path) -> None:
    file = tmp_path / "odd.c"
    file.write_bytes(b"one\x0cstill one\r\ntwo \xff\n" + b"x" * 5000 + b"\nfour")
    lines = SourceFiles().excerpt(str(file), 1).lines
    assert lines == ("one\x0cstill one", "two \ufffd", "x" * MAX_LINE_CHARACTERS, "four")
