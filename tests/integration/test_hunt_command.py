"""`heaptrail hunt` on the real player: what the case asks for, from one command."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Heaptrail

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"
DEADLINE_S = 60


def console(player: Path) -> str:
    return f"exec:{player} --rounds-per-second 20 --speed 0"


def hunted(heaptrail: Heaptrail, player: Path, folder: Path) -> tuple[int, dict[str, Any]]:
    done = heaptrail(
        *("hunt", WORKLOAD, "--console", console(player), "--elf", player),
        *("--capture", folder / "hunt.cast", "-o", folder / "report.json", "-o", folder / "report.html"),
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads((folder / "report.json").read_text())


def test_the_case_is_one_finding_of_two_sites_with_its_books_balanced(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    status, report = hunted(heaptrail, players["leaking"], tmp_path)

    assert status == 1
    assert report["verdict"] == "leak"
    (finding,) = [f for f in report["findings"] if f["class"] == "leak"]
    sites = {site["name"]: site for site in finding["sites"]}
    assert set(sites) == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    for name, site in sites.items():
        assert site["sizes_bytes"] == [0xF00]
        assert site["per_cycle_blocks"] == pytest.approx(1.0, abs=0.02)
        source = (ROOT / "examples" / "rtplayer" / Path(site["file"]).name).read_text().splitlines()
        assert "pvPortCalloc" in source[site["line"] - 1], f"{name} is not at its allocation"
        assert "_AudioTrackStart" in [frame["function"] for frame in site["frames"]]
    assert "reached from _AudioTrackStart" in finding["summary"]
    assert 0.95 <= report["books"]["share_explained"] <= 1.1
    innocent = [f["class"] for f in report["findings"] if f is not finding]
    assert set(innocent) <= {"in_flight", "bounded", "one_time"}
    assert report["provenance"]["elf"]["build_id"]


def test_the_mended_twin_is_never_called_a_leak(heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path) -> None:
    status, report = hunted(heaptrail, players["mended"], tmp_path)

    assert status in (0, 3)
    assert report["verdict"] != "leak"
    assert not [f for f in report["findings"] if f["class"] in ("leak", "held_until_teardown")]


def test_reading_the_capture_gives_the_report_that_the_hunt_gave(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    _, hunt_report = hunted(heaptrail, players["leaking"], tmp_path)
    read_again = heaptrail(
        *("read", tmp_path / "hunt.cast", "--elf", players["leaking"], "--format", "json"),
        *("--source-map", f"/src={ROOT}"),
    )

    assert json.loads(read_again.stdout) == hunt_report


def test_the_wrappers_of_the_workload_file_are_those_of_its_capture(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    text = WORKLOAD.read_text().replace("[target]\n", '[target]\nwrappers = ["*_ap_update_mode"]\n', 1)
    workload = WORKLOAD.with_name("heaptrail-of-a-test.toml")
    workload.write_text(text)
    try:
        heaptrail(
            *("hunt", workload, "--console", console(players["leaking"]), "--elf", players["leaking"]),
            *("--capture", tmp_path / "hunt.cast", "-o", tmp_path / "report.json"),
        )
    finally:
        workload.unlink()
    again = heaptrail("read", tmp_path / "hunt.cast", "--elf", players["leaking"], "--format", "json")

    for report in (json.loads((tmp_path / "report.json").read_text()), json.loads(again.stdout)):
        (leak,) = [finding for finding in report["findings"] if finding["class"] == "leak"]
        assert {site["name"] for site in leak["sites"]} == {"_AudioTrackStart"}


def test_the_twins_elf_is_refused_by_its_build_id(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    hunted(heaptrail, players["leaking"], tmp_path)
    refused = heaptrail("read", tmp_path / "hunt.cast", "--elf", players["mended"])

    assert refused.returncode == 2
    assert "was recorded with build" in refused.stderr
    assert "--allow-mismatch" in refused.stderr


def test_a_stripped_elf_still_judges_and_says_what_is_missing(
    heaptrail: Heaptrail, players: dict[str, Path], tmp_path: Path
) -> None:
    hunted(heaptrail, players["leaking"], tmp_path)
    bare = tmp_path / "bare"
    subprocess.run(["strip", "-g", "-o", str(bare), str(players["leaking"])], check=True)
    report = json.loads(heaptrail("read", tmp_path / "hunt.cast", "--elf", bare, "--format", "json").stdout)

    assert report["verdict"] == "leak"
    (finding,) = [f for f in report["findings"] if f["class"] == "leak"]
    assert {site["name"] for site in finding["sites"]} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    assert all(site["line"] is None for site in finding["sites"])
    assert "no_debug_info" in {problem["what"] for problem in report["problems"]}


def test_a_console_that_never_answers_is_one_sentence(heaptrail: Heaptrail, tmp_path: Path) -> None:
    workload = tmp_path / "mute.toml"
    workload.write_text(
        "[target]\nconsole = 'exec:cat /dev/zero --help'\nprompt = 'c906>'\nanswer_timeout_s = 1.0\n"
        "[workload]\ncycle = [{ send = 'go' }]\n".replace("cat /dev/zero --help", "sleep 60")
    )

    done = heaptrail("hunt", workload, "--capture", tmp_path / "mute.cast")

    assert done.returncode == 2
    assert "c906>" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("try: ")
    assert "Traceback" not in done.stderr


class RunningHunt:
    """A hunt in the background that a test disturbs when its capture has come far enough."""

    def __init__(self, player: Path, folder: Path) -> None:
        self.folder = folder
        self.capture = folder / "hunt.cast"
        program = [sys.executable, "-c", "from heaptrail.cli import main; main()", "hunt", str(WORKLOAD)]
        options = ["--console", console(player), "--elf", str(player), "--capture", str(self.capture)]
        outputs = ["-o", str(folder / "report.json")]
        self.process = subprocess.Popen([*program, *options, *outputs], stderr=subprocess.PIPE, text=True)

    def wait_for(self, text: str) -> None:
        """Until the capture holds `text`; the pipe of the process says when it has ended instead."""
        deadline = time.monotonic() + DEADLINE_S
        assert self.process.stderr is not None
        while time.monotonic() < deadline:
            if self.capture.exists() and text in self.capture.read_text():
                return
            ended, _, _ = select.select([self.process.stderr], [], [], 0.05)
            assert not ended or self.process.poll() is None, self.process.stderr.read()
        pytest.fail(f"the capture never held {text!r}")

    def end(self) -> tuple[int, str, dict[str, Any]]:
        _, stderr = self.process.communicate(timeout=DEADLINE_S)
        assert "Traceback" not in stderr
        return self.process.returncode, stderr, json.loads((self.folder / "report.json").read_text())

    def player_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])


def test_a_program_killed_in_mid_hunt_leaves_a_report_on_what_was_recorded(
    players: dict[str, Path], tmp_path: Path
) -> None:
    hunt = RunningHunt(players["leaking"], tmp_path)
    hunt.wait_for("playback round 12 complete")
    os.kill(hunt.player_pid(), signal.SIGKILL)
    status, stderr, report = hunt.end()

    assert status == 2
    assert "signal 9" in stderr or "SIGKILL" in stderr
    assert report["verdict"] == "inconclusive"
    assert report["cycles"] >= 12


def test_ctrl_c_disarms_the_tracer_and_keeps_a_usable_capture(players: dict[str, Path], tmp_path: Path) -> None:
    hunt = RunningHunt(players["leaking"], tmp_path)
    hunt.wait_for("step: tracer on")
    hunt.process.send_signal(signal.SIGINT)
    status, stderr, report = hunt.end()

    assert status == 130
    assert "interrupted" in stderr
    assert "memleak 0" in hunt.capture.read_text()
    assert report["verdict"] in ("leak", "inconclusive")
