"""What is handed out: a wheel and an sdist that hold all it takes, and run where they are installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow("builds and installs the package")

ROOT = Path(__file__).parents[2]
# What is no code, and what a run needs.
NEEDED = {
    *(f"maskviz/demo/models/{name}/model.safetensors" for name in ("bert", "gpt", "t5")),
    "maskviz/py.typed",
    "maskviz/store/catalogue.json",
    "maskviz/ablate/modeling_pruned.txt",
    "maskviz/render/report/report.html",
    "maskviz/render/report/report.css",
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, the wheel made of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder), str(ROOT)], check=True, capture_output=True
    )
    return folder


def tracked() -> set[str]:
    """The files of the package that are checked in."""
    listed = subprocess.run(["git", "ls-files", "maskviz"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_a_wheel_holds_every_file_of_the_package_and_nothing_else_of_the_project(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == tracked()
    assert held >= NEEDED


def test_an_sdist_holds_the_package_and_what_is_said_of_it(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert held >= tracked() | {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt"}
    assert not [name for name in held if name.startswith(("tests/", "tools/", "samples/", "docs/"))]


def test_a_wheel_runs_where_it_is_installed(dist: Path, tmp_path: Path) -> None:
    """With the libraries of this environment, outside the repository, with nothing of it on the path."""
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "own", with_pip=False)
    python = tmp_path / "own" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(install, check=True, env=environment, cwd=tmp_path)
    libraries = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    own = next((tmp_path / "own" / "lib").glob("python*/site-packages"))
    (own / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    said = {}
    for arguments in (["-m", "maskviz", "show", "a cat"], ["-c", "import maskviz; print(maskviz.__file__)"]):
        done = subprocess.run(
            [str(python), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said[arguments[0]] = done.stdout
    assert "heads that stand out" in said["-m"]
    assert said["-c"].startswith(str(tmp_path))
    assert (tmp_path / "own" / "bin" / "maskviz").exists()
