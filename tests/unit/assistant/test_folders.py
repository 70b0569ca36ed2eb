"""Which files an assistant may see: those in the folders, however the name is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from unit.reports import samples

from heaptrail.assistant.folders import Folders
from heaptrail.errors import UsageError
from heaptrail.reports.jsonfile import JsonRenderer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A folder with a log, and beside it what nobody may read."""
    folder = tmp_path / "inside"
    (folder / "deep").mkdir(parents=True)
    (folder / "run.log").write_text("free 1 2 3\n")
    (tmp_path / "secret.log").write_text("secret\n")
    (tmp_path / "inside-too").mkdir()
    (tmp_path / "inside-too" / "secret.log").write_text("secret\n")
    return folder


def test_a_file_has_a_relative_and_an_absolute_name(inside: Path) -> None:
    folders = Folders([inside])

    assert folders.file("run.log") == folders.file(str(inside / "run.log")) == inside / "run.log"
    assert folders.file("deep/../run.log") == inside / "run.log"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.log",
        "deep/../../secret.log",
        "{outside}/secret.log",
        "../inside-too/secret.log",
        "link.log",
        "linked/secret.log",
        "chain.log",
        "circle.log",
        "pipe.log",
        "deep",
        "missing.log",
        "",
        "run.log\0",
        "/etc/passwd",
        "~/secret.log",
        "a" * 5_000,
    ],
)
def test_no_name_leads_out_of_the_folders(inside: Path, name: str) -> None:
    (inside / "link.log").symlink_to(inside.parent / "secret.log")
    (inside / "linked").symlink_to(inside.parent)
    (inside / "chain.log").symlink_to("link.log")
    (inside / "circle.log").symlink_to("circle.log")
    os.mkfifo(inside / "pipe.log")

    with pytest.raises(UsageError, match="is no file in the folders that this server was started with"):
        Folders([inside]).file(name.format(outside=inside.parent))


def test_a_link_within_the_folders_is_a_file_of_theirs(inside: Path) -> None:
    (inside / "latest.log").symlink_to("run.log")

    assert Folders([inside]).file("latest.log") == inside / "run.log"


def test_what_the_tools_can_use_is_listed_and_nothing_else(inside: Path) -> None:
    (inside / "notes.pdf").write_bytes(b"%PDF")
    (inside / "deep" / "any.json").write_bytes(JsonRenderer().render(samples.leak()))
    (inside / "other.json").write_text("{}")
    (inside / "app.elf").write_bytes(b"\x7fELF" + bytes(12) + b"\x02\0" + bytes(40))
    (inside / "app.o").write_bytes(b"\x7fELF" + bytes(12) + b"\x01\0" + bytes(40))
    (inside / "soak.0001.cast.gz").write_bytes(b"\x1f\x8b")
    (inside / "link.log").symlink_to(inside.parent / "secret.log")
    (inside / ".hidden.log").write_text("")

    entries, whole = Folders([inside]).entries()

    assert whole
    assert {entry.path: entry.kind for entry in entries} == {
        "run.log": "log",
        "deep/any.json": "report",
        "app.elf": "elf",
        "soak.0001.cast.gz": "capture",
    }


def test_of_two_files_with_one_name_both_can_be_named(inside: Path) -> None:
    other = inside.parent / "inside-too"
    (other / "run.log").write_text("another\n")
    folders = Folders([inside, other])

    names = [entry.path for entry in folders.entries()[0] if entry.path.endswith("run.log")]

    assert sorted(folders.file(name).read_text() for name in names) == ["another\n", "free 1 2 3\n"]


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        Folders([tmp_path / "missing"])
