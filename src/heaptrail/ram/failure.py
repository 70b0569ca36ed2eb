"""The moment when memory runs out: which function a firmware calls then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.errors import UsageError

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware

AUTO = "auto"
HOOKS = ("vApplicationMallocFailedHook", "heap_caps_alloc_failed", "malloc_failed")
"""FreeRTOS' hook (configUSE_MALLOC_FAILED_HOOK), ESP-IDF's, and a name that many give their own."""


def failure_hook(firmware: Firmware, given: str) -> str:
    """The function that the firmware calls when an allocation fails.

    Args:
        firmware: The ELF.
        given: The user's name for it, or `auto` for the first of the known ones that there is.

    Raises:
        UsageError: There is no such function.
    """
    candidates = HOOKS if given == AUTO else (given,)
    found = next((name for name in candidates if firmware.function(name) is not None), None)
    if found is not None:
        return found
    what = f"no function {given}" if given != AUTO else f"none of the functions {', '.join(HOOKS)}"
    raise UsageError(
        f"--at-failure: {firmware.name} has {what}",
        try_this="the name of the function that the firmware calls when an allocation fails, as the linker has it",
    )
