"""What a command says beside its report is harmless, whatever a device made it repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from heaptrail.cli.output import say, say_error
from heaptrail.errors import TargetError

if TYPE_CHECKING:
    import pytest


def test_an_error_is_one_sentence_and_one_thing_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    say_error(TargetError("the console said\r\n\x1b]0;owned\x07no", try_this="look\nthere"))

    assert capsys.readouterr().err == "heaptrail: the console said no\ntry: look there\n"


@given(st.text())
@example("::error::stop")
@example("##[error]stop")
@example("\x1b[2J\x9b1m")
def test_what_is_said_is_one_printable_line_and_no_command_for_a_ci_server(text: str) -> None:
    lines: list[str] = []
    say(text, to=lines.append)

    (line,) = lines
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert not line.lstrip().startswith("::")
    assert "##[" not in line
