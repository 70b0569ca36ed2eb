"""The page: one file, whole without JavaScript, loading nothing, running only its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from unit.reports import samples

from heaptrail.reports.figure import PALETTE
from heaptrail.reports.html import HtmlRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDENS = Path(__file__).resolve().parents[2] / "golden" / "reports" / "html"
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """What a browser would make of the page, as far as the tests ask."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[tuple[str, str]] = []
        self.text = ""
        self._within: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend((name, value or "") for name, value in attrs)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))
        if tag in ("script", "style"):
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.text += data
        elif self._within[-1] == "script":
            kind, content = self.scripts[-1]
            self.scripts[-1] = (kind, content + data)


@pytest.fixture(scope="module")
def leak_page() -> bytes:
    return HtmlRenderer().render(samples.leak())


@pytest.mark.parametrize("name", ["leak", "bare_log"])
def test_the_body_of_a_sample_stays_the_same(name: str, golden: Callable[[Path, str], None]) -> None:
    page = HtmlRenderer().render(samples.SAMPLES[name]()).decode()

    body = page[page.index("<body") : page.index("<script")]
    assert body.endswith("</main>\n"), "scripts are no part of the golden"
    golden(GOLDENS / f"{name}.html", body)


def test_the_verdict_comes_first_and_the_sections_follow_in_order(leak_page: bytes) -> None:
    text = " ".join(Page(leak_page).text.split())
    main = text[text.index("capture.cast \u00b7") if "capture.cast \u00b7" in text else text.rindex("Leak: ") :]

    heads = [
        "Leak: free memory falls",
        "Free heap over the run",
        "The books over 12",
        "Findings",
        "Live bytes by stack",
    ]
    heads += ["Tasks", "Warnings about the evidence", "Where this comes from"]
    places = [main.index(head) for head in heads]
    assert places == sorted(places)


def test_without_javascript_the_text_is_whole(leak_page: bytes) -> None:
    text = Page(leak_page).text.replace("\u00a0", " ")

    for said in (
        "7,696 B",
        "93,120 B",
        "99.2%",
        "0x08396d52",
        "pvPortCalloc",
        "startSoundDevice",
        "inlined",
        "vol->buffer = calloc(frames",
        "547,632",
        "hub-main-thread",
        "a record breaks off in its backtrace",
        "5f3c0e9a7d214b8890c1f2aa34de77b1c0ffee01",
        "heaptrail read capture.cast --elf rtplayer.elf --cycle-mark 'playback of .* ended'",
    ):
        assert said in text


def test_the_page_loads_nothing(leak_page: bytes) -> None:
    page = Page(leak_page)

    addresses = [value for name, value in page.attributes if name in LOADING]
    assert addresses
    assert all(value.startswith("#") for value in addresses), "only links within the page"
    styles = leak_page.decode().split("<style>")[1].split("</style>")[0]
    assert "url(" not in styles
    assert "@import" not in styles


def test_the_policy_names_the_hash_of_every_script_and_nothing_else(leak_page: bytes) -> None:
    page = Page(leak_page)
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    directives = dict(part.strip().split(" ", maxsplit=1) for part in policy.split(";"))

    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        for kind, content in page.scripts
        if kind != "application/json"
    }
    assert directives["default-src"] == "'none'"
    assert set(directives["script-src"].split()) == hashes
    assert len(hashes) == 2


def test_a_report_without_charts_carries_no_plotly() -> None:
    page = HtmlRenderer().render(samples.empty())

    assert len(page) < 40_000
    assert len(Page(page).scripts) == 1


def test_names_from_a_device_stay_names() -> None:
    leak, hostile = (Page(HtmlRenderer().render(make())) for make in (samples.leak, samples.hostile))

    assert set(hostile.tags) <= set(leak.tags)
    assert len(hostile.scripts) == len(leak.scripts)
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert "<script>window.pwned=1</script>" in hostile.text, "shown as text"
    assert "\\u202egnp.exe" in hostile.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", hostile.text)


def test_ten_thousand_characters_do_not_fill_the_page() -> None:
    assert HtmlRenderer().render(samples.hostile()).count(b"x" * 2_001) == 0


def test_a_huge_report_shows_the_largest_and_lists_the_rest() -> None:
    content = HtmlRenderer().render(samples.huge())
    page = Page(content)

    assert page.tags.count("section") < 300
    assert "1,802 further findings" in page.text
    (data,) = (json.loads(content) for kind, content in page.scripts if '"module_36_open_1997"' in content)
    assert len(data) == 1_802
    assert page.text.count("module_36_") < 40, "the table begins with some hundred rows"
    assert len(content) < 8_000_000


def test_tasks_stand_by_their_stack_reserve_with_the_columns_that_are_known(leak_page: bytes) -> None:
    text = Page(leak_page).text
    table = text[text.rindex("Least stack free, words") :]

    assert table.index("IDLE") < table.index("Tmr Svc") < table.index("hub-main-thread")
    assert "Heap held" not in text


def test_a_clock_of_nonsense_is_shown_as_it_is() -> None:
    leak = samples.leak()
    capture = msgspec.structs.replace(leak.provenance.captures[0], started_unix_s=1e300)
    report = msgspec.structs.replace(leak, provenance=msgspec.structs.replace(leak.provenance, captures=(capture,)))

    assert "1e+300 s after 1970" in Page(HtmlRenderer().render(report)).text.replace("\u00a0", " ")


@pytest.mark.parametrize("theme", [0, 1])
def test_text_stands_out_from_its_ground(theme: int) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for text."""
    paper = PALETTE["paper"][theme]
    for name in ("ink", "muted", "free", "leak", "good", "caution"):
        assert _contrast(PALETTE[name][theme], paper) >= 4.5, name
    for name in ("highlight", "leak-cell", "undecided-cell", "innocent-cell", "shared-cell"):
        assert _contrast(PALETTE["ink"][theme], PALETTE[name][theme]) >= 4.5, name


def _contrast(first: str, second: str) -> float:
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
