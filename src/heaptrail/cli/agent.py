"""`heaptrail agent`: the C sources of the tracer, out of the installed package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def agent_command(
    action: Annotated[Literal["export"], typer.Argument(help="What to do.")],  # noqa: ARG001 - the only action so far
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to copy them.")],
    *,
    port: Annotated[str, typer.Option("--port", help="freertos, posix, baremetal, wrap or template.")] = "freertos",
) -> None:
    """Copy the tracer's C files of this version to a folder of your firmware, with one port."""
    from heaptrail.bundled import export_agent

    export_agent(folder, port)
    sys.stderr.write(f"wrote {folder}; begin with {folder / 'include' / 'ht_agent.h'}\n")
