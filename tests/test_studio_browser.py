"""The web page in a real browser, as a hand at it would use it; skipped where no Chromium with its driver is installed."""

import json
import os
import shutil
import time

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

BROWSERS, DRIVER = ("chromium", "chromium-browser", "google-chrome"), "chromedriver"
FLAGS = "headless no-sandbox disable-gpu disable-dev-shm-usage disable-background-networking disable-component-update no-first-run"
LIMIT = 90.0  # seconds for a line to end in, on a busy machine


class Page:
    """The page at `address`, in `driver`; one sees what is displayed and nothing else."""

    def __init__(self, driver: webdriver.Chrome, address: str):
        self.driver, self.address = driver, address
        driver.get(address)
        self.until(lambda: self.seen("button", "Answer"))

    def seen(self, selector: str, text: str | None = None) -> list:
        """Elements that are displayed and whose text is `text`, if given."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return [e for e in found if e.is_displayed() and text in (None, e.text.strip())]

    def until(self, true):
        """The first value of `true` that counts as such; what was just drawn anew is looked at again."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                if value := true():
                    return value
            except StaleElementReferenceException:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {LIMIT:.0f} s; the page says: {self.says()!r}")

    def press(self, text: str) -> None:
        self.press_first("button:not([role=tab])", text)

    def tab(self, title: str) -> None:
        self.press_first("button[role=tab]", title)

    def press_first(self, selector: str, text: str | None = None) -> None:
        self.until(lambda: self.seen(selector, text))[0].click()

    def example(self, selector: str = "button.gallery-item") -> None:
        """Chooses the first one, and waits until its picture is shown, beside the small one that was pressed."""
        self.until(lambda: self.seen(f"{selector} img"))
        before = len(self.seen("img"))
        self.press_first(selector)
        self.until(lambda: len(self.seen("img")) > before)

    def says(self) -> str:
        return "\n".join(e.get_property("value") or "" for e in self.seen(".said textarea"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which(DRIVER)
    if not (program and driver):
        pytest.skip(f"no browser to look with: install one of {', '.join(BROWSERS)}, and {DRIVER}")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in [*FLAGS.split(), "window-size=1400,1300", f"user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = webdriver.Chrome(options, Service(driver, env={**os.environ, "SE_OFFLINE": "true"}))
    yield opened
    opened.quit()


@pytest.fixture
def page(browser, studio):
    """Opened anew."""
    return Page(browser, studio.address)


def test_an_example_is_answered(page):
    page.example("tr.tr-body")
    page.press("Answer")
    page.until(lambda: len(page.seen(".grid-container button")) == 7)  # the sheet and six answers
    assert page.says().startswith("$ predella restore colorization grey.png --answers 6 --seed 0 --out answers\n")
    page.until(lambda: page.seen("button", "Answer"))


def test_what_the_hand_paints_is_filled(page):
    page.tab("Fill holes")
    page.press_first("button.gallery-item")

    def nothing_painted() -> bool:
        page.press("Fill")
        page.until(lambda: "Not done: " in page.says())
        return "paint" in page.says()

    page.until(nothing_painted)  # before, the photo was not there yet
    canvas = page.until(lambda: page.seen("canvas"))[0]
    stroke = ActionChains(page.driver).move_to_element_with_offset(canvas, -40, 0).click_and_hold()
    stroke.move_by_offset(30, 5).move_by_offset(30, 5).release().perform()
    page.press("Fill")
    page.until(lambda: "% filled" in page.says())
    page.until(lambda: [i for i in page.seen("img[src*='filled.png']") if i.get_property("naturalWidth") > 0])


def test_a_line_is_stopped(page):
    page.tab("New from one")
    page.example()
    page.press("Vary")
    page.until(lambda: page.says().startswith("$ predella vary"))
    page.press("Stop")
    page.until(lambda: page.says() == "Stopped; nothing was made." and page.seen("button", "Vary"))


def test_a_mistake_is_told(page):
    page.tab("Enlarge")
    page.press("Enlarge")
    page.until(lambda: page.says() == "Not done: choose a picture first")


def test_nothing_is_asked_elsewhere_and_nothing_goes_wrong(page):
    """Of what was done above, too, where this browser did it."""
    for title in ("Enlarge", "Fill holes", "New from one", "Draw samples"):
        page.tab(title)
    events = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert any(url.startswith(page.address) for url in asked)
    assert not [url for url in asked if not url.startswith((page.address, "data:", "blob:", "chrome"))]
    assert not [entry["message"] for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]
