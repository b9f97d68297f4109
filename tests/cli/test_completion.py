"""What shells complete: asked as each of them asks, and in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from maskviz.cli.app import COMMANDS as GROUPS
from maskviz.cli.app import app
from maskviz.cli.parsing import completion
from maskviz.cli.parsing.completion import SCRIPTS, typed
from maskviz.core.checks.known import TRAPS
from maskviz.core.rules.registry import words as rule_words
from maskviz.core.words import Backend, Dialect, HeadStatistic
from tests.house.test_startup import run_without

Run = Callable[..., Any]
ROOT = typer.main.get_command(app)
SENTENCES = {name: line for group in GROUPS.values() for name, _, line in group}
COMMANDS = list(SENTENCES)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of every kind, and a cache with a model."""
    for name in ("a.npz", "b.npy", "c.json", "d.gguf", "e.txt", "f.pdf"):
        (tmp_path / name).touch()
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").touch()
    (tmp_path / "cache" / "models--bert-base-uncased").mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(line: str, shell: str = "fish", **variables: str) -> list[str]:
    """What a shell is told, as values alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {completion.SHELL: shell, completion.LINE: line, **variables}.items():
            patch.setenv(name, value)
        return [one.split("\t")[0] for one in completion.answer(ROOT, SENTENCES).splitlines()]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("maskviz ", COMMANDS),
        ("maskviz sh", ["show"]),
        ("maskviz --v", ["--version"]),
        ("maskviz heads --pro", ["--probe", "--probe-length", "--probe-seeds"]),
        ("maskviz heads --by ", list(HeadStatistic)),
        ("maskviz heads --by=ind", ["--by=induction"]),
        ("maskviz show a --padding-side ", ["left", "right"]),
        ("maskviz show a --attn ", list(Backend)),
        ("maskviz show a --attn eager,s", ["eager,sdpa"]),
        ("maskviz show a --dtype f", ["float32", "float16"]),
        ("maskviz prune --by ", ["importance", "gradient"]),
        ("maskviz convert b.npy --from ", list(Dialect)),
        ("maskviz convert b.npy --to p", ["python"]),
        ("maskviz check --ignore P1", ["P1", "P10", "P11", "P12", "P13"]),
        ("maskviz check --select P1,H", ["P1,H1", "P1,H2", "P1,H3"]),
        ("maskviz mask 'causal & w", ["causal & window"]),
        (
            "maskviz show -m ",
            ["demo:bert", "demo:gpt", "demo:t5", "bert-base-uncased", "c.json", "cache/", "d.gguf", "my-model/"],
        ),
        ("maskviz show -m be", ["bert-base-uncased"]),
        ("maskviz show -m my-model/", ["my-model/config.json"]),
        ("maskviz info demo:", ["demo:bert", "demo:gpt", "demo:t5"]),
        ("maskviz view ", ["a.npz", "cache/", "my-model/"]),
        ("maskviz explain ", ["a.npz", "b.npy", "cache/", "my-model/"]),
        ("maskviz show --file ", ["cache/", "e.txt", "my-model/"]),
        ("maskviz show ", []),  # a text
        ("maskviz show --max-length ", []),  # a number
        ("cd there && maskviz vi", ["view"]),
        ("cat a | maskviz show - | less; HF_HUB_OFFLINE=1 maskviz vi", ["view"]),
    ],
)
def test_what_may_stand_at_the_cursor(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_offered(name: str) -> None:
    own = {option for one in ROOT.commands[name].params for option in one.opts if option.startswith("-")}  # type: ignore[attr-defined]
    assert set(offered(f"maskviz {name} -")) == own | {"--help"}


def test_the_rules_that_are_offered_are_those_of_the_house() -> None:
    assert set(offered("maskviz check --select ")) == set(TRAPS)


def test_the_kinds_of_rules_that_are_offered_are_those_that_may_be_typed() -> None:
    assert set(completion._RULES) == {word for word in rule_words() if word}


def test_an_open_quote_is_read_to_the_cursor() -> None:
    assert typed("maskviz mask 'causal & w") == (["mask"], "causal & w")
    assert typed('maskviz show "the cat" -m ') == (["show", "the cat", "-m"], "")


def test_zsh_and_fish_get_the_sentence_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(completion.LINE, "maskviz vi")
    monkeypatch.setenv(completion.SHELL, "zsh")
    assert completion.answer(ROOT, SENTENCES) == f"view:{SENTENCES['view']}"
    monkeypatch.setenv(completion.SHELL, "fish")
    assert completion.answer(ROOT, SENTENCES) == f"view\t{SENTENCES['view']}"
    assert offered("maskviz info demo:g", "zsh") == ["demo\\:gpt:of maskviz itself"]


def test_bash_gets_what_stands_behind_the_marks_it_breaks_words_at() -> None:
    assert offered("maskviz info demo:g", "bash") == ["gpt"]
    assert offered("maskviz info demo:g", "bash", COMP_WORDBREAKS=" =") == ["demo:gpt"]


@pytest.mark.slow("starts a process for each line")
@pytest.mark.parametrize("line", ["maskviz sh", "maskviz heads --by ", "maskviz show -m ", "maskviz check --select "])
def test_completing_imports_no_heavy_library(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(completion.SHELL, "bash")
    monkeypatch.setenv(completion.LINE, line)
    done = run_without(("torch", "transformers", "numpy", "matplotlib", "huggingface_hub", "safetensors"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


IN_BASH = """
shopt -s expand_aliases
source <(maskviz --show-completion bash)
COMP_LINE=$1; COMP_POINT=${#1}; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
$(complete -p maskviz | sed 's/.*-F \\([^ ]*\\) .*/\\1/') maskviz "${@: -1}" "${@: -2:1}" 2> errors
printf '%s\\n' "${COMPREPLY[@]}"
cat errors | grep -v 'not currently executing completion' || true
"""


@pytest.mark.slow("starts bash, and processes from it")
@pytest.mark.parametrize(
    ("line", "words", "expected"),
    [
        ("maskviz sh", ["maskviz", "sh"], ["show"]),
        ("maskviz show -m demo:g", ["maskviz", "show", "-m", "demo", ":", "g"], ["gpt"]),
        ("maskviz view ", ["maskviz", "view", ""], ["a.npz", "cache/", "my-model/"]),
        ("maskviz heads --by in", ["maskviz", "heads", "--by", "in"], ["induction"]),
    ],
)
def test_a_real_bash_completes(folder: Path, line: str, words: list[str], expected: list[str]) -> None:
    programs = folder / "cache"
    (programs / "maskviz").write_text(f'#!/bin/sh\nexec {sys.executable} -m maskviz "$@"\n', encoding="utf-8")
    (programs / "maskviz").chmod(0o755)
    paths = os.pathsep.join(sys.path)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": paths}
    done = subprocess.run(
        ["bash", "--norc", "-c", IN_BASH, "bash", line, *words],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("shell", "files", "settings"),
    [
        ("bash", ".bash_completions/maskviz.sh", ".bashrc"),
        ("zsh", ".zfunc/_maskviz", ".zshrc"),
        ("fish", ".config/fish/completions/maskviz.fish", None),
    ],
)
def test_a_script_is_installed_once_and_what_was_there_is_kept(
    shell: str,
    files: str,
    settings: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if settings:
        (tmp_path / settings).write_text("alias a=b\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            app(["--install-completion", shell], prog_name="maskviz")
        assert stop.value.code == 0
        assert str(tmp_path / files) in capsys.readouterr().out
    assert (tmp_path / files).read_text(encoding="utf-8") == SCRIPTS[shell]
    if settings:
        lines = (tmp_path / settings).read_text(encoding="utf-8").splitlines()
        assert lines[0] == "alias a=b"
        assert len(lines) == 2


def test_the_shell_that_is_not_named_is_the_users(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(completion, "shell_of_user", lambda: "zsh")
    with pytest.raises(SystemExit) as stop:
        app(["--show-completion"], prog_name="maskviz")
    assert stop.value.code == 0
    assert capsys.readouterr().out == SCRIPTS["zsh"]


def test_a_shell_that_is_not_known_is_said(maskviz: Run) -> None:
    assert maskviz("--show-completion", "fsh", expect=2).stderr == (
        "maskviz: error: there is no completion for 'fsh'\n  hint: did you mean fish? name one of bash, zsh, fish\n"
    )


def test_scripts_are_what_their_shell_can_read() -> None:
    done = subprocess.run(["bash", "-n"], input=SCRIPTS["bash"], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
