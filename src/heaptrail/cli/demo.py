"""`heaptrail demo`: build the example player and hunt its leak, from an installed package too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer


def demo_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to build and to leave the results.")] = Path(
        "heaptrail-demo"
    ),
    *,
    mended: Annotated[bool, typer.Option("--mended", help="Hunt the player without the leak.")] = False,
) -> None:
    """Build a real program that leaks, hunt it, and leave the capture and the reports in a folder."""
    from heaptrail.bundled import export_player
    from heaptrail.cli.hunt import hunt_command
    from heaptrail.errors import UsageError

    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            raise UsageError(f"the demo needs {tool}, which is not here", try_this="apt-get install make gcc")
    workload = export_player(folder)
    name = "rtplayer-mended" if mended else "rtplayer"
    built = folder / "out" / "rtplayer"
    command = ["make", "-s", "-C", str(workload.parent), f"OUT={built.absolute()}"]
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:  # noqa: S603 - our own Makefile
        raise UsageError(f"the player in {workload.parent} did not build", try_this="read the compiler's message above")
    hunt_command(
        workload,
        capture=folder / "capture.cast",
        console=f"exec:../../out/rtplayer/{name} --rounds-per-second 20 --speed 0",
        elf=built / name,
        output=[Path("-"), folder / "report.html", folder / "report.json"],
    )
