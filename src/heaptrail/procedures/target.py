"""From a workload file to what a procedure needs: the way to the console, and the head of the capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heaptrail.capture import CaptureHeader
from heaptrail.dialects.plain import PlainForm
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.reading.session import make_dialects
from heaptrail.registry import resolve
from heaptrail.transports import REGISTRY, scheme_of

if TYPE_CHECKING:
    from heaptrail.procedures.workload import Workload
    from heaptrail.transports import Transport


def transport_for(workload: Workload) -> Transport:
    """The closed transport to the workload's console. Raises `UsageError` for a console that makes no sense."""
    target = workload.target
    scheme = scheme_of(target.console)
    maker: Any = resolve(REGISTRY, scheme, kind="transport")
    # Programs and captures lie in folders, ports do not.
    place = {"cwd": workload.folder} if scheme in ("exec", "replay") else {}
    transport: Transport = maker.from_target(target.console, baud=target.baud, **place)
    return transport


def capture_header(
    workload: Workload, *, dialect: str, build_id: str | None, started_unix_s: float | None
) -> CaptureHeader:
    """The head of a capture of this workload, with all that reading it later needs.

    Raises:
        UsageError: The description of the firmware's own lines is wrong; better said now than after the run.
    """
    target = workload.target
    form = PlainForm(
        pattern=None if target.regex is None else target.regex.pattern,
        columns=() if target.csv is None else target.csv.columns,
    )
    make_dialects(dialect, DEFAULT_LIMITS, form)
    return CaptureHeader(
        target=target.console,
        dialect=dialect,
        prompt=target.prompt,
        cycle_mark=workload.workload.cycle_mark,
        boot_mark=workload.workload.boot_mark,
        pattern=form.pattern,
        columns=form.columns or None,
        wrappers=target.wrappers or None,
        warmup_cycles=workload.workload.warmup_cycles,
        judge=workload.judge_settings(),
        build_id=build_id,
        started_unix_s=started_unix_s,
    )
