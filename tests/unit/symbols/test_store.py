"""The cache folder: whole files or none, and no failure of a folder is an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from heaptrail.symbols.store import CacheStore, cache_folder


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = CacheStore(tmp_path / "a" / "b")
    assert store.load("x") is None
    assert store.save("x", b"payload") is True
    assert store.load("x") == b"payload"
    assert store.load("y") is None


def test_a_file_that_differs_in_one_bit_is_a_miss(tmp_path: Path) -> None:
    store = CacheStore(tmp_path)
    store.save("x", b"payload")
    whole = (tmp_path / "x").read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        (tmp_path / "x").write_bytes(damaged)
        assert store.load("x") is None, position
    for length in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        assert store.load("x") is None, length


def test_a_save_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CacheStore(tmp_path)
    store.save("x", b"old")

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert store.save("x", b"new") is False
    assert store.load("x") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_is_a_file_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = CacheStore(tmp_path / "file")
    assert store.save("x", b"payload") is False
    assert store.load("x") is None
    assert CacheStore(None).save("x", b"payload") is False
    assert CacheStore(None).load("x") is None


def test_only_the_last_used_files_are_kept(tmp_path: Path) -> None:
    store = CacheStore(tmp_path)
    for number in range(70):
        store.save(f"build-{number}", b"x")
        os.utime(tmp_path / f"build-{number}", ns=(number, number))
    store.load("build-7")  # used now, so it outlives younger ones
    store.save("newest", b"x")
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 64
    assert {"newest", "build-7", "build-69"} <= kept


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_CACHE_HOME": "/var/cache/me"}, Path("/var/cache/me/heaptrail")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache" / "heaptrail"),
        ({"XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "heaptrail"),
        ({}, Path.home() / ".cache" / "heaptrail"),
    ],
)
def test_the_users_cache_folder_follows_the_xdg_rules(environ: dict[str, str], folder: Path) -> None:
    assert cache_folder(environ) == folder
