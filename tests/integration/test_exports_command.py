"""`--output` for other tools, and known leaks, from the command line."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from unit.reports import samples

from heaptrail.reports.jsonfile import JsonRenderer

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Heaptrail


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    path.write_bytes(JsonRenderer().render(samples.leak()))
    return path


def test_the_longest_suffix_says_the_format(heaptrail: Heaptrail, saved: Path, tmp_path: Path) -> None:
    names = ("a.speedscope.json", "a.sarif.json", "a.json", "a.pb.gz", "a.folded", "a.md", "a.csv")

    done = heaptrail("render", saved, *(word for name in names for word in ("-o", name)))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"wrote {name}" for name in names]
    assert "speedscope" in json.loads((tmp_path / "a.speedscope.json").read_bytes())["$schema"]
    assert json.loads((tmp_path / "a.sarif.json").read_bytes())["version"] == "2.1.0"
    assert json.loads((tmp_path / "a.json").read_bytes())["schema"] == "heaptrail.report/1"
    assert gzip.decompress((tmp_path / "a.pb.gz").read_bytes())


def test_a_known_leak_leaves_with_0_and_says_so(heaptrail: Heaptrail, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "known.supp").write_text("# ours\nleak:AudioTrack.c\nleak:mended_long_ago\n")

    done = heaptrail("render", saved, "--suppressions", "known.supp")

    assert done.returncode == 0
    assert "Every leak is on the list of known ones." in done.stdout
    assert "stale_suppression: leak:mended_long_ago (known.supp:3)" in done.stdout


def test_a_list_that_is_none_costs_no_work(heaptrail: Heaptrail, tmp_path: Path) -> None:
    (tmp_path / "known.supp").write_text("softvol\n")

    done = heaptrail("read", "missing.cast", "--suppressions", "known.supp")

    assert done.returncode == 2
    assert "known.supp line 1: 'softvol' does not begin with 'leak:'" in done.stderr
