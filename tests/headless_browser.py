"""A real headless Chromium for tests, which talks to loopback alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

SCREENSHOTS = Path(__file__).parent.parent / "out" / "screenshots"
DESKTOP, PHONE = (1280, 900), (390, 844)
PACKAGES = ("chromium", "chromium-driver")
_QUIET = (
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
    # whatever still wants to go out finds nobody
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def require_chromium():
    """Chromium and its driver; installed by apt-get if they are missing and this is root."""
    if not all(map(shutil.which, ("chromium", "chromedriver"))) and os.geteuid() == 0:
        install = ["install", "--yes", "--no-install-recommends", *PACKAGES]
        for words in (["update"], install):
            subprocess.run(["apt-get", *words], check=False, capture_output=True, timeout=300)
    if not all(map(shutil.which, ("chromium", "chromedriver"))):
        if os.environ.get("CI") == "true":
            pytest.fail(f"needs the packages {' and '.join(PACKAGES)}")
        pytest.skip(f"needs the packages {' and '.join(PACKAGES)}")


@contextmanager
def browser(profile, size=DESKTOP):
    """A browser with a window of this size and a profile folder of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*_QUIET, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's refuses to run as root
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        # a window cannot be as narrow as a phone, an emulated screen can
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
        )
        yield driver
    finally:
        driver.quit()


def screenshot(driver, name, height=None):
    """Keep a picture of the page, as high as asked, under ``out/screenshots``."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    if height:
        width = driver.execute_script("return window.innerWidth")
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
    driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))
