"""Cross compilers and QEMU: a firmware is built for a board and run to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Compile = Callable[..., "subprocess.CompletedProcess[str]"]

HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
BAREMETAL = AGENT / "port" / "baremetal"
INSTALL = "apt-get install qemu-system-misc qemu-system-arm gcc-riscv64-unknown-elf gcc-arm-none-eabi"
COMMON = (
    *("-O2", "-g", "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib"),
    *("-fno-tree-loop-distribute-patterns", "-Wl,--build-id", "-Wl,--fatal-warnings"),
)


class Board(NamedTuple):
    """A machine of QEMU's and the compiler for it."""

    name: str
    compiler: str
    options: tuple[str, ...]
    qemu: tuple[str, ...]

    def missing(self) -> list[str]:
        return [tool for tool in (self.compiler, self.qemu[0]) if shutil.which(tool) is None]


BOARDS = {
    "virt": Board(
        "virt",
        "riscv64-unknown-elf-gcc",
        (
            "-march=rv64imac_zicsr",
            "-mabi=lp64",
            "-mcmodel=medany",
            "-fno-omit-frame-pointer",
            "-Wl,-z,max-page-size=16",
        ),
        ("qemu-system-riscv64", "-M", "virt", "-bios", "none"),
    ),
    "mps2": Board(
        "mps2",
        "arm-none-eabi-gcc",
        ("-mcpu=cortex-m3", "-mthumb"),
        ("qemu-system-arm", "-M", "mps2-an385", "-semihosting"),
    ),
}


@pytest.fixture(params=list(BOARDS), scope="session")
def board(request: pytest.FixtureRequest) -> Board:
    found = BOARDS[request.param]
    if found.missing():
        text = f"needs {' and '.join(found.missing())} ({INSTALL})"
        if os.environ.get("HEAPTRAIL_NO_SKIP"):
            pytest.fail(text)
        pytest.skip(text)
    return found


@pytest.fixture(scope="session")
def compile_for() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the board's compiler with these words; the caller judges the exit status."""

    def run(board: Board, *words: str | Path) -> subprocess.CompletedProcess[str]:
        include = (f"-isystem{HERE / 'libc'}", f"-I{HERE}", f"-I{AGENT / 'include'}", f"-I{BAREMETAL}")
        command = [board.compiler, *board.options, *COMMON, *include, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def firmware(
    board: Board, compile_for: Compile, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, bytes]]:
    """Call with a program of this folder and compiler options: its ELF for this board, and the bytes that it sent."""

    def build_and_run(main: str, *options: str) -> tuple[Path, bytes]:
        elf = tmp_path_factory.mktemp(board.name) / f"{Path(main).stem}.elf"
        build_firmware(board, compile_for, elf, main, *options)
        return elf, qemu_output(board, elf)

    return build_and_run


@pytest.fixture(scope="session")
def player(firmware: Callable[..., tuple[Path, bytes]]) -> tuple[Path, str]:
    """The player's ELF for this board, and all that it printed."""
    elf, printed = firmware("player.c")
    return elf, printed.decode()


def build_firmware(board: Board, compile_for: Compile, elf: Path, main: str, *options: str) -> None:
    """The agent, its bare-metal port and a program of this folder, linked for a board."""
    streams = "-DHT_STREAM=1" in options
    agent = [path for path in sorted((AGENT / "src").glob("*.c")) if streams or "wire" not in path.name]
    ours = [HERE / f"{board.name}.c", HERE / "board.c", HERE / "heap.c", HERE / main]
    port = BAREMETAL / "ht_port_baremetal.c"
    built = compile_for(board, *options, "-T", HERE / f"{board.name}.ld", *ours, *agent, port, "-lgcc", "-o", elf)
    assert built.returncode == 0, built.stderr


@pytest.fixture(scope="session")
def run() -> Callable[[Board, Path], str]:
    """Run a firmware to its end; what it printed."""
    return run_qemu


def run_qemu(board: Board, elf: Path) -> str:
    """What the firmware prints until it stops the machine, as text."""
    return qemu_output(board, elf).decode()


def qemu_output(board: Board, elf: Path) -> bytes:
    """The bytes that the firmware sends to its UART until it stops the machine."""
    flags = ("-nographic", "-monitor", "none", "-serial", "stdio", "-kernel", str(elf))
    ended = subprocess.run(
        [*board.qemu, *flags], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
