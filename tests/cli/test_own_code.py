"""Models that bring code of their own: run where it is trusted, in every way a model is built, and said where not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from maskviz import demo
from tests.conftest import Response
from tests.own_code import both_ways_folder

Run = Callable[..., Response]
TRUST = "--trust-remote-code"
# Every way of running a model's masks, with weights and without.
WAYS = (
    ("show", "--ids", "5 6 7", "-m"),
    ("show", "--ids", "5 6 7", "--no-weights", "-m"),
    ("show", "--ids", "5 6 7", "--random-weights", "1", "-m"),
    ("info",),
    ("mask", "--length", "64", "-m"),
)


def words(response: Response) -> str:
    return " ".join(response.stdout.split())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way))
@pytest.mark.parametrize(
    ("prefix", "known", "architecture"),
    [
        pytest.param("Qwen2", True, "", id="names transformers has"),
        pytest.param("Own", True, "Qwen2ForCausalLM", id="names that differ from the architecture"),
        pytest.param("Own", True, "", id="a class transformers lacks"),
        pytest.param("Own", False, "", id="a type transformers lacks"),
    ],
)
def test_trusted_code_of_a_folder_builds_the_model_however_it_is_built(
    maskviz: Run, tmp_path: Path, way: tuple[str, ...], prefix: str, known: bool, architecture: str
) -> None:
    folder = both_ways_folder(tmp_path / "own", prefix=prefix, known=known, architecture=architecture, weights=True)
    said = words(maskviz(*way, str(folder), TRUST))
    assert "bidirectional" in said
    assert "causal" not in said
    assert f"{prefix}ForCausalLM" in said
    assert "was not run" not in said


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way))
def test_code_that_is_not_trusted_is_not_run_and_the_page_says_so(
    maskviz: Run, tmp_path: Path, way: tuple[str, ...]
) -> None:
    folder = both_ways_folder(tmp_path / "own", weights=True)
    ran = tmp_path / "ran"
    code = folder / "modeling_own.py"
    code.write_text(f"open({str(ran)!r}, 'w').close()\n{code.read_text()}")
    said = words(maskviz(*way, str(folder)))
    assert "modeling_own.py, which comes with the model, was not run" in said
    assert TRUST in said
    assert "causal" in said
    assert not ran.exists()


def test_the_config_of_a_folder_with_code_may_be_named_itself(maskviz: Run, tmp_path: Path) -> None:
    folder = both_ways_folder(tmp_path / "own", prefix="Own", known=False)
    assert "bidirectional" in words(maskviz("info", str(folder / "config.json"), TRUST))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "cannot load the code"),
        ("import no_such_package_anywhere", "no_such_package_anywhere"),
        ("1 / 0", "division by zero"),
        ("class Qwen2ForCausalLM: pass", "is no PreTrainedModel"),
        ("class Other: pass", "Qwen2ForCausalLM"),
        ("def (", "invalid syntax"),
    ],
)
@pytest.mark.parametrize("way", [WAYS[0], WAYS[1], WAYS[3]], ids=lambda way: " ".join(way))
def test_trusted_code_that_cannot_be_run_is_said_in_one_sentence(
    maskviz: Run, tmp_path: Path, way: tuple[str, ...], code: str | None, said: str
) -> None:
    folder = both_ways_folder(tmp_path / "own", weights=True)
    (folder / "modeling_own.py").unlink()
    if code is not None:
        (folder / "modeling_own.py").write_text(code)
    response = maskviz(*way, str(folder), TRUST, expect=(3, 4))
    assert said in " ".join(response.stderr.split())
    assert "Traceback" not in response.stderr


@pytest.mark.parametrize("auto_map", [{"AutoModel": 5}, {"AutoModel": "nodot"}, {"AutoModel": "a.b.c"}, [], "x", {}])
@pytest.mark.parametrize("trusted", [True, False])
def test_an_auto_map_that_is_none_is_said_or_passed_over(
    maskviz: Run, tmp_path: Path, auto_map: object, trusted: bool
) -> None:
    folder = both_ways_folder(tmp_path / "own", weights=True)
    config = json.loads((folder / "config.json").read_text()) | {"auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    for way in (WAYS[0], WAYS[1], WAYS[3]):
        maskviz(*way, str(folder), *([TRUST] if trusted else []), expect=(0, 3, 4))


def test_a_tokenizer_of_the_folders_own_code_is_run_or_said_not_to_be(maskviz: Run, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(demo.folder("bert"), folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}))
    (folder / "own.py").write_text(
        "from transformers import PreTrainedTokenizerFast\n"
        "class Own(PreTrainedTokenizerFast):\n"
        "    def __call__(self, *texts, **more):\n"
        "        return super().__call__('the dog', **more)\n"
    )
    trusted = words(maskviz("show", "A cat", "-m", str(folder), TRUST))
    assert "dog" in trusted
    assert "was not run" not in trusted
    own = words(maskviz("show", "A cat", "-m", str(folder)))
    assert "dog" not in own
    assert "own.py, the tokenizer that comes with the model, was not run" in own
