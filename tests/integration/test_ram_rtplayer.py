"""The real player, stopped and looked at from outside: its leak is found without its tracer."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.firmware import Firmware
from heaptrail.ram.images import Image, read_image
from heaptrail.ram.reach import UNREACHABLE
from heaptrail.ram.survey import Question, Survey, survey

if TYPE_CHECKING:
    from conftest import Heaptrail

LEAKED = 0xF00 + 16
BASELINE = Counter({0x25800 + 16: 2, 0x10000 + 16: 2, 0x400 + 16: 1})
"""What system.c allocates and never keeps a pointer to, on purpose: a baseline that stays."""
DEADLINE_S = 30


class Player:
    """A player of its own (other tests may build theirs anew), five rounds a second, each a millisecond long."""

    def __init__(self, program: Path, folder: Path, *, armed: bool = False) -> None:
        self._armed = armed
        self.elf = folder / "player"
        shutil.copy(program, self.elf)
        shutil.copy(program.parent / "boot.wav", folder / "boot.wav")
        options = ("--speed", "0", "--rounds-per-second", "5")
        self._process = subprocess.Popen(
            [self.elf, *options], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.pid = self._process.pid
        self.output = b""
        self.firmware = Firmware(self.elf, DEFAULT_LIMITS)

    def __enter__(self) -> Self:
        assert self._process.stdin is not None
        self._process.stdin.write((b"memleak 1\n" if self._armed else b"") + b"rtplayer_test boot.wav\nl\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def stop_after(self, rounds: int) -> int:
        """Let it play until so many rounds are complete and stop it in the pause behind; gives the rounds complete."""
        assert self._process.stdout is not None
        os.kill(self.pid, signal.SIGCONT)
        self._read_until(rounds)
        self._wait_for_pause()
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
        while select.select([self._process.stdout], [], [], 0)[0]:  # what it printed while we were late
            self.output += os.read(self._process.stdout.fileno(), 65536)
        return self.rounds

    def _wait_for_pause(self) -> None:
        """The line is printed a moment before the round's last work; the pause is when no thread runs."""
        end = time.monotonic() + DEADLINE_S
        while any(_state(task) != "S" for task in Path(f"/proc/{self.pid}/task").iterdir()):
            assert time.monotonic() < end, "the player's threads never sleep all at once"

    @property
    def rounds(self) -> int:
        return len(re.findall(rb"playback round \d+ complete", self.output))

    def _read_until(self, rounds: int) -> None:
        assert self._process.stdout is not None
        end = time.monotonic() + DEADLINE_S
        while self.rounds < rounds:
            ready, _, _ = select.select([self._process.stdout], [], [], max(end - time.monotonic(), 0))
            assert ready, f"the player printed no round {rounds}: {self.output[-200:]!r}"
            self.output += os.read(self._process.stdout.fileno(), 65536)

    def raw_image(self, path: Path) -> str:
        """The ELF's writable memory as a raw image, by way of the kernel."""
        first, end = self.firmware.writable[0][0], self.firmware.writable[-1][1]
        with open(f"/proc/{self.pid}/mem", "rb") as memory:  # noqa: PTH123 - no file that a path's methods open
            memory.seek(first)
            path.write_bytes(memory.read(end - first))
        return f"{path}@{first:#x}"

    def core(self, path: Path) -> str:
        subprocess.run(["gcore", "-o", path, str(self.pid)], check=True, capture_output=True, timeout=DEADLINE_S)
        return f"{path}.{self.pid}"


def _state(task: Path) -> str:
    """A thread's state as the kernel tells it: S sleeps, R runs."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def player(players: dict[str, Path], tmp_path: Path) -> Player:
    return Player(players["leaking"], tmp_path)


def lost_sizes(found: Survey) -> Counter[int]:
    return Counter(found.heap.live[index].size_bytes for index in found.with_state(UNREACHABLE))


def looked_at(spec: str, firmware: Firmware) -> tuple[Image, Survey]:
    image = read_image(spec, firmware, DEFAULT_LIMITS)
    return image, survey(image, firmware, Question())


def test_a_raw_image_shows_the_lost_buffers_and_nothing_else(player: Player, tmp_path: Path) -> None:
    with player:
        rounds = player.stop_after(12)
        spec = player.raw_image(tmp_path / "ram.bin")

        _, found = looked_at(spec, player.firmware)

    lost = lost_sizes(found)
    all_lost = 2 * (rounds - 1)  # the last pair is still held
    # Stacks are scanned whole here, so that a dead frame may hide one pair; nothing else may be accused.
    assert all_lost - 2 <= lost[LEAKED] <= all_lost
    assert lost - Counter({LEAKED: lost[LEAKED]}) == BASELINE
    assert found.heap.corrupt == ()
    assert any(what == "stacks_whole" for what, _ in found.problems)


def test_the_agents_tables_name_the_lines_that_lose_them(
    players: dict[str, Path], tmp_path: Path, heaptrail: Heaptrail
) -> None:
    with Player(players["leaking"], tmp_path, armed=True) as player:
        player.stop_after(8)
        spec = player.raw_image(tmp_path / "ram.bin")

        done = heaptrail("ram", spec, "--elf", player.elf, "--format", "json")

    assert done.returncode == 1, done.stderr
    leaks = [finding for finding in json.loads(done.stdout)["findings"] if finding["class"] == "leak"]
    sites = {site["name"]: site for finding in leaks for site in finding["sites"]}
    assert {"softvol_ap_update_mode", "resample_ap_update_mode"} <= set(sites)
    assert all(finding["tasks"] == ["AudioRender"] for finding in leaks)
    assert all(site["unreachable_blocks"] >= 3 for site in sites.values())


@pytest.mark.skipif(shutil.which("gcore") is None, reason="needs gdb's gcore (apt-get install gdb)")
def test_a_core_with_registers_agrees_with_the_raw_image(player: Player, tmp_path: Path) -> None:
    with player:
        rounds = player.stop_after(8)
        raw = player.raw_image(tmp_path / "ram.bin")
        core = player.core(tmp_path / "core")

        _, from_raw = looked_at(raw, player.firmware)
        image, from_core = looked_at(core, player.firmware)

    assert image.kind == "core"
    assert len(image.registers) > 10, "one set for each thread"
    assert from_core.heap == from_raw.heap
    assert 2 * (rounds - 1) - 2 <= lost_sizes(from_core)[LEAKED] <= 2 * (rounds - 1)
    assert lost_sizes(from_core) - Counter({LEAKED: 99}) == BASELINE
    live_stacks = [stack for stack in from_core.stacks.stacks if stack.live_from is not None]
    assert len(live_stacks) > 10, "the threads' stacks are blocks of the heap"


def test_images_of_four_rounds_give_two_more_blocks_a_round(
    players: dict[str, Path], tmp_path: Path, heaptrail: Heaptrail
) -> None:
    for _ in range(3):  # a busy machine may be late for a round; then once more
        player, specs, rounds = Player(players["leaking"], tmp_path), [], []
        with player:
            for number in range(3, 8):
                rounds.append(player.stop_after(number))
                specs.append(player.raw_image(tmp_path / f"round{number}.bin"))
        if rounds == [3, 4, 5, 6, 7]:
            break
    assert rounds == [3, 4, 5, 6, 7]

    done = heaptrail("ram", *specs, "--elf", player.elf, "--cycles-apart", "1", "--format", "json")
    report = json.loads(done.stdout)

    assert done.returncode == 1, done.stderr
    assert report["verdict"] == "leak"
    first = report["findings"][0]
    assert first["class"] == "leak"
    assert first["per_cycle_blocks"] == 2.0
    assert first["sites"][0]["sizes_bytes"] == [LEAKED]
    assert first["sites"][0]["unreachable_blocks"] >= 10
    assert first["evidence"][0].startswith("Unreachable: ")
    assert [finding for finding in report["findings"][1:] if finding["class"] == "leak"] == []
    assert report["rate_bytes_per_cycle"]["estimate"] == 2 * LEAKED


def test_the_mended_player_has_lost_nothing(players: dict[str, Path], tmp_path: Path) -> None:
    player = Player(players["mended"], tmp_path)
    with player:
        player.stop_after(8)
        _, found = looked_at(player.raw_image(tmp_path / "ram.bin"), player.firmware)

    assert lost_sizes(found) == BASELINE


def test_a_wrong_base_is_refused(player: Player, tmp_path: Path, heaptrail: Heaptrail) -> None:
    with player:
        player.stop_after(2)
        spec = player.raw_image(tmp_path / "ram.bin")
    shifted = spec.partition("@")[0] + f"@{player.firmware.writable[0][0] + 0x100:#x}"

    done = heaptrail("ram", shifted, "--elf", player.elf)

    assert done.returncode == 2
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr


def test_why_and_list_answer_instead_of_the_report(player: Player, tmp_path: Path, heaptrail: Heaptrail) -> None:
    with player:
        player.stop_after(6)
        spec = player.raw_image(tmp_path / "ram.bin")

    listed = heaptrail("ram", spec, "--elf", player.elf, "--list", "unreachable")
    rows = listed.stdout.splitlines()
    address = next(row.split()[0] for row in rows if " 3,856 " in row)
    why = heaptrail("ram", spec, "--elf", player.elf, "--why", address)

    assert listed.returncode == 1
    assert rows[-1].endswith(" B")
    assert f"{address}: block of 3,856 B (0xf10, header included), unreachable" in why.stdout


def test_an_answer_names_the_functions_that_allocated_and_no_control_characters(
    players: dict[str, Path], tmp_path: Path, heaptrail: Heaptrail
) -> None:
    player = Player(players["leaking"], tmp_path, armed=True)
    with player:
        player.stop_after(6)
        spec = player.raw_image(tmp_path / "ram.bin")
    elf = player.elf.read_bytes()
    player.elf.write_bytes(elf.replace(b"\0playing\0", b"\0p\x1b[31mg\0"))  # the variable's name

    listed = heaptrail("ram", spec, "--elf", player.elf, "--list", "all")
    address = next(row.split()[0] for row in listed.stdout.splitlines() if " 3,856  unreachable" in row)
    why = heaptrail("ram", spec, "--elf", player.elf, "--why", address)

    report = heaptrail("ram", spec, "--elf", player.elf)

    assert "which alone is no leak" not in report.stdout, "a finding must not contradict itself"
    assert "by AudioRender" in why.stdout
    assert re.search(r"^    0x[0-9a-f]+  _AudioTrackStart \(.*:\d+\)$", why.stdout, re.MULTILINE)
    assert "from pg" in listed.stdout
    assert "\x1b" not in listed.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--why", "here"), "--why here: this is no address"),
        (("--list", "lost"), "one of: unreachable, masked, all"),
        (("--layout", "heap_9"), "no heap layout named"),
        (("--base", "twenty"), "--base twenty: this is no address"),
        ((), "at which address they begin"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_one_thing_to_try(
    players: dict[str, Path], tmp_path: Path, heaptrail: Heaptrail, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "ram.bin").write_bytes(bytes(64))
    base = ("--base", "0x400000") if options and "--base" not in options else ()

    done = heaptrail("ram", tmp_path / "ram.bin", "--elf", players["leaking"], *base, *options)

    assert done.returncode == 2
    assert said in done.stderr
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr
