"""Output without what differs from machine to machine."""

from __future__ import annotations

import re


def stable(text: str) -> str:
    """The text with the numbers that are rounding errors taken out, as many characters of them as there were."""
    for digits in (1, 2):
        text = re.sub(rf"\b\d\.\d{{{digits}}}e[-+]\d\d\b", f"0.{'0' * digits}e-00", text)
    return text
