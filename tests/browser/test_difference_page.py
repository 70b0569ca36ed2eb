"""The page of a comparison in a real browser: drawn, in both themes, and no wider than the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from unit.reports import samples

from heaptrail.compare import compare
from heaptrail.reports.difference_page import difference_html
from heaptrail.reports.figure import PALETTE

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize(("scheme", "theme"), [("light", 0), ("dark", 1)])
def test_the_icicle_of_a_mended_leak_is_blue(
    width: int, scheme: str, theme: int, chromium: Chrome, tmp_path: Path
) -> None:
    path = tmp_path / "diff.html"
    path.write_bytes(difference_html(compare(samples.leak(), samples.no_leak())))
    chromium.get_log("browser")
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chromium.get(path.as_uri())

    cells = chromium.find_elements(By.CSS_SELECTOR, ".iciclelayer .slice path.surface")
    assert len(cells) == 7
    red, green, blue = (int(PALETTE["shrank-cell"][theme][place : place + 2], 16) for place in (1, 3, 5))
    assert {cell.value_of_css_property("fill") for cell in cells} == {f"rgb({red}, {green}, {blue})"}
    rows = chromium.find_elements(By.CSS_SELECTOR, "#changes tbody tr")
    assert [row.text.split()[0] for row in rows] == ["gone", "gone"]
    assert chromium.execute_script("return document.documentElement.scrollWidth") == width
    assert chromium.execute_script("return document.compatMode") == "CSS1Compat"
    assert chromium.get_log("browser") == []


def test_the_page_of_nothing_says_so(chromium: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "diff.html"
    path.write_bytes(difference_html(compare(samples.empty(), samples.empty())))
    chromium.get(path.as_uri())

    assert chromium.find_elements(By.CSS_SELECTOR, ".plot") == []
    assert chromium.find_element(By.CSS_SELECTOR, "#changes .note").text == "None."
