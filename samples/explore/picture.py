"""Press keys in maskviz explore and draw its screen: python picture.py RUN.npz PICTURE.png KEY ... Needs chromium."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from maskviz.analyse.standing_out import standing_out
from maskviz.analyse.why import explain
from maskviz.core.results.why import Place
from maskviz.explore.app import Answers, Explorer
from maskviz.store.archive import read_npz

SIZE = 110, 30
NAMES = {"]": "right_square_bracket", "[": "left_square_bracket", ".": "full_stop", ",": "comma"}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


async def screen(run: Path, keys: list[str]) -> tuple[str, list[str]]:
    """The screen after some keys as SVG, and what it says of the cell."""

    def why(trace, call, cell):
        row, head, query, key = cell
        return explain(trace, [call], Place(query + call.mask.query_offset, key), row, [head])

    app = Explorer(read_npz(run), Answers(why, None, "a saved run", standing_out))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*(NAMES.get(key, key) for key in keys))
        await pilot.pause(0.2)
        said = [str(app.query_one(name).render()) for name in ("#where", "#standing", "#cell", "#change")]
        return app.export_screenshot(title="maskviz explore"), said


def main(run: Path, picture: Path, keys: list[str]) -> None:
    drawn, said = asyncio.run(screen(run, keys))
    sys.stdout.write("\n".join([*said, ""]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 640})
        page.set_content(f"<body style='margin:0'>{drawn}</body>")
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
