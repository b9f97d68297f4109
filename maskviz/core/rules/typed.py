"""A rule as somebody typed it, for the kinds of rules that may be meant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError

# In front of a number that counts to both sides.
BOTH_SIDES = ("±", "+-")
_NUMBER = re.compile(r"[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Typed:
    """One rule of a conjunction as it was typed.

    Attributes:
        name: Its name, in lower case.
        inside: What stands in its brackets, without spaces around it; None where there are none.
        words: The whole of it.
        text: The conjunction it is part of.
        character: The character of the conjunction at which it begins, from 1.
        document, keep: What was given beside the text, [batch, token]; None where nothing was.
    """

    name: str
    inside: str | None
    words: str
    text: str
    character: int
    document: Content | None = None
    keep: Content | None = None

    def argument_of(self, *names: str) -> str | None:
        """What stands in the brackets of a rule of one of these names; None where it is another or has none."""
        return self.inside if self.name in names else None

    def is_plain(self, *names: str) -> bool:
        """Whether it is one of these names, without brackets."""
        return self.name in names and self.inside is None

    def number(self, words: str, least: int = 0) -> int:
        """A number of tokens, with commas or without.

        Raises:
            UsageError: it is none, or less than `least`.
        """
        number = int(words.replace(",", "")) if _NUMBER.fullmatch(words) else -1
        if number < least:
            raise self.wrong(f"{self.words!r} needs a number of tokens from {least}")
        return number

    def given(self, content: Content | None, hint: str) -> Content:
        """What was given beside the text.

        Raises:
            UsageError: nothing was; the hint says how.
        """
        if content is None:
            typed = self.words.partition("(")[0].strip()
            raise UsageError(f"the rule {self.text!r} says {typed!r} and not of which tokens", hint)
        return content

    def wrong(self, what: str) -> UsageError:
        """What is wrong with it, and where it stands."""
        return misread(self.text, self.character, what)


def misread(text: str, character: int, what: str) -> UsageError:
    """What is wrong at a character of a rule."""
    return UsageError(f"in the rule {text!r}, at character {character}: {what}")
