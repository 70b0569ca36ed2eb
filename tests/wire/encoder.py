"""The C encoder, compiled on this host: what it was told, call by call, and the bytes that it made of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror")


class Vector(NamedTuple):
    """Calls in order, as the encoder's driver prints them, and the stream."""

    calls: list[dict[str, Any]]
    data: bytes

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The calls that found room."""
        before = [0, *(call["dropped"] for call in self.calls)]
        return [call for call, dropped in zip(self.calls, before, strict=False) if call["dropped"] == dropped]


def compile_encoder(target: Path, *flags: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    sources = (*sorted((AGENT / "src").glob("ht_wire*.c")), HERE / "encode.c")
    command = [compiler, "-std=c11", "-g", *WARNINGS, *flags, f"-I{AGENT / 'include'}", *map(str, sources)]
    built = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target


def vector(program: Path, *arguments: str | int) -> Vector:
    command = [str(program), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    *calls, last = (json.loads(line) for line in ended.stdout.splitlines())
    return Vector(calls, bytes.fromhex(last["bytes"]))
