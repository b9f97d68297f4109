"""The words of the demo corpus, grouped by the role they can play in a sentence.

Every group is a plain list, so that a reader can see at once what the demo models have ever heard of. A
word that is written more than once is drawn more often.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun with the pronoun that stands for it: `it`, `he`, `she` or `they`."""

    word: str
    pronoun: str = "it"

    @property
    def plural(self) -> Noun:
        """The same noun for several of them, referred to as `they`."""
        return Noun(IRREGULAR.get(self.word) or _regular_plural(self.word), "they")

    @property
    def was(self) -> str:
        """The past form of `to be` that agrees with the noun."""
        return "were" if self.pronoun == "they" else "was"

    @property
    def present(self) -> str:
        """The present form of `to be` that agrees with the noun."""
        return "are" if self.pronoun == "they" else "is"


IRREGULAR = {
    "mouse": "mice",
    "man": "men",
    "woman": "women",
    "fox": "foxes",
    "box": "boxes",
    "sheep": "sheep",
}


def _words(line: str) -> list[str]:
    return line.split()


def _regular_plural(word: str) -> str:
    """Add `s`, or turn a final `y` after a consonant into `ies`."""
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


ANIMALS = tuple(
    Noun(word)
    for word in _words(
        "animal animal animal dog cat horse bird fox rabbit mouse bear duck cow goat frog lion monkey "
        "elephant turtle wolf sheep"
    )
)
MEN = tuple(Noun(word, "he") for word in _words("man boy king father brother uncle grandfather son prince"))
WOMEN = tuple(Noun(word, "she") for word in _words("woman girl queen mother sister aunt grandmother daughter princess"))
HIS_NAMES = tuple(Noun(name, "he") for name in _words("Tom Ben Sam Max Paul John David Omar Peter Jack"))
HER_NAMES = tuple(Noun(name, "she") for name in _words("Anna Mary Lucy Sara Emma Rosa Nina Alice Kate Ella"))
JOBS = _words("doctor teacher farmer baker nurse driver student lawyer cook judge writer soldier")

WAYS = tuple(Noun(word) for word in _words("street street street road river bridge field lake valley square"))
PLACES = _words("garden kitchen school park forest house market library station office city village beach")
THINGS = tuple(
    Noun(word) for word in _words("ball book box cup key lamp letter hat coat bag apple flower stone picture watch toy")
)
CONTAINERS = tuple(Noun(word) for word in _words("suitcase box bag drawer car basket room"))
BULKY = tuple(Noun(word) for word in _words("trophy table chair piano statue bed lamp machine"))
FOODS = tuple(Noun(word) for word in _words("soup cake bread pie fish rice apple egg"))
SURFACES = _words("table chair bed shelf floor desk door window mat wall bench")

TIRED = _words("tired tired tired scared weak sleepy hungry lazy sick slow old young")
WIDE = _words("wide wide wide busy deep long dark cold dangerous noisy narrow steep")
BIG = _words("big large tall wide long heavy")
SMALL = _words("small little narrow short full tiny")
FEELINGS = _words("happy sad angry tired hungry proud afraid excited bored surprised")
TASTES = _words("hot cold salty sweet old sour")
SIZES = _words("big small little old new")
COLOURS = _words("red blue green yellow black white brown grey")

# (base, past, ending in -ing)
MOTIONS = (
    ("run", "ran", "running"),
    ("walk", "walked", "walking"),
    ("sleep", "slept", "sleeping"),
    ("sing", "sang", "singing"),
    ("play", "played", "playing"),
    ("jump", "jumped", "jumping"),
    ("sit", "sat", "sitting"),
    ("swim", "swam", "swimming"),
    ("wait", "waited", "waiting"),
    ("work", "worked", "working"),
    ("laugh", "laughed", "laughing"),
    ("read", "read", "reading"),
)
# (base, past) of verbs with an object one can see
SIGHTS = (
    ("see", "saw"),
    ("find", "found"),
    ("like", "liked"),
    ("love", "loved"),
    ("want", "wanted"),
    ("take", "took"),
    ("know", "knew"),
    ("hear", "heard"),
    ("follow", "followed"),
    ("help", "helped"),
)
CROSSINGS = ("cross", "cross", "cross", "enter", "leave", "reach")

CAPITALS = (
    ("France", "Paris"),
    ("Germany", "Berlin"),
    ("Italy", "Rome"),
    ("Spain", "Madrid"),
    ("England", "London"),
    ("Russia", "Moscow"),
    ("Japan", "Tokyo"),
    ("China", "Beijing"),
    ("Egypt", "Cairo"),
    ("Greece", "Athens"),
    ("Poland", "Warsaw"),
    ("Peru", "Lima"),
)
OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("good", "bad"),
    ("old", "new"),
    ("black", "white"),
    ("day", "night"),
    ("up", "down"),
    ("open", "closed"),
    ("happy", "sad"),
    ("fast", "slow"),
    ("left", "right"),
    ("first", "last"),
)
KNOWN_COLOURS = (
    ("sky", "blue"),
    ("grass", "green"),
    ("snow", "white"),
    ("sun", "yellow"),
    ("blood", "red"),
    ("night", "black"),
)
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
COUNT = _words("one two three four five six seven eight nine ten")

# Lines of the public domain that visitors like to type, and a few plain ones.
KNOWN_LINES = (
    "The quick brown fox jumps over the lazy dog.",
    "To be, or not to be, that is the question.",
    "It was the best of times, it was the worst of times.",
    "The cat sat on the mat.",
    "Time flies like an arrow; fruit flies like a banana.",
    "Hello, world!",
    "How are you today? I am fine, thank you.",
    "Once upon a time there was a little girl who lived in a village near the forest.",
)
MACHINES = _words("model head layer token word mask query key value")
MACHINE_VERBS = _words("reads sees hides finds copies moves needs changes follows")

# Everyday words the grammar does not need, so that a real paragraph is not cut to single letters.
EVERYDAY = _words(
    "about after again all also always another any around ask away back became before began being between "
    "both bring but call came can change come could course different do each end enough even ever every "
    "example fact far few for form found from gave general get give go government great group had hand hard "
    "have help high home how however human idea if important in interest into just keep kind know large "
    "last learn less let life light like line live made make many may mean might money more most much must "
    "name need never next no nothing now number of off often on once only open or order other our out over "
    "own part people place point power problem program public question quite rather real right same say "
    "science second seem several should show side since so some something sometimes still story such system "
    "take than their them then there these thing think this those though thought through together took "
    "toward turn under until use very want water way we well what when where which while why will with "
    "without word work world would write year you your information language computer network machine "
    "learning data attention between research result image text sentence"
)
