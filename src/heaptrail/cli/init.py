"""`heaptrail init`: a commented workload file to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def init_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("heaptrail.toml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented heaptrail.toml: which console, which workload, which terms for the verdict."""
    from heaptrail.errors import UsageError
    from heaptrail.procedures.starter import starter_file

    if path.exists() and not force:
        raise UsageError(f"{path} is there already", try_this="--force to overwrite it, or another name")
    try:
        path.write_text(starter_file(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", try_this="another path") from error
    sys.stderr.write(f"wrote {path}; edit [target] and [workload], then run: heaptrail hunt {path}\n")
