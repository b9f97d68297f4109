"""Long runs of real weights, whose layers make more of a rounding error than tiny random ones do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskviz.core.words import Way
from maskviz.load.models.model import load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.long.run import rehearse, stream
from maskviz.tracing.long.tally import Keeping
from maskviz.tracing.run import run

pytestmark = pytest.mark.slow("runs models of real size")


@pytest.mark.parametrize(
    "text", ["the " * 70, "The keeper of the light wrote down each ship that passed it by night. " * 5]
)
def test_smollm2_is_streamed_as_it_is_traced(smollm2: Path, text: str) -> None:
    source = resolve(str(smollm2))
    loaded = load_model(source, load_config(source))
    encoded = encode(loaded, Request(texts=(text.strip(),)))
    rehearsed = rehearse(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    long = stream(loaded.model, encoded.inputs, encoded.batch, loaded.card, Keeping(8), rehearsed)
    assert {call.way for call in long.calls} <= {Way.BLOCKS, Way.ROWS}
    assert max(call.difference or 0.0 for call in long.calls) <= 1e-4
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    for call, whole in zip(long.calls, trace.calls, strict=True):
        assert whole.pattern is not None
        first = whole.pattern[:, :, :8, :8].sum((2, 3))
        np.testing.assert_allclose(call.sums[:, :, 0, 0], first, atol=8 * 1e-3)
