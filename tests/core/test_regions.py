"""Regions are read, and what is wrong with one is said with the axis it is wrong on."""

from __future__ import annotations

import pytest

from maskviz.core.errors import UsageError
from maskviz.core.panels.regions import parse_region
from maskviz.core.run.long import Region


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10:20,0:5", Region(10, 20, 0, 5)),
        (" 10 : 20 , :5", Region(10, 20, 0, 5)),
        ("10:,:", Region(10, 30, 0, 40)),
    ],
)
def test_a_region_is_read(text: str, expected: Region) -> None:
    assert parse_region(text, 30, 40) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 part"),
        ("1:2", "1 part"),
        ("1:2,3:4,5:6", "3 parts"),
        ("a:2,3:4", "queries: cannot read 'a:2'"),
        ("1:2,-3:4", "keys: cannot read '-3:4'"),
        ("1:2,3", "keys: cannot read '3'"),
        ("1:31,0:5", "queries: 1:31 goes beyond the 30 queries"),
        ("1:2,0:41", "keys: 0:41 goes beyond the 40 keys"),
        ("5:5,0:1", "queries: 5:5 holds nothing"),
        ("30:,0:1", "queries: 30: holds nothing"),
        ("1:2,9:4", "keys: 9:4 holds nothing"),
    ],
)
def test_a_region_that_is_none_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_region(text, 30, 40)
