"""What a device sends is made printable and bounded before anyone sees it."""

from __future__ import annotations

import json

import pytest
import strategies
from hypothesis import given

from heaptrail.reports.untrusted import json_for_logs, plain_lines, printable, source_line


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("AudioRender", "AudioRender"),
        ("\u97f3\u9891", "\u97f3\u9891"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;owned\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(0box\x1b(B", "box"),
        ("never \x1b]ended", "never ended"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("bell\x07", "bell\\x07"),
        ("\u202eabc\u2069", "\\u202eabc\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("raw \udcff byte", "raw \\xff byte"),
        ("\U000e0041", "\\U000e0041"),
        ("##[add-matcher]x", "##\\[add-matcher]x"),
        ("a ##vso[task.setvariable variable=x]y", "a ##vso\\[task.setvariable variable=x]y"),
        ("##teamcity[buildStop]", "##teamcity\\[buildStop]"),
        ("a##b c[0]", "a##b c[0]"),
    ],
)
def test_control_goes_and_what_is_odd_is_written_out(sent: str, shown: str) -> None:
    assert printable(sent) == shown


def test_what_is_too_long_is_cut_and_said() -> None:
    assert printable("x" * 10_000, 5) == "xxxxx... (10,000 characters)"
    assert printable("xxxxx", 5) == "xxxxx"


def test_no_line_begins_with_a_runners_command() -> None:
    assert plain_lines("::error::x\n  ::add-mask::y\nstd::vector\n") == "\\::error::x\n  \\::add-mask::y\nstd::vector\n"


def test_json_without_a_servers_command_means_the_same() -> None:
    sent = {"label": "##vso[task.setvariable variable=x]y", "rest": ["##[group]", "[#]"]}

    written = json_for_logs(json.dumps(sent).encode())

    assert b"##vso[" not in written
    assert b"##[" not in written
    assert json.loads(written) == sent


def test_source_keeps_its_indentation() -> None:
    assert source_line("\t  if (x)\t/* why */\r\n") == "      if (x)    /* why */"


@given(strategies.texts)
def test_nothing_unprintable_passes(text: str) -> None:
    assert printable(text).isprintable()
    assert source_line(text).isprintable()
