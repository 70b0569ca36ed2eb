"""`heaptrail mcp`: captures and reports for an assistant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mcp_command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that the assistant may read; nothing else.")
    ],
) -> None:
    """Let an assistant read logs and reports in some folders, over the Model Context Protocol on standard input.

    Read-only. The assistant's own settings start it: `heaptrail mcp DIR` is the command to name there.
    """
    from heaptrail.errors import UsageError

    try:
        from heaptrail.assistant.server import serve
    except ImportError as error:
        raise UsageError(
            f"this command needs the package mcp, version 2 or later ({error.name} is missing)",
            try_this='pip install "heaptrail[mcp]"',
        ) from error
    serve(folders)
