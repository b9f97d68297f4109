"""Packages that extend maskviz: those of docs/extending.md, as the page has them, installed and found; broken ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import maskviz as package_of_maskviz
from maskviz.core.extensions import ExtensionError, extensions
from maskviz.core.rules.brought import brought_kinds
from maskviz.tracing.seam.masks import rule_of
from tests.conftest import Response
from tests.own_code import both_ways_folder

pytestmark = pytest.mark.slow("installs packages, and starts processes that find them")

ROOT = Path(package_of_maskviz.__file__).parents[1]
PAGE = ROOT / "docs/extending.md"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A decoder whose own code asks transformers for a mask with a function of the package.
STRIDED = """
from maskviz_example_stride import strided
from transformers import Qwen2ForCausalLM, Qwen2Model
from transformers.masking_utils import create_causal_mask


class {prefix}Model(Qwen2Model):
    def forward(self, input_ids=None, attention_mask=None, **more):
        embedded = self.embed_tokens(input_ids)
        mask = create_causal_mask(self.config, embedded, attention_mask, None, and_mask_function=strided(2))
        return super().forward(input_ids=input_ids, attention_mask={{"full_attention": mask}}, **more)


class {prefix}ForCausalLM(Qwen2ForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model = {prefix}Model(config)
        self.post_init()
"""
Run = Callable[..., subprocess.CompletedProcess[str]]
Broken = Callable[[str, str, str], None]
Maskviz = Callable[..., Response]


def run_with(*folders: Path) -> Run:
    """`maskviz` in a process that finds what lies in some folders."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(map(str, [ROOT, *folders]))
        return subprocess.run(
            [sys.executable, "-m", "maskviz", *arguments],
            env=os.environ | {"PYTHONPATH": path, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the page as pip installs them."""
    sources, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("site")
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text(text, encoding="utf-8")
    alone = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    packages = sorted(map(str, sources.iterdir()))
    assert [Path(one).name for one in packages] == ["maskviz-example-lint", "maskviz-example-stride"]
    command = [sys.executable, "-m", "pip", "install", *alone, "--target", str(target), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_a_rule_of_a_package_is_listed_and_finds(installed: Path, tmp_path: Path) -> None:
    run, text, sarif = run_with(installed), tmp_path / "findings.txt", tmp_path / "findings.sarif"
    listed = run("check", "--list")
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"^ACME1 +warning +no-end-of-text", listed.stdout, re.MULTILINE), listed.stdout
    outputs = ("-o", str(text), "-o", str(sarif))
    found = run("check", "a text", "-m", "demo:gpt", "--select", "ACME", "--fail-on", "warning", *outputs)
    assert found.returncode == 5, found.stderr
    assert "its last token is" in text.read_text(encoding="utf-8")
    (log,) = json.loads(sarif.read_text(encoding="utf-8"))["runs"]
    (result,) = log["results"]
    assert log["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "ACME1"


def test_a_rule_of_a_package_that_lacks_what_it_needs_is_said_not_to_be_asked(installed: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.tril(np.ones((4, 4), np.bool_)))
    done = run_with(installed)("check", str(tmp_path / "mask.npy"), "--as", "sdpa", "--select", "ACME1")
    assert "no batch is given" in done.stdout, done.stdout + done.stderr


def test_a_kind_of_rule_of_a_package_is_typed(installed: Path) -> None:
    done = run_with(installed)("mask", "causal & stride(4)", "--length", "64")
    assert done.returncode == 0, done.stderr
    seen = sum(1 for query in range(64) for key in range(query + 1) if (query - key) % 4 == 0)
    assert "stride(4)" in done.stdout and f"{seen:,}" in done.stdout
    unknown = run_with(installed)("mask", "causal & strode(4)", "--length", "64")
    assert (unknown.returncode, "stride(N)" in unknown.stderr) == (2, True)


def test_what_a_reader_of_a_package_reads_is_shown_saved_and_read_back(installed: Path, tmp_path: Path) -> None:
    folder = both_ways_folder(tmp_path / "model", prefix="Own", known=False, code=STRIDED)
    saved, text, run = tmp_path / "run.npz", tmp_path / "run.txt", run_with(installed)
    own = ("-m", str(folder), "--trust-remote-code", "--random-weights", "0")
    shown = run("show", "--ids", "5 6 7 8 9 10", *own, "-o", str(saved), "-o", str(text))
    assert shown.returncode == 0, shown.stderr
    assert "causal ∧ stride(2)" in text.read_text(encoding="utf-8")
    again = run("view", str(saved))
    assert again.returncode == 0, again.stderr
    assert "causal ∧ stride(2)" in again.stdout, again.stdout
    why = run("explain", str(saved), "--at", "5,2")
    assert "query 5 − key 2 = 3, no multiple of 2" in why.stdout, why.stdout + why.stderr
    elsewhere = run_with()("view", str(saved))
    assert elsewhere.returncode == 3
    assert "'stride' is none of" in elsewhere.stderr and "Traceback" not in elsewhere.stderr


BROKEN_LINT = """
from maskviz.extending import Check, Finding, Need, Severity, Trap

def trap(id):
    return Trap(id, "name", Severity.ERROR, "A sentence.", "A fix.", "here")

def fails(case):
    raise ZeroDivisionError("one by none")

taken = Check(trap("P1"), fails)
misnamed = Check(trap("acme"), fails)
failing = Check(trap("ACME1"), fails)
strange = Check(trap("ACME1"), lambda case: ["a finding"])
nothing = 7
"""
BROKEN_RULES = """
from dataclasses import dataclass
from maskviz.extending import Leaf, Reason, Whole

@dataclass(frozen=True)
class Window(Leaf):
    kind = "window"
    reason = Reason.OTHER
    def visible(self, at): return at.query == at.key
    def __str__(self): return "mine"

@dataclass(frozen=True)
class Mute(Leaf):
    kind = "mute"

@dataclass(frozen=True)
class Failing(Window):
    kind = "failing"
    form = {"size": Whole(3)}
    size: int
    def visible(self, at): return at.query == at.keys

@dataclass(frozen=True)
class Numbers(Window):
    kind = "numbers"
    def visible(self, at): return at.query - at.key

class Plain(Window):
    kind = "plain"
    form = {"size": None}
"""


def package(folder: Path, group: str, value: str, code: str) -> Path:
    """A package as it lies where it is installed."""
    info = folder / "broken_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nthing = {value}\n")
    (folder / "broken_module.py").write_text(code)
    return folder


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Broken]:
    """Puts a package with one entry point where this process finds it."""

    def put(group: str, value: str, code: str) -> None:
        monkeypatch.syspath_prepend(package(tmp_path, group, value, code))
        monkeypatch.delitem(sys.modules, "broken_module", raising=False)
        forget()

    yield put
    forget()


def forget() -> None:
    extensions.cache_clear()
    brought_kinds.cache_clear()


LISTED, TYPED = ("check", "--list"), ("mask", "never(3)", "--length", "9")
CHECKED = ("check", "a text", "-m", "demo:gpt", "--select", "ACME1")


@pytest.mark.parametrize(
    ("group", "value", "code", "arguments", "said"),
    [
        ("lints", "broken_module:gone", BROKEN_LINT, LISTED, "broken_module:gone cannot be imported: AttributeError"),
        ("lints", "broken_module:thing", "1 / 0", LISTED, "cannot be imported: ZeroDivisionError: division by zero"),
        ("lints", "broken_module:thing", "raise SystemExit(9)", LISTED, "cannot be imported: SystemExit: 9"),
        ("lints", "broken_module:taken", BROKEN_LINT, LISTED, "a rule of check called 'P1', and there is one"),
        ("lints", "broken_module:misnamed", BROKEN_LINT, LISTED, "the id 'acme' is not two capital letters"),
        ("lints", "broken_module:nothing", BROKEN_LINT, LISTED, "thing is no Check but int"),
        ("lints", "broken_module:failing", BROKEN_LINT, CHECKED, "thing fails with ZeroDivisionError: one by none"),
        ("lints", "broken_module:strange", BROKEN_LINT, CHECKED, "ACME1 finds 'a finding', which is no finding of it"),
        ("rules", "broken_module:gone", BROKEN_RULES, TYPED, "broken_module:gone cannot be imported: AttributeError"),
        ("rules", "broken_module:Window", BROKEN_RULES, TYPED, "a kind of rule called 'window', and maskviz.core"),
        ("rules", "broken_module:Mute", BROKEN_RULES, TYPED, "Mute does not say its __str__, reason, visible"),
        ("rules", "broken_module:Plain", BROKEN_RULES, TYPED, "Plain is no dataclass whose `form` says"),
        ("rules", "broken_module:Failing", BROKEN_RULES, TYPED, "thing fails with AttributeError"),
        ("rules", "broken_module:Numbers", BROKEN_RULES, TYPED, "mine, asked of cells, gives int64 [1, 1, 4, 4]"),
        ("rules", "broken_module:Reason", BROKEN_RULES, TYPED, "thing is neither a kind of rule nor a reader"),
    ],
)
def test_a_broken_package_is_one_line_with_its_name(
    group: str, value: str, code: str, arguments: tuple[str, ...], said: str, broken: Broken, maskviz: Maskviz
) -> None:
    broken(f"maskviz.{group}", value, code)
    line, hint = maskviz(*arguments, expect=3).stderr.splitlines()
    assert line.startswith("maskviz: error: package 'broken-package' extends maskviz and is wrong: ")
    assert said in line
    assert "pip uninstall broken-package" in hint


@pytest.mark.parametrize(
    ("result", "said"), [("1 / 0", "ZeroDivisionError"), ("'causal'", "returns str, which is no rule")]
)
def test_a_broken_reader_is_one_line_with_the_name_of_its_package(result: str, said: str, broken: Broken) -> None:
    broken("maskviz.rules", "broken_module:read", f"def read(function):\n    return {result}\n")
    with pytest.raises(ExtensionError, match=f"'broken-package'.*{said}"):
        rule_of(lambda batch, head, query, key: key == query)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("check", "--help"), ("--version",), ("mask", "causal", "--length", "9")]
)
def test_what_needs_no_package_imports_none(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for group in ("lints", "rules"):
        done = run_with(package(tmp_path / group, f"maskviz.{group}", "broken_module:thing", "1 / 0"))(*arguments)
        assert done.returncode == 0, done.stderr
