"""`--suppressions` means the same in every command that makes a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unit.reports import samples

from heaptrail.reports.jsonfile import JsonRenderer

if TYPE_CHECKING:
    from conftest import Heaptrail

WORKLOAD = Path(__file__).resolve().parents[2] / "examples" / "rtplayer" / "heaptrail.toml"


@pytest.mark.parametrize("command", ["read", "hunt", "soak", "watch", "trace", "ram", "render", "diff"])
def test_the_option_is_there(heaptrail: Heaptrail, command: str) -> None:
    assert "--suppressions" in heaptrail(command, "--help").stdout


def test_a_soak_leaves_with_0_where_its_only_leak_is_known(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "known.supp").write_text("leak:ap_update_mode\nleak:mended_long_ago\n")
    console = f"exec:{players['leaking']} --rounds-per-second 20 --speed 0"
    outputs = ("--output", "-", "--output", "r.xml", "--output", "r.json")

    done = heaptrail("soak", WORKLOAD, "--console", console, "--suppressions", "known.supp", *outputs)

    assert "Every leak is on the list of known ones." in done.stdout, done.stdout + done.stderr
    assert "stale_suppression: leak:mended_long_ago" in done.stdout
    assert done.returncode == 0
    assert 'failures="0"' in (tmp_path / "r.xml").read_text()


def test_a_diff_forgives_a_new_leak_that_is_known(heaptrail: Heaptrail, tmp_path: Path) -> None:
    for name in ("no_leak", "leak"):
        (tmp_path / f"{name}.json").write_bytes(JsonRenderer().render(samples.SAMPLES[name]()))
    (tmp_path / "known.supp").write_text("leak:_AudioTrackStart\n")

    assert heaptrail("diff", "no_leak.json", "leak.json").returncode == 1
    forgiven = heaptrail("diff", "no_leak.json", "leak.json", "--suppressions", "known.supp")

    assert forgiven.returncode == 0, forgiven.stdout
    assert "(suppressed)" in forgiven.stdout
