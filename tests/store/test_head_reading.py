"""A reading of heads as JSON: every number, null where there is none."""

from __future__ import annotations

import json

import numpy as np

from maskviz.analyse.head_statistics import read_heads
from maskviz.core.words import HeadStatistic
from maskviz.store.head_reading import heads_json
from tests.head_traces import CARD, trace_of


def test_every_number_is_in_the_file_and_null_where_there_is_none() -> None:
    reading = read_heads(trace_of(3, lengths=(9, 6)))
    found = json.loads(heads_json(reading, CARD, ("one", "two"), "maskviz heads", ("done",)))
    assert (found["kind"], found["texts"], found["tokens"], found["done"]) == (
        "heads",
        ["one", "two"],
        [9, 6],
        ["done"],
    )
    for layer, one in zip(reading.layers, found["layers"], strict=True):
        assert set(one["statistics"]) == {kind.value for kind in layer.measured}
        for kind, measured in layer.measured.items():
            means = [np.nan if mean is None else mean for mean in one["statistics"][kind.value]["mean"]]
            np.testing.assert_array_equal(means, measured.mean)
            assert one["statistics"][kind.value]["queries"] == measured.queries.tolist()
        assert one["statistics"][HeadStatistic.NEXT.value]["mean"] == [None] * 3
        assert [[role["role"] for role in head] for head in one["roles"]] == [
            [role.role.value for role in head] for head in layer.roles
        ]
        assert [[place["offset"] for place in head] for head in one["top_offsets"]] == [
            [place.offset for place in head] for head in layer.offsets
        ]
