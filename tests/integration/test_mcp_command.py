"""`heaptrail mcp`, spoken to by the client of the official package over standard input and output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from unit.reports import samples

from heaptrail.reports.jsonfile import JsonRenderer

CASE = Path(__file__).resolve().parents[1] / "golden" / "dialects" / "tina" / "case-markdown.txt"
DEADLINE_S = 60

Ask = Callable[..., list[Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Start the server on the folder `runs`, call some tools, and give their results."""
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copy(CASE, runs / "case.txt")
    for name in ("leak", "no_leak", "hostile"):
        (runs / f"{name}.json").write_bytes(JsonRenderer().render(samples.SAMPLES[name]()))
    (tmp_path / "secret.json").write_bytes(JsonRenderer().render(samples.leak()))
    (runs / "link.json").symlink_to(tmp_path / "secret.json")
    server = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from heaptrail.cli import main; main()", "mcp", str(runs)],
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )

    async def talk(calls: tuple[tuple[str, dict[str, Any]], ...]) -> list[Any]:
        with anyio.fail_after(DEADLINE_S):
            async with Client(server) as client:
                if not calls:
                    return list((await client.list_tools()).tools)
                return [await client.call_tool(name, arguments) for name, arguments in calls]

    return lambda *calls: anyio.run(talk, calls)


def test_every_tool_says_what_it_is_for_and_that_it_only_reads(ask: Ask) -> None:
    tools = ask()

    assert [tool.name for tool in tools] == ["list_runs", "read_run", "list_findings", "explain", "compare_runs"]
    assert all(tool.description and tool.annotations.read_only_hint for tool in tools)


def test_a_log_is_listed_read_explained_and_compared(ask: Ask) -> None:
    listed, read, found, explained, compared = ask(
        ("list_runs", {}),
        ("read_run", {"paths": ["case.txt"]}),
        ("list_findings", {"paths": ["leak.json"], "site_class": "leak"}),
        ("explain", {"paths": ["leak.json"], "what": "softvol_ap_update_mode"}),
        ("compare_runs", {"before": ["leak.json"], "after": ["no_leak.json"]}),
    )

    assert {file["path"]: file["kind"] for file in listed.structured_content["files"]} == {
        "case.txt": "log",
        "leak.json": "report",
        "no_leak.json": "report",
        "hostile.json": "report",
    }
    assert read.structured_content["verdict"] == "inconclusive"
    assert found.structured_content["findings"][0]["finding"] == 1
    assert "softvolume.c:250" in str(explained.structured_content["stacks"])
    assert compared.structured_content["outcome"] == "better"


@pytest.mark.parametrize("path", ["../secret.json", "link.json", "{outside}/secret.json", "/etc/passwd"])
def test_nothing_outside_the_folders_is_read(ask: Ask, tmp_path: Path, path: str) -> None:
    name = path.format(outside=tmp_path)

    refused = ask(
        ("read_run", {"paths": [name]}),
        ("read_run", {"paths": ["case.txt"], "elf": name}),
        ("read_run", {"paths": ["case.txt"], "suppressions": name}),
    )

    assert all(result.is_error for result in refused)
    assert all("is no file in the folders" in result.content[0].text for result in refused)


def test_strings_of_a_device_come_without_control_characters(ask: Ask) -> None:
    (result,) = ask(("read_run", {"paths": ["hostile.json"]}))

    text = result.content[0].text
    assert not result.is_error
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\u001b" not in text


def test_an_error_is_a_sentence_and_something_to_try(ask: Ask) -> None:
    (result,) = ask(("read_run", {"paths": ["case.txt"], "dialect": "klingon"}))

    assert result.is_error
    assert "klingon" in result.content[0].text
    assert "\ntry: " in result.content[0].text


def test_without_the_package_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    program = "import sys; sys.modules['mcp'] = None; from heaptrail.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "mcp", str(tmp_path)],
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == (
        "heaptrail: this command needs the package mcp, version 2 or later (mcp.server is missing)\n"
        'try: pip install "heaptrail[mcp]"\n'
    )
