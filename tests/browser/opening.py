"""A report that is written and opened, and all it should not have done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from playwright.sync_api import Browser, Page

from maskviz.core.panels.page import Note
from maskviz.core.run.trace import Trace
from maskviz.render.html import html_bytes
from maskviz.view.choosing import Choice
from maskviz.view.report import report_of
from maskviz.view.show import WhatIf

DESKTOP, PHONE = (1280, 900), (390, 844)


@dataclass
class Opened:
    """A page, and all it should not have done."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return " ".join((self.page.text_content(selector) or "").split())

    def ready(self) -> None:
        self.page.wait_for_selector("html[data-ready]", state="attached")


def opened(browser: Browser, address: str, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> Opened:
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
    )
    one = Opened(page)
    own = address.partition("#")[0]
    page.on("console", lambda message: one.wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: one.wrong.append(f"error: {error}"))
    page.on("request", lambda request: None if request.url == own else one.wrong.append(f"request: {request.url}"))
    page.goto(address)
    one.ready()
    return one


def write(path: Path, trace: Trace, what_if: WhatIf | None = None, findings: tuple[Note, ...] = ()) -> Path:
    path.write_bytes(html_bytes(replace(report_of(trace, Choice(), what_if, "a command"), findings=findings)))
    return path
