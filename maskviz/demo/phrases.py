"""Noun phrases of the demo grammar: who does something, and the articles and capitals around them."""

from __future__ import annotations

from random import Random

from maskviz.demo import lexicon as words
from maskviz.demo.lexicon import Noun


def maybe_plural(rng: Random, noun: Noun) -> Noun:
    """The noun, or, three times in ten, several of them."""
    return noun.plural if rng.random() < 0.3 else noun


def some_creature(rng: Random) -> Noun:
    """Somebody who can be tired: an animal or a person, one or several, with its article."""
    kind = rng.choices((words.ANIMALS, words.MEN, words.WOMEN), (5, 2, 2))[0]
    return the(maybe_plural(rng, rng.choice(kind)))


def some_person(rng: Random) -> Noun:
    """A person by name."""
    return rng.choice(words.HIS_NAMES + words.HER_NAMES)


def two_people(rng: Random) -> tuple[Noun, Noun]:
    """Two different people by name."""
    first, second = rng.sample(words.HIS_NAMES + words.HER_NAMES, 2)
    return first, second


def the(noun: Noun) -> Noun:
    """The noun with its definite article."""
    return Noun(f"the {noun.word}", noun.pronoun)


def capitalised(text: str) -> str:
    """The text with a capital first letter, as a sentence begins."""
    return text[0].upper() + text[1:]


def a(word: str) -> str:
    """The word with its indefinite article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
