"""The help: every line whole, types in words, examples that run; and what is said of a command line that is wrong."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from maskviz.cli.app import COMMANDS, app
from maskviz.cli.parsing.examples import EXAMPLES, FILES, FIRST
from maskviz.cli.parsing.usage import Declared, declared_by
from maskviz.core.errors import UsageError
from maskviz.core.writing import nearest
from tests.architectures import tiny
from tests.conftest import Response

Run = Callable[..., Response]
NAMES = [name for group in COMMANDS.values() for name, _, _ in group]
RUN = Path(__file__).parents[1] / "store" / "runs" / "version-1" / "past.npz"


def declared(name: str) -> Sequence[Declared]:
    return tuple(declared_by(get_command(app).commands[name]).values())  # type: ignore[attr-defined]


def options() -> Iterator[tuple[str, Declared]]:
    yield from ((name, one) for name in NAMES for one in declared(name) if not one.argument)


def numbers() -> list[tuple[str, str]]:
    return [(name, one.written) for name, one in options() if one.kind in (int, float)]


def words() -> list[tuple[str, str, str]]:
    return [(name, one.written, one.choices[0]) for name, one in options() if one.choices]


@pytest.mark.parametrize("width", ["80", "60"])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_every_line_of_the_help_is_whole(
    maskviz: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TERMINAL_WIDTH", width)
    maskviz(*filter(None, (name, "--help")))
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if not line.lstrip().startswith("maskviz ")]  # examples are one line
    assert max(map(len, lines)) <= int(width)
    assert "…" not in said
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage: ")]


@pytest.mark.parametrize("name", NAMES)
def test_types_are_words(maskviz: Run, capsys: pytest.CaptureFixture[str], name: str) -> None:
    maskviz(name, "--help")
    said = capsys.readouterr().out
    for foreign in ("<", "list[", "INTEGER", "RANGE", "PATH", "x>=", "<=x", "9223372036854775807", "[default"):
        assert foreign not in said
    for one in declared(name):
        assert one.info.help, f"{one.written} says nothing"
        assert one.value != "TEXT" or one.info.metavar or one.flag, f"{one.written} has no name for its value"


def test_the_first_page_has_every_command_under_what_it_is_for(
    maskviz: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    maskviz()
    bare = capsys.readouterr().out
    maskviz("--help")
    assert capsys.readouterr().out == bare
    headings = re.findall(r"^(\S.*):$", bare, re.MULTILINE)
    assert headings == ["Begin with", *COMMANDS, "Options"]
    for group, commands in COMMANDS.items():
        part = bare.split(f"\n{group}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines()] == [*(name for name, _, _ in commands), "example:"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that examples name."""
    shutil.copy(RUN, tmp_path / "run.npz")
    np.save(tmp_path / "mask.npy", np.tril(np.ones((1, 1, 6, 6), np.bool_)))
    (tmp_path / "texts.txt").write_text("The cat sat on the mat\nA dog ran home\n", encoding="utf-8")
    rows = [
        {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1]},
        {"input_ids": [5, 6, 0], "attention_mask": [1, 1, 0]},
    ]
    (tmp_path / "batch.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tiny("gpt2").config.save_pretrained(tmp_path)
    assert all((tmp_path / name).exists() for name in FILES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow("runs every example of the help")
@pytest.mark.parametrize(
    "line",
    [line for name, lines in EXAMPLES.items() if name != "explore" for line in lines] + [line for line, _ in FIRST],
)
def test_an_example_of_the_help_runs(maskviz: Run, folder: Path, line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "maskviz"
    if "config.json" in arguments and "--ids" not in arguments and "info" not in arguments and "mask" not in arguments:
        arguments += ["--ids", "5 6 7"]  # this config has no tokenizer, and yours does
        arguments = [one for one in arguments if one != "The cat sat on the mat"]
    response = maskviz(*arguments, expect=(0, 5) if arguments[0] == "check" else 0)
    assert response.stdout or response.stderr


def test_every_command_has_five_examples_but_those_that_ask_for_nothing() -> None:
    assert set(EXAMPLES) == set(NAMES)
    assert {name for name, lines in EXAMPLES.items() if len(lines) != 5} == {"demo", "doctor"}
    assert all(line.startswith(f"maskviz {name}") for name, lines in EXAMPLES.items() for line in lines)


@pytest.mark.parametrize(("name", "option"), numbers())
def test_a_number_that_is_none_is_said_in_our_words(maskviz: Run, name: str, option: str) -> None:
    for given in ("word", "-999999", "1.5.2"):
        said = maskviz(name, f"{option}={given}", expect=2).stderr
        assert said.startswith(f"maskviz: error: {option} {given!r} is not a"), said
        assert "  hint: " in said


@pytest.mark.parametrize(("name", "option", "right"), words())
def test_a_word_that_is_none_is_said_with_those_there_are_and_the_nearest(
    maskviz: Run, name: str, option: str, right: str
) -> None:
    said = maskviz(name, option, f"{right}x", expect=2).stderr
    assert said.startswith(f"maskviz: error: {option} '{right}x' is none of ")
    assert f"did you mean {right}" in said or len(right) < 3


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_and_options_without_a_value_are_said(maskviz: Run, name: str) -> None:
    assert maskviz(name, "--lyaer", expect=2).stderr.startswith(
        f"maskviz: error: there is no option --lyaer of 'maskviz {name}'\n  hint: "
    )
    for one in declared(name):
        if not one.argument and not one.flag:
            said = maskviz(name, one.written, expect=2).stderr
            assert said == f"maskviz: error: {one.written} needs a value\n  hint: write {one.written} {one.value}\n"


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("shwo",), "there is no command 'shwo'", "did you mean show?"),
        (("importence",), "there is no command 'importence'", "did you mean importance?"),
        (("--verion",), "there is no option --verion of 'maskviz'", ""),
        (("show", "--layr", "1", "x"), "there is no option --layr of 'maskviz show'", "did you mean --layer?"),
        (("info", "a", "b"), "one argument too many: b", ""),
        (("view",), "RUN is missing", ""),
        (("show", "-m", "demo:gtp", "x"), "there is no demo model 'demo:gtp'", "did you mean demo:gpt?"),
        (("check", "--select", "Q9", "x"), "there is no rule 'Q9'", ""),
        (("check", "--select", "P99", "x"), "there is no rule 'P99'", "did you mean P9"),
        (("show", "--attn", "eagre", "x"), "--attn 'eagre' is no attention backend", "did you mean eager?"),
        (("mask", "causl", "--length", "4"), "'causl' is no known rule", "did you mean causal?"),
        (("show", "--dtype", "float23", "x"), "dtype 'float23' is not known", "did you mean float32"),
    ],
)
def test_a_name_that_is_none_suggests_the_nearest(
    maskviz: Run, arguments: tuple[str, ...], said: str, hint: str
) -> None:
    error = maskviz(*arguments, expect=(2, 3)).stderr
    assert said in error.splitlines()[0]
    assert hint in error.splitlines()[1]


def test_python_suggests_the_nearest_too() -> None:
    import maskviz as package

    with pytest.raises(UsageError) as raised:
        package.heads("demo:gpt", "a cat", by="indcution")
    assert "did you mean induction?" in str(raised.value.hint)


def test_nearest_says_nothing_where_nothing_is_near() -> None:
    assert nearest("zzz", ["causal", "window"]) == ""
    assert nearest("CAUSL", ["causal", "window"]) == "did you mean causal?"
