"""What a terminal gets beside a file, what a stranger's first commands are, and what shells and the machine offer."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maskviz.api.doctor import doctor
from maskviz.cli.app import app
from maskviz.cli.demo import STOPS
from maskviz.cli.env import Env
from maskviz.cli.pulse import Pulse
from maskviz.core.machine import NEWEST_TESTED, OLDEST_TESTED
from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.load.models.cached import cached_models
from maskviz.view.glance import glance
from tests.conftest import Response
from tests.terminal import Terminal

Run = Callable[..., Response]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("show", "-m", "demo:gpt", "the cat sat on the mat"), "heads that stand out: head 0.3 previous token"),
        (("heads", "-m", "demo:gpt", "--probe"), "the most typical head of each role, text 1 of 4: head 1.1 induction"),
        (("importance", "-m", "demo:gpt", "the cat sat on the mat"), "the 5 heads that matter most: 0.3 "),
        (("check", "-m", "demo:gpt", "a", "b c"), "1 error"),
    ],
)
def test_beside_a_file_the_terminal_gets_a_short_summary_unless_it_is_to_be_quiet(
    maskviz: Run, tmp_path: Path, command: tuple[str, ...], said: str
) -> None:
    file = str(tmp_path / "file.png")
    codes = (0, 5)
    response = maskviz(*command, "-o", file, expect=codes)
    assert said in response.stderr
    assert response.stdout == ""
    assert len(response.stderr.splitlines()) <= 8
    quiet = maskviz(*command, "-o", file, "--quiet", expect=codes)
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_a_summary_has_few_short_lines_and_no_quiet_ones() -> None:
    panels: tuple[Panel, ...] = (
        Note("quiet", Tone.QUIET),
        *(Note("word " * 99) for _ in range(9)),
        Table("t", ("a",), (("b",),)),
    )
    lines = glance(Page("", "", panels))
    assert len(lines) == 5
    assert max(map(len, lines)) == 160


def test_the_tour_shows_six_pictures_each_with_its_command(maskviz: Run) -> None:
    said = maskviz("demo", "--no-wait").stdout
    assert len(STOPS) == 6
    for number, stop in enumerate(STOPS, start=1):
        assert f"{number} of 6: {stop.says}" in said
    commands = re.findall(r"^\$ maskviz (\w+)", said, re.MULTILINE)
    assert commands == [stop.command[0] for stop in STOPS]
    assert "decoder-right-pad-generate" in said
    assert "induction" in said


def test_the_tour_is_written_as_six_pictures(maskviz: Run, tmp_path: Path) -> None:
    maskviz("demo", "-o", str(tmp_path / "new" / "folder"))
    found = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert found == [f"{number}-{stop.name}.png" for number, stop in enumerate(STOPS, start=1)]


def test_a_place_the_tour_cannot_write_to_is_said(maskviz: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot write to" in maskviz("demo", "-o", str(tmp_path / "file"), expect=3).stderr


@pytest.mark.slow("starts a process in a terminal")
def test_the_tour_waits_for_enter_and_ends_at_q() -> None:
    with Terminal("demo", size=(40, 100)) as screen:
        screen.wait("Enter: the next picture, q: end")
        assert "1 of 6" in screen.text
        screen.press("\r", until="2 of 6")
        screen.wait("Enter: the next picture")
        screen.press("q\r", until="q")
        assert screen.ends() == 0
        assert "3 of 6" not in screen.text


def test_the_doctor_says_releases_beside_those_tested(maskviz: Run) -> None:
    said = maskviz("doctor").stdout
    for name, newest in NEWEST_TESTED.items():
        assert re.search(rf"{name} +\S+ +{OLDEST_TESTED[name]} to {newest}", said)
    for words in ("devices", "cpu", "extras", "explore", "terminal", "in any script"):
        assert words in said
    assert "--json and -o" in maskviz("doctor", "--json", "-o", "x.json", expect=2).stderr
    found = json.loads(maskviz("doctor", "--json").stdout)
    assert found["warnings"] == []
    assert found["devices"][-1]["name"] == "cpu"


def test_the_doctor_warns_of_releases_beyond_those_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "maskviz.api.doctor.installed", lambda name: {"torch": "9.9", "transformers": "4.1"}.get(name, "")
    )
    assert doctor().warnings == (
        f"transformers 4.1 is older than {OLDEST_TESTED['transformers']}, the oldest promised",
        f"torch 9.9 is newer than {NEWEST_TESTED['torch']}, the newest that was tested",
    )


def test_the_oldest_releases_promised_are_those_the_makefile_installs() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name, oldest in OLDEST_TESTED.items():
        assert f"{name}=={oldest}" in makefile


def test_models_of_the_hub_cache_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("models--google--gemma-3-1b-it", "models--gpt2", "datasets--x--y"):
        (tmp_path / "hub" / name).mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert cached_models() == ("google/gemma-3-1b-it", "gpt2")
    assert "google/gemma-3-1b-it" in doctor().page().panels[-1].text  # type: ignore[union-attr]


@pytest.mark.slow("starts a process")
def test_a_line_is_on_the_screen_before_anything_heavy_is_imported() -> None:
    code = (
        "import os, pty, sys\n"
        "import runpy\n"
        "child, terminal = pty.fork()\n"
        "if child == 0:\n"
        "    import builtins\n"
        "    own = builtins.__import__\n"
        "    def watched(name, *more, **named):\n"
        "        if name.split('.')[0] in ('typer', 'rich', 'numpy', 'torch'):\n"
        "            os._exit(0)\n"
        "        return own(name, *more, **named)\n"
        "    builtins.__import__ = watched\n"
        "    sys.argv = ['maskviz', 'show', 'a']\n"
        "    runpy.run_module('maskviz', run_name='__main__')\n"
        "said = b''\n"
        "while b'starting' not in said: said += os.read(terminal, 1000)\n"
        "print(said)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "maskviz: starting" in done.stdout


@pytest.mark.slow("starts a process in a terminal")
def test_the_line_is_gone_when_the_answer_is_there() -> None:
    with Terminal("show", "-m", "demo:gpt", "the cat", "--brief", size=(40, 100)) as screen:
        screen.wait("heads in all")
        assert screen.ends() == 0
        assert b"maskviz: starting" in screen.raw
        assert "starting" not in screen.text
        assert not any(re.search(r", \d+ s$", line) for line in screen.lines)


def test_without_a_terminal_there_is_no_line(capfd: pytest.CaptureFixture[str]) -> None:
    pulse = Pulse()
    pulse.begin()
    pulse.gone()
    assert capfd.readouterr().err == ""


@pytest.mark.slow("starts a process")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["info", "demo:gpt"], 0), (["shwo"], 2), (["check", "-m", "demo:gpt", "a", "b c"], 5), (["view", "no.npz"], 3)],
)
def test_leaving_at_once_keeps_the_exit_code_and_all_that_was_written(arguments: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maskviz", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == code
    out, err = io.StringIO(), io.StringIO()
    environment = Env(io.StringIO(), out, err, width=80)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", err)
        with pytest.raises(SystemExit):
            app(arguments, obj=environment, prog_name="maskviz")
    assert done.stdout.splitlines()[-1:] == out.getvalue().splitlines()[-1:]
    assert done.stderr.splitlines()[-1:] == err.getvalue().splitlines()[-1:]
