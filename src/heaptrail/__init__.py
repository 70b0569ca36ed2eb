"""heaptrail: follow a heap leak in RTOS firmware from a falling `free` to the line of code that causes it.

For scripts and notebooks: `read` gives the `Report` on a capture or log, which shows itself; `parse` gives its
observations, `judge` the verdict on evidence of your own. They are loaded when first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.version import __version__

__all__ = [
    "Evidence",
    "HeaptrailError",
    "JudgeSettings",
    "Report",
    "Verdict",
    "__version__",
    "judge",
    "parse",
    "read",
]

if TYPE_CHECKING:
    from heaptrail.analysis.verdict import judge
    from heaptrail.errors import HeaptrailError
    from heaptrail.model.evidence import Evidence
    from heaptrail.model.verdict import JudgeSettings, Verdict
    from heaptrail.scripting import Report, parse, read

_HOMES = {
    "Evidence": "heaptrail.model.evidence",
    "HeaptrailError": "heaptrail.errors",
    "JudgeSettings": "heaptrail.model.verdict",
    "Report": "heaptrail.scripting",
    "Verdict": "heaptrail.model.verdict",
    "judge": "heaptrail.analysis.verdict",
    "parse": "heaptrail.scripting",
    "read": "heaptrail.scripting",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only needed on this path

    return getattr(import_module(_HOMES[name]), name)
