"""How the program leaves: what went wrong decides the status, and a bug never looks like a leak."""

from __future__ import annotations

import pytest

from heaptrail import cli
from heaptrail.errors import FormatError


def leaving(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def command(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_app", lambda: command)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert isinstance(left.value.code, int)
    return left.value.code


def test_what_a_user_can_cause_is_a_sentence_and_something_to_try(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaving(monkeypatch, FormatError("x.elf is no ELF", try_this="the linked file")) == 2
    assert capsys.readouterr().err == "heaptrail: x.elf is no ELF\ntry: the linked file\n"


def test_a_bug_keeps_its_traceback_and_does_not_leave_as_a_leak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaving(monkeypatch, ZeroDivisionError("of ours")) == 2
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_leaves_as_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert leaving(monkeypatch, KeyboardInterrupt()) == 130
