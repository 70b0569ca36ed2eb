"""The report page in a real browser with the network off: nothing leaves, nothing fails, everything can be clicked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from unit.reports import samples

from heaptrail.reports.figure import PALETTE
from heaptrail.reports.html import HtmlRenderer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

WIDE, NARROW = (1440, 900), (390, 844)


@pytest.fixture
def open_page(chromium: Chrome, tmp_path: Path) -> Callable[..., Chrome]:
    """Open a sample's page: `open_page("leak", size=NARROW, scheme="dark")`, and forget what was logged before."""

    def opened(name: str, *, size: tuple[int, int] = WIDE, scheme: str = "light", javascript: bool = True) -> Chrome:
        path = tmp_path / f"{name}.html"
        path.write_bytes(HtmlRenderer().render(getattr(samples, name)()))
        for kind in ("browser", "performance"):
            chromium.get_log(kind)
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not javascript})
        media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        chromium.get(path.as_uri())
        return chromium

    return opened


def _requests(browser: Chrome) -> list[str]:
    """Addresses of everything that the page asked for, from the browser's own network log."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


def _wait(browser: Chrome, condition: Callable[[Chrome], Any]) -> None:
    WebDriverWait(browser, 20, poll_frequency=0.05).until(condition)


def _text(browser: Chrome, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def _colour(browser: Chrome, selector: str, what: str) -> str:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    red, green, blue = browser.execute_script(script, selector, what).removeprefix("rgb(").rstrip(")").split(",")
    return f"#{int(red):02x}{int(green):02x}{int(blue):02x}"


@pytest.mark.parametrize("name", [*samples.SAMPLES, "huge"])
def test_the_page_asks_for_nothing_but_itself_and_the_console_stays_empty(
    name: str, open_page: Callable[..., Chrome]
) -> None:
    page = open_page(name)

    requests = _requests(page)
    assert len(requests) == 1, requests
    assert requests[0].startswith("file:")
    assert page.get_log("browser") == []


def test_a_hundred_thousand_sites_are_searched_and_sorted(chromium: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "huge.html"
    path.write_bytes(HtmlRenderer().render(samples.huge(100_000)))
    chromium.get(path.as_uri())
    chromium.find_element(By.CSS_SELECTOR, "details.more > summary").click()
    field = chromium.find_element(By.CSS_SELECTOR, ".more input[type=search]")
    assert _text(chromium, ".more [role=status]") == ["500 of 99,802 rows"]

    field.send_keys("open_99")
    assert _text(chromium, ".more [role=status]") == ["500 of 1,110 found"]
    field.send_keys("731 mod/m")
    assert _text(chromium, ".more tbody td:nth-child(3)") == ["module_16_open_99731"]
    field.clear()
    field.send_keys("no such site")
    assert _text(chromium, ".more [role=status]") == ["0 of 0 found"]

    field.clear()
    field.send_keys("module_7_")
    size = chromium.find_elements(By.CSS_SELECTOR, ".more thead button")[5]
    size.click()
    size.click()
    sizes = [int(text.replace(",", "")) for text in _text(chromium, ".more tbody td:nth-child(6)")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 500


def test_a_request_would_be_seen_and_stopped(open_page: Callable[..., Chrome]) -> None:
    """The test above would be worth nothing if the log were blind: a request made on purpose shows, and is refused."""
    page = open_page("empty")

    page.execute_script("const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i)")

    _wait(page, lambda browser: any("Content Security Policy" in e["message"] for e in browser.get_log("browser")))
    assert _requests(page)[1:] == ["https://example.invalid/x.png"]


def test_a_script_from_a_log_does_not_run(open_page: Callable[..., Chrome]) -> None:
    page = open_page("hostile")

    assert page.execute_script("return window.pwned") is None
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s)"
    )
    assert page.execute_script("return window.pwned") is None, "even one that got into the page is refused"


def test_the_charts_are_drawn_with_what_the_report_holds(open_page: Callable[..., Chrome]) -> None:
    page = open_page("two_boots")

    assert len(page.find_elements(By.CSS_SELECTOR, "#plot-free-heap .scatterlayer .point")) >= 42
    assert len(page.find_elements(By.CSS_SELECTOR, "#plot-free-heap .shapelayer path")) == 3
    assert {"free", "fitted line", "lowest free so far", "tracer on"} <= set(_text(page, "#plot-free-heap .legendtext"))
    assert {"boot 1", "boot 2"} <= set(_text(page, "#plot-free-heap .annotation-text"))
    cells = page.find_elements(By.CSS_SELECTOR, "#plot-live-bytes .iciclelayer .slice")
    assert len(cells) == 18
    assert "softvol_ap_update_mode" in _text(page, "#plot-live-bytes .slicetext")


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_chart_is_as_wide_as_its_place_from_the_start(
    size: tuple[int, int], open_page: Callable[..., Chrome]
) -> None:
    page = open_page("leak", size=size)

    for chart in ("free-heap", "live-bytes"):
        place = page.find_element(By.ID, f"plot-{chart}")
        drawn = place.find_element(By.CSS_SELECTOR, ".main-svg")
        assert drawn.size["width"] == pytest.approx(place.size["width"], abs=1)
    section = page.find_element(By.ID, "curve")
    assert page.find_element(By.ID, "plot-free-heap").size["width"] == pytest.approx(section.size["width"], abs=1)


@pytest.mark.parametrize(("scheme", "first", "then"), [("light", 0, 1), ("dark", 1, 0)])
def test_the_theme_follows_the_system_and_the_button(
    scheme: str, first: int, then: int, open_page: Callable[..., Chrome]
) -> None:
    page = open_page("leak", scheme=scheme)
    button = page.find_element(By.ID, "theme")
    assert button.text == ("Dark", "Light")[first]

    for theme in (first, then, first):
        assert _colour(page, "body", "backgroundColor") == PALETTE["paper"][theme]
        assert _colour(page, "#plot-free-heap .legendtext", "fill") == PALETTE["muted"][theme]
        button.click()


def test_the_task_table_sorts_by_any_column_in_both_directions(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak")
    names = ".tasks tbody th"
    assert _text(page, names)[0] == "IDLE", "the tightest stack first"
    heading, _, _, priority, *_ = page.find_elements(By.CSS_SELECTOR, ".tasks thead button")

    heading.click()
    assert _text(page, names) == sorted(_text(page, names), key=str.casefold)
    assert _text(page, "th[aria-sort=ascending]") == ["Task"]
    heading.click()
    assert _text(page, names)[0] == "XPlayer"
    priority.click()
    priority.click()
    numbers = [int(text) for text in _text(page, ".tasks tbody td:nth-child(4)")]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 26


def test_a_heading_sorts_from_the_keyboard(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak")

    page.find_element(By.CSS_SELECTOR, ".tasks thead button").send_keys(Keys.ENTER)

    assert _text(page, ".tasks tbody th")[0] == "adb-event"


def test_the_leak_stands_open_and_the_innocent_open_on_a_click(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak")
    leak, innocent, *_ = page.find_elements(By.CSS_SELECTOR, ".finding")
    assert leak.get_attribute("open") is not None
    assert innocent.get_attribute("open") is None
    stack = innocent.find_element(By.CSS_SELECTOR, ".stack")
    assert not stack.is_displayed()

    innocent.find_element(By.CSS_SELECTOR, "summary").click()

    assert stack.is_displayed()
    assert "packet_cache_grow" in stack.text


def test_the_stack_marks_the_naming_frame_the_inlined_and_the_wrappers(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak")

    site = "#finding-1 .site:nth-of-type(1) "
    assert _text(page, site + ".naming .function > code") == ["softvol_ap_update_mode"]
    assert _text(page, site + ".inlined .function > code") == ["startSoundDevice", "doRender"]
    assert _text(page, site + ".wrapper .pc") == ["0x08336aee", "0x08336b46"]
    assert _text(page, site + ".source[open] .here th") == ["250"]
    assert _colour(page, site + ".naming", "backgroundColor") == PALETTE["highlight"][0]


@pytest.mark.parametrize("name", [*samples.SAMPLES, "huge"])
def test_a_narrow_page_does_not_scroll_sideways(name: str, open_page: Callable[..., Chrome]) -> None:
    page = open_page(name, size=NARROW)
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")

    assert page.execute_script("return document.documentElement.scrollWidth") == NARROW[0]


def test_a_link_opens_the_finding_that_it_names(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak")

    page.execute_script("location.hash = 'finding-3'")

    _wait(page, lambda browser: browser.find_element(By.ID, "finding-3").get_attribute("open") is not None)
    assert "XPlayerPrepare" in page.find_element(By.CSS_SELECTOR, "#finding-3 .stack").text


def test_print_opens_findings_and_sources_in_light_colours_and_puts_it_back(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak", scheme="dark")
    closed = "return document.querySelectorAll('details:not(.quiet):not([open])').length"
    before = page.execute_script(closed)

    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert page.execute_script(closed) == 0
    assert _colour(page, "body", "backgroundColor") == PALETTE["paper"][0]
    page.execute_script("window.dispatchEvent(new Event('afterprint'))")

    assert page.execute_script(closed) == before > 0
    assert _colour(page, "body", "backgroundColor") == PALETTE["paper"][1]


def test_without_javascript_no_button_is_dead_and_the_text_is_there(open_page: Callable[..., Chrome]) -> None:
    page = open_page("leak", javascript=False)

    assert not page.find_element(By.ID, "theme").is_displayed()
    assert page.find_elements(By.CSS_SELECTOR, "thead button") == []
    assert "The chart is drawn by JavaScript, which is off" in page.find_element(By.ID, "curve").text
    assert "_AudioTrackStart" in page.find_element(By.ID, "finding-1").text
