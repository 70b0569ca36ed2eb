"""Every error that a user can cause.

An error is one sentence with what was found and where, and one thing to try. The command line prints exactly
these two and leaves with `exit_status`; anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

EXIT_COULD_NOT = 2
EXIT_INTERRUPTED = 130
"""The two exit statuses that no verdict gives (SPEC.md, "Exit status")."""


class HeaptrailError(Exception):
    """What could not be done, where, and what to try.

    Args:
        sentence: What was found and where (file, line, byte offset, address), without a full stop at the end.
        try_this: One thing that the user can do about it.
    """

    exit_status = EXIT_COULD_NOT

    def __init__(self, sentence: str, *, try_this: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.try_this = try_this

    def __str__(self) -> str:
        return f"{self.sentence}\ntry: {self.try_this}"


class UsageError(HeaptrailError):
    """A setting, an option or a file name cannot be used as it was given."""


class FormatError(HeaptrailError):
    """A file is not what it claims to be, at a place that the sentence names."""


class TargetError(HeaptrailError):
    """The device or program does not answer, went away, or answered something else."""


class EvidenceError(HeaptrailError):
    """The inputs do not belong together, such as an ELF and a capture of another build."""
