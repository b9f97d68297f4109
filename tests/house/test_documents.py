"""Pages that nothing runs drift: every console block of the pages and every sample are run here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskviz import demo
from tests.stable import stable
from tests.warm import Shell
from tools.module_cases.libraries import FOLDER

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
# Samples of models of a library that maskviz does not need, which lies alone in a folder of its name.
OF_LIBRARIES = {"unet-prompt": "diffusers"}
SAMPLES = sorted(folder.parent for folder in (ROOT / "samples").glob("*/run.sh"))


def told(text: str) -> str:
    """Without what differs from machine to machine, and spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in stable(text).splitlines())


def blocks() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Every command of the pages' console blocks with the output shown for it, by the page and section it stands in."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for page in PAGES:
        name, section = str(page.relative_to(ROOT)), "its beginning"
        for title, block in re.findall(
            r"^##+ (.*?)$|^```console\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
        ):
            section = title or section
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                while command.endswith("\\"):
                    line, _, output = output.partition("\n")
                    command = f"{command[:-1]} {line.removeprefix('> ').strip()}"
                found.setdefault((name, section), []).append((command, output.rstrip()))
    return found


BLOCKS = blocks()


@pytest.fixture(scope="module")
def belongings(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """What a reader has: a model and a module of their own, texts, inputs, a config."""
    folder = tmp_path_factory.mktemp("belongings")
    (folder / "my-model").symlink_to(minilm)
    shutil.copy(ROOT / "samples" / "weightless" / "llama-405b.json", folder)
    shutil.copy(ROOT / "samples" / "importance" / "texts.txt", folder)
    for name in ("model.py", "right.npz", "inverted.npz", "words.json"):
        shutil.copy(ROOT / "samples" / "own-module" / name, folder)
    for name in ("blocks.py", "ids.json"):
        shutil.copy(ROOT / "samples" / "keras-block" / name, folder)
    (folder / "text.txt").write_text("The cat sat in the house because it was cold.\n", encoding="utf-8")
    return folder


@pytest.fixture
def hub(shell: Shell) -> Iterator[None]:
    """A hub cache that knows one model."""
    commit = "0" * 40
    repository = shell.home / "hub" / "models--bert-base-uncased"
    shutil.copytree(demo.folder("bert"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    yield
    shutil.rmtree(shell.home / "hub")


@pytest.fixture
def reader(belongings: Path, hub: None, tmp_path: Path) -> Path:
    """A folder like the reader's, without anything another section wrote."""
    for one in belongings.iterdir():
        (tmp_path / one.name).symlink_to(one)
    return tmp_path


@pytest.mark.slow("runs what is shown, from its first command to its last")
@pytest.mark.parametrize(("page", "section"), list(BLOCKS))
def test_a_pages_commands_print_what_it_shows(
    shell: Shell, reader: Path, page: str, section: str, request: pytest.FixtureRequest
) -> None:
    """A section in one test, in its order: a command may use what one before it in the section wrote."""
    if request.config.getoption("--overwrite"):
        renew(shell, reader, ROOT / page, BLOCKS[page, section])
        return
    wrong = {
        command: said
        for command, output in BLOCKS[page, section]
        if (said := difference(shell, command, output, reader))
    }
    assert not wrong, "\n\n".join(f"$ {command}\n{said}" for command, said in wrong.items())


def renew(shell: Shell, reader: Path, page: Path, commands: list[tuple[str, str]]) -> None:
    """Write what the commands print into their page, as far as it showed it."""
    for command, output in commands:
        done = shell.run(command, reader)
        code = [f"exit {done.returncode}"] if done.returncode else []
        lines = [line.rstrip() for line in (done.stdout + (done.stderr if code else "")).splitlines()]
        shown = [line for line in output.splitlines() if not re.fullmatch(r"exit \d+", line)]
        if shown[-1:] == ["..."]:
            lines = [*lines[: len(shown) - 1], "..."]
        if shown:
            new = "\n".join([*lines, *code])
            page.write_text(page.read_text("utf-8").replace(f"\n{output}\n", f"\n{new}\n", 1), "utf-8")


def difference(shell: Shell, command: str, output: str, reader: Path) -> str:
    """What a command printed where that is not what is shown, else nothing. A block without output only has to succeed;
    a line `...` leaves out the rest, `exit N` names the exit code."""
    done = shell.run(command, reader)
    lines = output.splitlines()
    code = int(lines.pop().split()[1]) if lines and re.fullmatch(r"exit \d+", lines[-1]) else 0
    if done.returncode != code:
        return f"ended with {done.returncode}: {done.stderr}"
    printed = told(done.stdout + (done.stderr if code else ""))
    if lines and lines[-1] == "...":
        right = printed.startswith(told("\n".join(lines[:-1])))
    else:
        right = not lines or printed == told("\n".join(lines))
    return "" if right else printed


def test_every_command_is_shown_at_work_on_its_page() -> None:
    """But `explore`, which needs a terminal and somebody at its keys."""
    idle = set()
    for page in (ROOT / "docs" / "commands").glob("*.md"):
        run = [
            command
            for (name, _), commands in BLOCKS.items()
            if name == str(page.relative_to(ROOT))
            for command, _ in commands
        ]
        if not any(re.search(rf"\bmaskviz {page.stem}\b", command) for command in run):
            idle.add(page.stem)
    assert idle == {"explore"}


@pytest.mark.slow("runs what is shown, from its first command to its last")
@pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.name)
def test_a_sample_prints_and_draws_what_it_says(
    folder: Path, shell: Shell, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.png", "expected.txt"))
    libraries = {}
    if folder.name in OF_LIBRARIES:
        library = Path(FOLDER).parent / OF_LIBRARIES[folder.name]
        libraries["MASKVIZ_LIBRARIES"] = str(library)
        if not library.exists():
            pytest.skip(f"{folder.name} shows a model of {library.name}, which is not in {library}")
    done = shell.run("bash run.sh", copy, **libraries)
    assert done.returncode == 0, done.stderr
    expected = folder / "expected.txt"
    if request.config.getoption("--overwrite"):
        expected.write_text(done.stdout, encoding="utf-8")
        for picture in copy.glob("*.png"):
            shutil.copy(picture, folder)
    assert told(done.stdout) == told(expected.read_text("utf-8"))
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures
    assert {path.name for path in copy.glob("*.png")} == pictures


def test_every_sample_is_listed() -> None:
    listed = set(re.findall(r"\]\((.*?)/run\.sh\)", (ROOT / "samples" / "README.md").read_text("utf-8")))
    assert listed == {folder.name for folder in SAMPLES}


def test_the_exit_codes_the_page_lists_are_the_codes_there_are() -> None:
    from maskviz.core.errors import ExitCode

    listed = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "exit-codes.md").read_text("utf-8"), re.MULTILINE))
    assert listed == {str(int(code)) for code in ExitCode}
