"""The C sources that the package brings: the agent for firmware, the player for the demo."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from heaptrail.bundled import agent_ports

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Heaptrail


@pytest.mark.parametrize("port", agent_ports())
def test_the_agent_is_exported_with_the_port_asked_for(heaptrail: Heaptrail, tmp_path: Path, port: str) -> None:
    done = heaptrail("agent", "export", tmp_path / "fw", "--port", port)

    assert done.returncode == 0
    assert [folder.name for folder in (tmp_path / "fw" / "port").iterdir()] == [port]
    assert (tmp_path / "fw" / "include" / "ht_agent.h").exists()


def test_the_exported_agent_compiles(heaptrail: Heaptrail, tmp_path: Path) -> None:
    heaptrail("agent", "export", tmp_path, "--port", "posix")
    sources = [*map(str, (tmp_path / "src").glob("*.c")), str(tmp_path / "port" / "posix" / "ht_port_posix.c")]
    includes = [f"-I{tmp_path / 'include'}", f"-I{tmp_path / 'port' / 'posix'}"]

    for source in sources:
        done = subprocess.run(["gcc", "-std=gnu11", "-fsyntax-only", *includes, source], check=False)
        assert done.returncode == 0, source


def test_a_port_that_is_not_there_is_said_with_those_that_are(heaptrail: Heaptrail, tmp_path: Path) -> None:
    done = heaptrail("agent", "export", tmp_path, "--port", "threadx")

    assert done.returncode == 2
    assert "freertos" in done.stderr


def test_the_demo_builds_hunts_and_leaves_its_results(heaptrail: Heaptrail, tmp_path: Path) -> None:
    done = heaptrail("demo", tmp_path / "demo")

    assert done.returncode == 1
    assert done.stdout.startswith("Leak: ")
    assert {"capture.cast", "report.html", "report.json"} <= {path.name for path in (tmp_path / "demo").iterdir()}
