"""The installed program, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60

Heaptrail = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def heaptrail(tmp_path: Path) -> Heaptrail:
    """Run `heaptrail ARGS` in a folder of its own and give what it printed and its exit status."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from heaptrail.cli import main; main()", *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")},
            input=stdin,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    return run


@pytest.fixture(scope="session")
def players() -> dict[str, Path]:
    """The example player, leaking and mended, as `make rtplayer` builds them."""
    folder = ROOT / "out" / "rtplayer"
    subprocess.run(
        ["make", "-s", "-C", str(ROOT / "examples" / "rtplayer"), f"OUT={folder}"], check=True, timeout=DEADLINE_S
    )
    return {"leaking": folder / "rtplayer", "mended": folder / "rtplayer-mended"}
