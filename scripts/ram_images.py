# ruff: noqa: INP001 - a script, not a package
"""RAM images of the example player: let it play, stop it after given rounds, copy its writable memory each time.

For the documentation and for trying `heaptrail ram` without a board. Linux only; reads /proc/PID/mem of its own child.

    python scripts/ram_images.py out/rtplayer/rtplayer out/ram 3 4 5 6 7

writes out/ram/player.elf, out/ram/round3.bin, … and out/ram/base, the address of the images' first byte.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.firmware import Firmware

_ROUND = re.compile(rb"playback round (\d+) complete")


def main() -> None:
    """Play and copy, as the module says."""
    program, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    elf = shutil.copy(program, folder / "player.elf")
    shutil.copy(program.parent / "boot.wav", folder / "boot.wav")
    memory = Firmware(Path(elf), DEFAULT_LIMITS).writable
    first, end = memory[0][0], memory[-1][1]
    (folder / "base").write_text(f"{first:#x}\n", encoding="ascii")
    command = [str(Path(elf).absolute()), "--speed", "0", "--rounds-per-second", "5"]
    player = subprocess.Popen(  # noqa: S603 - the program that the user named
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert player.stdin is not None
    assert player.stdout is not None
    player.stdin.write(b"rtplayer_test boot.wav\nl\n")
    output = b""
    for wanted in map(int, sys.argv[3:]):
        while len(_ROUND.findall(output)) < wanted:
            more = os.read(player.stdout.fileno(), 65_536)
            if not more:
                raise SystemExit(f"the player ended before round {wanted}")
            output += more
        player.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, player.pid, os.WSTOPPED | os.WNOWAIT)
        with Path(f"/proc/{player.pid}/mem").open("rb", buffering=0) as source:
            source.seek(first)
            (folder / f"round{wanted}.bin").write_bytes(source.read(end - first))
        player.send_signal(signal.SIGCONT)
    player.kill()
    player.communicate()


if __name__ == "__main__":
    main()
