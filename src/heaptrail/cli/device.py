"""What the commands that drive a device share: the workload with the command line's wishes, and the capture's head."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from heaptrail.capture import CaptureHeader
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.interpret import Interpretation
    from heaptrail.procedures.workload import Workload


def overridden(workload: Workload, console: str | None, elf: Path | None) -> Workload:
    """The workload with the command line's console (run in the workload file's folder) and ELF."""
    target = workload.target
    if console is not None:
        target = msgspec.structs.replace(target, console=console)
    if elf is not None:
        target = msgspec.structs.replace(target, elf=str(elf.absolute()))
    return msgspec.structs.replace(workload, target=target)


def interpretation_of(workload: Workload, *, allow_mismatch: bool) -> Interpretation:
    """How to read what this workload records."""
    from heaptrail.interpret import Interpretation

    return Interpretation(
        elf=workload.elf_path,
        source_map=tuple(f"{old}={workload.folder / new}" for old, new in workload.target.source_map.items()),
        wrappers=workload.target.wrappers,
        allow_mismatch=allow_mismatch,
    )


def header_and_commands(
    workload: Workload, interpretation: Interpretation
) -> tuple[CaptureHeader, ConsoleCommands | None]:
    """The head of a capture of this workload, and what to type on its console; None where that must be asked of it.

    Raises:
        UsageError: The dialect is unknown, or its console has no commands.
    """
    from heaptrail.dialects import REGISTRY, ConsoleCommands
    from heaptrail.errors import UsageError
    from heaptrail.procedures.target import capture_header
    from heaptrail.registry import resolve

    name = workload.target.dialect
    build_id = None
    if interpretation.elf is not None:
        from heaptrail.symbols.lines import open_symbolizer

        build_id = open_symbolizer(interpretation.elf).image.build_id
    commands: ConsoleCommands | None = None
    if name != "auto":
        dialect = resolve(REGISTRY, name, kind="dialect")
        commands = dialect.commands  # type: ignore[attr-defined]  # the registry's promise
    own = workload.target.commands
    if own is not None:
        needs = None if commands is None else commands.needs
        commands = ConsoleCommands(sample=own.sample, arm=own.arm, peek=own.peek, collect=own.collect, needs=needs)
    if commands is None and name != "auto":
        raise UsageError(
            f"the dialect {name} has no console commands to hunt with",
            try_this="name the firmware's own in [target.commands], or record the console with any terminal program "
            "and give the log to heaptrail read",
        )
    header = capture_header(workload, dialect=workload.target.dialect, build_id=build_id, started_unix_s=time.time())
    return header, commands
