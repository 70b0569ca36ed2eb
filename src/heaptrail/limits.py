"""Bounds on what input may cost. A console log is untrusted: none of these is ever exceeded silently.

What goes past a bound is cut and said in a `problem` observation; nothing here changes the meaning of good input.
"""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one reading. The defaults fit a laptop and every log met so far."""

    line_bytes: int = 16_384
    """A longer console line is cut here; no firmware prints one on purpose."""
    frames_per_block: int = 64
    """Twice the deepest backtrace that any tracer offers (32)."""
    records_per_dump: int = 2_000_000
    heap_samples: int = 4_000_000
    tasks: int = 4_096
    """Distinct task names that are kept; a log of noise must not fill memory with names."""
    problems: int = 1_000
    """Problems kept one by one; the rest are counted."""
    marks: int = 1_000_000
    trace_events: int = 20_000_000
    """Allocations and frees of a binary recording."""
    recording_bytes: int = 1 << 30
    """A SystemView file is read whole."""
    elf_section_bytes: int = 1 << 30
    inline_depth: int = 64


DEFAULT_LIMITS = Limits()
