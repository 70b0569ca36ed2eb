"""`heaptrail trace` on the real player: the leak, who allocates and who alone frees, from a stream that it wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from heaptrail.model.report import Report
from heaptrail.wire import VERSION

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 20
pytestmark = pytest.mark.sanitizer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("needs gcc and make (apt-get install gcc make)")
    out = tmp_path_factory.mktemp("player")
    made = subprocess.run(
        ["make", "-s", "-C", ROOT / "examples" / "rtplayer", f"OUT={out}"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return out


def played(built: Path, name: str, target: Path) -> Path:
    """The stream of some rounds, played as fast as may be and stopped as in the case."""
    player = subprocess.Popen(
        [built / name, "--speed", "0", "--trace", target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert player.stdin is not None
    assert player.stdout is not None
    player.stdin.write(f"rtplayer_test {built / 'boot.wav'}\nl\n".encode())
    player.stdin.flush()
    for line in player.stdout:
        if f"round {ROUNDS} complete".encode() in line:
            break
    player.communicate(b"rtpc q\n", timeout=30)
    return target


def trace(stream: Path, *options: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "heaptrail", "trace", stream, *options]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_the_cause_is_named_from_the_free_s_own_stack(built: Path, tmp_path: Path) -> None:
    stream = played(built, "rtplayer", tmp_path / "leaky.bin")

    ended = trace(stream, "--elf", built / "rtplayer", "--format", "json")

    assert ended.returncode == 1, ended.stderr.decode()
    report = msgspec.json.decode(ended.stdout, type=Report)
    leak = report.findings[0]
    assert leak.finding_class == "leak"
    assert {site.name for site in leak.sites} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    assert leak.per_cycle_blocks == pytest.approx(2, rel=0.15)
    told = " ".join(leak.evidence)
    assert "Allocated 1 per cycle in softvol_ap_update_mode (softvolume.c:" in told
    assert "freed only by softvol_ap_destroy (softvolume.c:" in told
    assert "which ran once" in told
    assert not [problem for problem in report.problems if problem.what in ("corrupt", "missing_records")]


def test_the_mended_player_is_innocent(built: Path, tmp_path: Path) -> None:
    ended = trace(played(built, "rtplayer-mended", tmp_path / "mended.bin"), "--elf", built / "rtplayer-mended")

    assert ended.returncode == 0, ended.stdout.decode()
    assert ended.stdout.startswith(b"No leak")


def test_the_elf_says_which_version_its_stream_has(built: Path) -> None:
    symbols = subprocess.run(["nm", built / "rtplayer"], capture_output=True, text=True, check=True).stdout

    assert " R ht_wire_version" in symbols
    assert f"heaptrail.wire/{VERSION}\0".encode() in (built / "rtplayer").read_bytes()


def test_the_elf_of_another_build_is_refused(built: Path, tmp_path: Path) -> None:
    stream = played(built, "rtplayer", tmp_path / "leaky.bin")

    ended = trace(stream, "--elf", built / "rtplayer-mended")

    assert ended.returncode == 2
    assert b"was recorded with build" in ended.stderr


def test_an_elf_that_writes_streams_of_another_version_is_refused(built: Path, tmp_path: Path) -> None:
    stream = played(built, "rtplayer", tmp_path / "leaky.bin")
    later = tmp_path / "later"
    later.write_bytes((built / "rtplayer").read_bytes().replace(b"heaptrail.wire/1\0", b"heaptrail.wire/9\0"))

    refused = trace(stream, "--elf", later)
    allowed = trace(stream, "--elf", later, "--allow-mismatch")

    assert refused.returncode == 2
    assert b"later writes event streams of version '9' (its symbol ht_wire_version)" in refused.stderr
    assert b"this is one of version 1" in refused.stderr
    assert (allowed.returncode, b"ht_wire_version" in allowed.stdout) == (1, True)


def test_a_file_that_is_no_stream_is_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("c906>free\n")

    ended = trace(log)

    assert ended.returncode == 2
    assert ended.stderr.startswith(b"heaptrail: log.txt holds no frame")
    assert b"try:" in ended.stderr
