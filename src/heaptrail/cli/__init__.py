"""The command line: one file for each command, thin over the procedures and the diagnosis.

Adding a command: a file here with a function of the command's name, and one line in `COMMANDS`. The function's
docstring is its help. Imports stand inside the functions, so that `--help` stays fast.
"""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Annotated

import typer

from heaptrail.errors import EXIT_COULD_NOT, EXIT_INTERRUPTED, HeaptrailError
from heaptrail.version import __version__

COMMANDS: dict[str, str] = {
    "hunt": "Run the workload on a device, and report what leaks where.",
    "soak": "Run the workload until a claim on its leak rate is proven.",
    "watch": "Show a device's heap live while somebody else drives it.",
    "read": "Report on any console log or capture.",
    "parse": "Print what a log says, one JSON object a line.",
    "trace": "Report on an event stream: who lives how long, who frees.",
    "ram": "Report from RAM images which blocks nothing points to.",
    "render": "Show a saved report in another format.",
    "diff": "Compare two runs: leaks gone, new, grown.",
    "demo": "Build a program that leaks, and hunt it.",
    "agent": "Copy the tracer's C files out of this package.",
    "mcp": "Let an assistant read logs and reports (MCP).",
    "init": "Write a commented workload file to start from.",
    "list": "List the dialects, reports or transports.",
}
"""Each command with its line in `heaptrail --help`; its own help is its docstring."""


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature that typer's callback has
    if wanted:
        sys.stdout.write(f"heaptrail {__version__}\n")
        raise typer.Exit


def _app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def heaptrail(
        *,
        version: Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
        ] = False,
    ) -> None:
        """Follow a heap leak in RTOS firmware from a falling `free` to the line of code, and prove that the fix holds.

        Exit status: 0 no leak, 1 leak, 2 could not do it, 3 inconclusive, 130 interrupted.
        """

    for name, line in COMMANDS.items():
        module = import_module(f"heaptrail.cli.{name}")
        app.command(name, short_help=line)(getattr(module, f"{name}_command"))
    return app


def main() -> None:
    """Run a command and leave with its exit status; what a user can cause is one sentence and one thing to try."""
    try:
        _app()(prog_name="heaptrail")
    except HeaptrailError as error:
        from heaptrail.cli.output import say_error

        say_error(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.stderr.write("heaptrail: interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is wrong, and Python must not complain at exit.
        sys.stderr.close()
        sys.exit(0)
    except Exception:  # noqa: BLE001 - a bug of ours; its traceback is kept, and it must not leave as "leak" (1)
        traceback.print_exc()
        sys.stderr.write("heaptrail: this is a bug in heaptrail\ntry: report it with the lines above and the capture\n")
        sys.exit(EXIT_COULD_NOT)
