"""The menu, read by the Kconfig tools in use, and what the header that it writes comes to in `ht_config.h`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import kconfiglib
import pytest

pytestmark = pytest.mark.sanitizer
AGENT = Path(__file__).resolve().parents[2] / "agent"
CONFIG = AGENT / "include" / "ht_config.h"
KNOBS = {*re.findall(r"^#ifndef (HT_(?!CONFIG_)\w+)$", CONFIG.read_text(encoding="utf-8"), re.MULTILINE)}
DIFFERENT = {  # a value that is not the default, and what the macro then is
    "HT_DEPTH": ("7", "7"),
    "HT_RECORDS": ("300", "300"),
    "HT_SITES": ("40", "40"),
    "HT_STACKS": ("199", "199"),
    "HT_FRAMES": ("512", "512"),
    "HT_THREADS": ("5", "5"),
    "HT_NAME_BYTES": ("24", "24"),
    "HT_FILTERS": ("3", "3"),
    "HT_FREE_STACKS": ("n", "0"),
    "HT_CHECK_DOUBLE_FREE": ("n", "0"),
    "HT_FREED": ("128", "128"),
    "HT_CHECK_FREE_NULL": ("n", "0"),
    "HT_REPORTS": ("2", "2"),
    "HT_STREAM": ("y", "1"),
    "HT_STREAM_FRAMES": ("16", "16"),
    "HT_DUMPS": ("n", "0"),
    "HT_BLOCK_SIZES": ("y", "1"),
    "HT_CPU_LOCK": ("y", "1"),
    "HT_EXIDX": ("y", "1"),
    "HT_EOL": ("y", '"\\r\\n"'),
}
OPTION_OF = {"HT_EOL": "HT_EOL_CRLF"}


def menu() -> kconfiglib.Kconfig:
    found = kconfiglib.Kconfig(str(AGENT / "Kconfig"))
    found.syms["HEAPTRAIL"].set_value("y")
    assert found.warnings == []
    return found


def macros(folder: Path, config: kconfiglib.Kconfig | None) -> dict[str, str]:
    """What each knob is after the preprocessor, with the header that the menu writes, or with none."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    asked = folder / "asked.c"
    lines = [f"value_of_{name} {name}" for name in sorted(KNOBS)]
    asked.write_text("\n".join(['#include "ht_config.h"', *lines, ""]), encoding="utf-8")
    words = [compiler, "-E", "-P", f"-I{CONFIG.parent}"]
    if config is not None:
        config.write_autoconf(str(folder / "autoconf.h"))
        words += ["-include", str(folder / "autoconf.h")]
    done = subprocess.run([*words, str(asked)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^value_of_(\w+) (.+)$", done.stdout, re.MULTILINE))


def test_every_knob_of_the_header_is_in_the_menu() -> None:
    options = {name for name in menu().syms if name.startswith("HT_")}

    assert options == {OPTION_OF.get(name, name) for name in KNOBS}
    assert set(DIFFERENT) == KNOBS


def test_the_menus_defaults_are_the_headers(tmp_path: Path) -> None:
    assert macros(tmp_path, menu()) == macros(tmp_path, None)


@pytest.mark.parametrize("knob", sorted(DIFFERENT))
def test_an_option_that_is_changed_reaches_the_header(tmp_path: Path, knob: str) -> None:
    config = menu()
    config.syms["HT_STREAM"].set_value("y")
    before = macros(tmp_path, config)
    chosen, macro = DIFFERENT[knob]
    if knob == "HT_STREAM":
        config.syms["HT_STREAM"].set_value("n")
        macro = "0"
    else:
        config.syms[OPTION_OF.get(knob, knob)].set_value(chosen)

    after = macros(tmp_path, config)

    assert after[knob] == macro != before[knob]


def test_the_menu_offers_no_contradiction(tmp_path: Path) -> None:
    config = menu()
    for option, value in {"HT_DUMPS": "n", "HT_STREAM": "n", "HT_DEPTH": "0", "HT_FREE_STACKS": "y"}.items():
        config.syms[option].set_value(value)

    found = macros(tmp_path, config)  # the header would have refused each of the two

    assert (found["HT_DUMPS"], found["HT_FREE_STACKS"]) == ("1", "0")


@pytest.mark.parametrize(("option", "beyond"), [("HT_DEPTH", "33"), ("HT_RECORDS", "7"), ("HT_STREAM_FRAMES", "1")])
def test_the_menu_keeps_a_number_within_the_headers_range(option: str, beyond: str) -> None:
    config = menu()
    config.syms["HT_STREAM"].set_value("y")
    before = config.syms[option].str_value

    config.syms[option].set_value(beyond)

    assert config.syms[option].str_value == before
