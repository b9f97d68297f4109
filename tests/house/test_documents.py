"""Pages that nothing runs drift: README's console blocks and every sample are run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskviz import demo

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(folder.parent for folder in (ROOT / "samples").glob("*/run.sh"))


def environment(home: Path) -> dict[str, str]:
    """A terminal of 80 columns without colour or network; `maskviz` and `python` are this environment's."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "LINES")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"PATH": path, "COLUMNS": "80", "NO_COLOR": "1", "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def stable(text: str) -> str:
    """Without the drift, a rounding error that differs between machines, and spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in re.sub(r"\d\.\de[+-]\d\d", "0.0e-00", text).splitlines())


def run(command: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(home), capture_output=True, text=True, check=False
    )


def blocks() -> dict[str, list[tuple[str, str]]]:
    """Every command of README's console blocks with the output shown for it, by the section it stands in."""
    found: dict[str, list[tuple[str, str]]] = {}
    section = ""
    text = (ROOT / "README.md").read_text("utf-8")
    for title, block in re.findall(r"^##+ (.*?)$|```console\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        section = title or section
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                line, _, output = output.partition("\n")
                command = f"{command[:-1]} {line.removeprefix('> ').strip()}"
            found.setdefault(section, []).append((command, output.rstrip()))
    return found


BLOCKS = blocks()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """A folder like the reader's: a model of their own, a text, and a hub cache that knows one model."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(minilm, folder / "my-model")
    shutil.copy(ROOT / "samples" / "weightless" / "llama-405b.json", folder)
    shutil.copy(ROOT / "samples" / "importance" / "texts.txt", folder)
    (folder / "text.txt").write_text("The cat sat in the house because it was cold.\n", encoding="utf-8")
    commit = "0" * 40
    repository = folder / "home" / "hub" / "models--bert-base-uncased"
    shutil.copytree(demo.folder("bert"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return folder


@pytest.mark.parametrize("section", list(BLOCKS))
def test_readmes_commands_print_what_it_shows(reader: Path, section: str) -> None:
    """A section in one test, in its order: a command may use what one before it wrote."""
    wrong = {command: said for command, output in BLOCKS[section] if (said := difference(command, output, reader))}
    assert not wrong, "\n\n".join(f"$ {command}\n{said}" for command, said in wrong.items())


def difference(command: str, output: str, reader: Path) -> str:
    """What a command printed where that is not what is shown, else nothing. A block without output only has to succeed;
    a line `...` leaves out the rest, `exit N` names the exit code."""
    done = run(command, reader, reader / "home")
    lines = output.splitlines()
    code = int(lines.pop().split()[1]) if lines and re.fullmatch(r"exit \d+", lines[-1]) else 0
    if done.returncode != code:
        return f"ended with {done.returncode}: {done.stderr}"
    printed = stable(done.stdout + (done.stderr if code else ""))
    if lines and lines[-1] == "...":
        right = printed.startswith(stable("\n".join(lines[:-1])))
    else:
        right = not lines or printed == stable("\n".join(lines))
    return "" if right else printed


def test_readme_shows_commands() -> None:
    assert sum(map(len, BLOCKS.values())) >= 8


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.name)
def test_a_sample_prints_and_draws_what_it_says(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.png", "expected.txt"))
    done = run("bash run.sh", copy, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    expected = folder / "expected.txt"
    if request.config.getoption("--overwrite"):
        expected.write_text(done.stdout, encoding="utf-8")
        for picture in copy.glob("*.png"):
            shutil.copy(picture, folder)
    assert stable(done.stdout) == stable(expected.read_text("utf-8"))
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures
    assert {path.name for path in copy.glob("*.png")} == pictures


def test_every_sample_is_listed() -> None:
    listed = set(re.findall(r"\]\((.*?)/run\.sh\)", (ROOT / "samples" / "README.md").read_text("utf-8")))
    assert listed == {folder.name for folder in SAMPLES}


def test_the_exit_codes_readme_lists_are_the_codes_there_are() -> None:
    from maskviz.core.errors import ExitCode

    listed = set(re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert listed == {str(int(code)) for code in ExitCode}
