"""A headless Chromium, driven by Selenium: keys pressed and files saved as a user would."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
NEEDED = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver on the PATH")


@contextlib.contextmanager
def opened(page: Path, folder: Path) -> Iterator["webdriver.Chrome"]:
    """The page in a browser whose profile (what it keeps) is in `folder`/profile and whose downloads go to
    `folder`/downloads. At the end nothing may have been logged as an error."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    switches = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1400,900")
    for switch in (*switches, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{switch}")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        yield driver
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        driver.quit()


def value(driver: "webdriver.Chrome", expression: str) -> Any:
    """Of a JavaScript expression, or of what it promises, in the page."""
    return driver.execute_script(f"return {expression}")


def choose(driver: "webdriver.Chrome", name: str, option: str) -> None:
    """Select an option, by its value, of the page's list with this id."""
    script = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
    driver.execute_script(f"{script} s.dispatchEvent(new Event('change'));", name, option)


def wait(driver: "webdriver.Chrome", expression: str) -> None:
    """Until the expression is true; 30 seconds at most."""
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(driver, 30).until(lambda page: value(page, expression))
