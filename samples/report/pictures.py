"""Draw a report as it looks on a desk and on a phone: python pictures.py report.html. Needs playwright and chromium."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZES = {"desktop": (1280, 1000), "phone": (390, 844)}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main(path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(path.resolve().as_uri())
            page.wait_for_selector("html[data-ready]", state="attached")
            if name == "phone":
                page.press("body", "v")
                page.evaluate("document.getElementById('controls').scrollIntoView()")
            page.wait_for_timeout(300)
            page.screenshot(path=path.with_name(f"{name}.png"))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
