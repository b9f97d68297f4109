"""What holds of Keras on torch holds on jax and tensorflow, where they are installed: the same tests in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "test_keras.py"


@pytest.mark.slow("starts a process for each backend of Keras that is installed")
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_layers_are_heard_whatever_computes(backend: str) -> None:
    for package in ("keras", backend):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(TESTS)],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=TESTS.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout.splitlines()[-1]


@pytest.mark.slow("starts a process for each order in which packages are imported")
@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
@pytest.mark.parametrize("first", ["keras", "maskviz.tracing.modules.keras_layers"])
def test_it_makes_no_difference_who_is_imported_first(backend: str, first: str) -> None:
    for package in ("keras", backend):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    code = f"""
import {first}
import keras, numpy as np
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.keras_layers import call_keras, keras_card_facts, listening_to_keras
layer, x = keras.layers.MultiHeadAttention(2, 4), np.ones((1, 3, 8), "float32")
with listening_to_keras(layer, hearing := Hearing()):
    call_keras(layer, [x, x])
print(keras_card_facts(layer).device, hearing.calls[0].weights.shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"keras on {backend} (1, 2, 3, 3)"
