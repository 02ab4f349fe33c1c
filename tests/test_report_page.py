"""The report's page in a real browser, headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NnunetFolders
from results_folders import MadeDataset, square

from nnunet_pyconv.cli import main

selenium = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser; it is in the extra test")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402  # after the skip
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)",
    ),
]

KEYS = [f"nnUNetTrainer__PyConvUNetPaperPlans__2d_{name}" for name in ("unet", "pyconv_unet", "fcn8s")]
# Dice of U-Net, PyConvU-Net and FCN8s: the more of the truth's 12 rows, the better
ROWS = {KEYS[0]: 9, KEYS[1]: 12, KEYS[2]: 6}


@pytest.fixture(scope="module")
def page(module_folders: NnunetFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three models on seven cases."""
    truth = {f"case_{index}": square(32, 2 + index, 14 + index, 2, 14) for index in range(7)}
    made = MadeDataset(module_folders, "Dataset312_ISBICell", truth)
    for key in KEYS:
        predictions = {
            f"case_{index}": square(32, 2 + index, 2 + index + ROWS[key] - index % 3, 2, 14) for index in range(7)
        }
        made.model(key, predictions, losses=np.linspace(1, 0, 20), dices=[[dice] for dice in np.linspace(0.1, 0.9, 20)])
    folder = tmp_path_factory.mktemp("report") / "report"
    main(["report", "-np", "1", "-o", str(folder)])
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless=new",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
        *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser: Any, page: Path, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())


def test_renders_without_errors_and_without_network(browser: Any, page: Path) -> None:
    show(browser, page)
    assert browser.title == "Segmentation report: ISBICell"
    assert [heading.text for heading in browser.find_elements(By.CSS_SELECTOR, "h3")] == [
        "Table 2: scores",
        "Differences to U-Net",
        "The paper's Table 2 for ISBICell",
        "Figure 2: training loss",
        "Figure 3: IoU and Dice in validation",
        "Figure 4: best, median and worst case",
        "Prediction beside truth",
        "The models",
    ]
    assert f"nnunet_pyconv report -np 1 -o {page.parent}" in browser.find_element(By.CSS_SELECTOR, ".command").text
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith("data:")] == [page.as_uri()]


def test_pictures_are_there(browser: Any, page: Path) -> None:
    show(browser, page)
    widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 2
    assert all(widths)
    backgrounds = browser.execute_script(
        "return [...document.querySelectorAll('.picture, .layer')].map((e) => getComputedStyle(e).backgroundImage)"
    )
    # three cases; each with image, truth and three predictions as panels, and the same again to compare
    assert len(backgrounds) == 3 * (5 + 4) + 3 * (1 + 1 + 3)
    assert all(background.startswith('url("data:image/png') for background in backgrounds)


def column(browser: Any, table: int, index: int) -> list[str]:
    rows = browser.find_elements(By.CSS_SELECTOR, "table")[table].find_elements(By.CSS_SELECTOR, "tbody tr")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[index].text.splitlines()[0] for row in rows]


def header(browser: Any, table: int, title: str) -> Any:
    headers = browser.find_elements(By.CSS_SELECTOR, "table")[table].find_elements(By.CSS_SELECTOR, "thead th")
    return next(th for th in headers if th.text.startswith(title))


def marker(browser: Any, th: Any) -> str:
    return browser.execute_script(
        "return getComputedStyle(arguments[0].querySelector('.marker'), '::before').content", th
    )


def test_sorting_by_click(browser: Any, page: Path) -> None:
    show(browser, page)
    assert column(browser, 0, 0) == ["U-Net", "FCN8s", "PyConvU-Net"]
    iou, distance, model = (header(browser, 0, title) for title in ("IoU", "HD95", "Model"))
    assert (iou.get_attribute("aria-sort"), marker(browser, iou)) == ("none", '"↕"')

    iou.find_element(By.TAG_NAME, "button").click()
    assert column(browser, 0, 0) == ["PyConvU-Net", "U-Net", "FCN8s"]  # the best first
    assert (iou.get_attribute("aria-sort"), marker(browser, iou)) == ("descending", '"▼"')
    iou.find_element(By.TAG_NAME, "button").click()
    assert column(browser, 0, 0) == ["FCN8s", "U-Net", "PyConvU-Net"]
    assert (iou.get_attribute("aria-sort"), marker(browser, iou)) == ("ascending", '"▲"')

    distance.find_element(By.TAG_NAME, "button").click()
    assert column(browser, 0, 0) == ["PyConvU-Net", "U-Net", "FCN8s"]  # of a distance, the smallest is the best
    assert [th.get_attribute("aria-sort") for th in (iou, distance)] == ["none", "ascending"]
    model.find_element(By.TAG_NAME, "button").click()
    assert column(browser, 0, 0) == ["FCN8s", "PyConvU-Net", "U-Net"]


def test_sorting_by_keyboard(browser: Any, page: Path) -> None:
    show(browser, page)
    dice = header(browser, 2, "Dice")
    dice.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert column(browser, 2, 2) == ["0.9117", "0.9115", "0.9005", "0.8945", "0.8808", "0.8639"]
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert column(browser, 2, 2)[0] == "0.8639"
    assert dice.get_attribute("aria-sort") == "ascending"


def shown_layers(browser: Any) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('.stage .picture, .stage .layer')]"
        ".filter((e) => e.checkVisibility()).map((e) => e.className.match(/l-\\S+/)[0])"
    )


def clip(browser: Any) -> str:
    return browser.execute_script("return getComputedStyle(document.querySelector('.stage .left')).clipPath")


def test_slider(browser: Any, page: Path) -> None:
    show(browser, page)
    slider = browser.find_element(By.CSS_SELECTOR, ".stage input[type=range]")
    assert clip(browser) == "inset(0px 50% 0px 0px)"
    slider.send_keys(Keys.ARROW_RIGHT * 10)
    assert clip(browser) == "inset(0px 40% 0px 0px)"
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    quarter = -slider.size["width"] // 4
    ActionChains(browser).move_to_element(slider).click_and_hold().move_by_offset(quarter, 0).release().perform()
    assert 15 <= int(slider.get_attribute("value")) <= 35
    assert clip(browser) == f"inset(0px {100 - int(slider.get_attribute('value'))}% 0px 0px)"


def test_choice_of_case_and_model(browser: Any, page: Path) -> None:
    show(browser, page)
    assert shown_layers(browser) == ["l-0-0-image", "l-0-0-truth", "l-0-0-prediction-0"]
    for label in browser.find_elements(By.CSS_SELECTOR, ".choices label"):
        if label.text in ("worst", "PyConvU-Net"):
            label.click()
    assert shown_layers(browser) == ["l-0-2-image", "l-0-2-truth", "l-0-2-prediction-2"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_fits_the_screen(width: int, scheme: str, browser: Any, page: Path) -> None:
    show(browser, page, width, scheme)
    scroll, client = browser.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    assert scroll <= client <= width
    back, ink = browser.execute_script(
        "const style = getComputedStyle(document.body);"
        "return [style.backgroundColor, style.color].map((rgb) => rgb.match(/\\d+/g).slice(0, 3).map(Number))"
    )
    assert (sum(back) > sum(ink)) is (scheme == "light")
    source = browser.execute_script("return document.images[0].currentSrc")
    assert source.startswith("data:image/svg+xml")
    assert (source == browser.find_element(By.CSS_SELECTOR, "picture img").get_attribute("src")) is (scheme == "light")
