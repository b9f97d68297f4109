"""The demo corpus: English written by a small seeded grammar, no text of anybody else's but a few old lines.

A passage is a list of sentences that belong together. The families below were chosen for what attention
can show in them: a pronoun whose referent depends on the last word ("The animal didn't cross the street
because it was too tired / too wide"), a verb that agrees over a distance, names that come back, a question
answered by something said before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from maskviz.demo import lexicon as words
from maskviz.demo.lexicon import Noun
from maskviz.demo.phrases import a, capitalised, maybe_plural, some_creature, some_person, the, two_people

Passage = list[str]
Family = Callable[[Random], Passage]


def passages(seed: int) -> Iterator[Passage]:
    """Yield passages without end; the same seed yields the same passages."""
    rng = Random(seed)
    families, weights = zip(*FAMILIES.items(), strict=True)
    while True:
        yield rng.choices(families, weights)[0](rng)


def texts(seed: int, count: int) -> list[str]:
    """The first `count` passages of a seed, each joined to one line of text."""
    source = passages(seed)
    return [" ".join(next(source)) for _ in range(count)]


# --- pronouns and what they stand for -----------------------------------------------------------------


def crossing(rng: Random) -> Passage:
    """Who or what was it? The last word tells: a creature is tired, a street is wide."""
    creature = some_creature(rng) if rng.random() < 0.8 else some_person(rng)
    way = the(maybe_plural(rng, rng.choice(words.WAYS)))
    referent, why = rng.choice(((creature, rng.choice(words.TIRED)), (way, rng.choice(words.WIDE))))
    verb = rng.choice(words.CROSSINGS)
    refusal = rng.choice(("didn't", "didn't", "did not", "could not", "couldn't"))
    return _because(f"{creature.word} {refusal} {verb} {way.word}", rng, referent, why)


def fitting(rng: Random) -> Passage:
    """A thing does not fit because it is too big, or because what should hold it is too small."""
    thing, holder = rng.choice(words.BULKY), rng.choice(words.CONTAINERS)
    thing, holder = the(maybe_plural(rng, thing)), the(maybe_plural(rng, holder))
    referent, why = rng.choice(((thing, rng.choice(words.BIG)), (holder, rng.choice(words.SMALL))))
    return _because(f"{thing.word} didn't fit in {holder.word}", rng, referent, why)


def eating(rng: Random) -> Passage:
    """A creature leaves its food, because it is ill or because the food tastes wrong."""
    creature, food = some_creature(rng), the(Noun(rng.choice(words.FOODS).word))
    referent, why = rng.choice(((creature, rng.choice(words.TIRED)), (food, rng.choice(words.TASTES))))
    return _because(f"{creature.word} didn't eat {food.word}", rng, referent, why)


def _because(what: str, rng: Random, referent: Noun, why: str) -> Passage:
    """What happened and why; half of the time, also the question that shows who the pronoun was."""
    line = f"{capitalised(what)} because {referent.pronoun} {referent.was} too {why}."
    if rng.random() < 0.5:
        return [line]
    asking = "Who" if referent.pronoun in ("he", "she") else "What"
    return [line, f"{asking} was too {why}?", f"{capitalised(referent.word)}."]


def mirror(rng: Random) -> Passage:
    """A reflexive agrees with its subject across a phrase that would mislead."""
    creature, other = some_creature(rng), some_creature(rng)
    itself = {"it": "itself", "he": "himself", "she": "herself", "they": "themselves"}[creature.pronoun]
    verb = rng.choice(("saw", "helped", "washed", "loved", "knew"))
    return [f"{capitalised(creature.word)} near {other.word} {verb} {itself}."]


def agreement(rng: Random) -> Passage:
    """The verb agrees with the first noun, not with the nearest one."""
    creature, way = some_creature(rng), the(maybe_plural(rng, rng.choice(words.WAYS)))
    _, _, doing = rng.choice(words.MOTIONS)
    where = rng.choice(("near", "in", "behind", "on"))
    ending = f"{doing} now" if rng.random() < 0.5 else f"very {rng.choice(words.FEELINGS)}"
    return [f"{capitalised(creature.word)} {where} {way.word} {creature.present} {ending}."]


# --- stories and questions ----------------------------------------------------------------------------


def possessions(rng: Random) -> Passage:
    """Two people have two things; the question asks about one of them."""
    people = two_people(rng)
    things = [noun.word for noun in rng.sample(words.THINGS, 2)]
    looks = [rng.choice(words.COLOURS + words.SIZES) for _ in things]
    facts = [f"{p.word} has {a(look)} {t}." for p, look, t in zip(people, looks, things, strict=True)]
    asked = rng.randrange(2)
    who, look, thing = people[asked].word, looks[asked], things[asked]
    question = rng.choice(
        (
            (f"Who has the {thing}?", f"{who} has the {thing}."),
            (f"What does {who} have?", f"{who} has {a(look)} {thing}."),
            (f"What colour or size is the {thing}?", f"The {thing} is {look}."),
        )
    )
    return [*facts, *question]


def whereabouts(rng: Random) -> Passage:
    """People go to places, and one is asked for."""
    people = rng.sample(words.HIS_NAMES + words.HER_NAMES, rng.choice((2, 2, 3)))
    places = rng.sample(words.PLACES, len(people))
    verb = rng.choice(("went", "walked", "ran", "came"))
    facts = [f"{p.word} {verb} to the {place}." for p, place in zip(people, places, strict=True)]
    asked = rng.randrange(len(people))
    person, place = people[asked].word, places[asked]
    question = rng.choice(
        (
            (f"Where is {person}?", f"{person} is in the {place}."),
            (f"Who is in the {place}?", f"{person} is in the {place}."),
        )
    )
    return [*facts, *question]


def arrangement(rng: Random) -> Passage:
    """Things lie on things, and one is looked for."""
    things = [noun.word for noun in rng.sample(words.THINGS, 2)]
    spots = [f"{rng.choice(('on', 'under', 'near', 'behind'))} the {rng.choice(words.SURFACES)}" for _ in things]
    facts = [f"The {thing} is {spot}." for thing, spot in zip(things, spots, strict=True)]
    asked = rng.randrange(2)
    return [*facts, f"Where is the {things[asked]}?", f"The {things[asked]} is {spots[asked]}."]


def gift(rng: Random) -> Passage:
    """A thing changes hands; pronouns follow the people."""
    giver, taker = two_people(rng)
    thing, feeling = rng.choice(words.THINGS).word, rng.choice(words.FEELINGS)
    his = {"he": "his", "she": "her"}[giver.pronoun]
    return [
        f"{giver.word} gave {his} {thing} to {taker.word} because {giver.pronoun} was {feeling}.",
        f"Now {taker.word} has the {thing}.",
        f"{capitalised(taker.pronoun)} said thank you to {giver.word}.",
    ]


def story(rng: Random) -> Passage:
    """Somebody finds an animal, names it and keeps the name."""
    person, animal = some_person(rng), rng.choice(words.ANIMALS).word
    pet = rng.choice([name.word for name in words.HIS_NAMES + words.HER_NAMES if name != person])
    colour, place, way = rng.choice(words.COLOURS), rng.choice(words.PLACES), rng.choice(words.WAYS).word
    they = capitalised(person.pronoun)
    opening = rng.choice(("One day,", "Yesterday,", "In the morning,", "Last summer,"))
    middle = [
        f"{they} named the {animal} {pet}.",
        f"{pet} the {animal} was {rng.choice(words.FEELINGS)}.",
        f"{person.word} and {pet} {rng.choice(words.MOTIONS)[1]} near the {way}.",
        f"The {animal} {rng.choice(('ran', 'walked'))} to the {rng.choice(words.PLACES)}.",
        f"{person.word} {rng.choice(words.SIGHTS)[1]} {pet}.",
    ]
    end = f"At night {person.word} and {pet} went home because they were {rng.choice(words.TIRED)}."
    kept = sorted(rng.sample(range(1, len(middle)), rng.randint(1, 3)))
    found = f"{opening} {person.word} found {a(colour)} {animal} in the {place}."
    return [found, middle[0], *(middle[index] for index in kept), end]


def jobs(rng: Random) -> Passage:
    """Two people with jobs, one introduced by the other."""
    (first, second), (work, other_work) = two_people(rng), rng.sample(words.JOBS, 2)
    asked, job = rng.choice(((first, work), (second, other_work)))
    return [
        f"{first.word} is {a(work)} and {second.word} is {a(other_work)}.",
        f"{capitalised(first.pronoun)} likes {second.word}.",
        f"Who is the {job}?",
        f"{asked.word} is the {job}.",
    ]


# --- single sentences and facts -----------------------------------------------------------------------


def plain(rng: Random) -> Passage:
    """A subject, a verb, an object, a place."""
    creature, (base, past) = some_creature(rng), rng.choice(words.SIGHTS)
    look, thing, surface = (
        rng.choice(words.COLOURS),
        rng.choice(words.THINGS).word,
        rng.choice(words.SURFACES),
    )
    where = f"{rng.choice(('on', 'under', 'near'))} the {surface}"
    moved = rng.choice(words.MOTIONS)[1]
    return [
        rng.choice(
            (
                f"{capitalised(creature.word)} {past} the {look} {thing} {where}.",
                f"{capitalised(creature.word)} {moved} {where}.",
                f"{capitalised(creature.word)} did not {base} the {thing}.",
                f"Did {creature.word} {base} the {thing} {where}? Yes, {creature.pronoun} did.",
            )
        )
    ]


def fact(rng: Random) -> Passage:
    """Something that is always true in this small world."""
    country, capital = rng.choice(words.CAPITALS)
    one, other = rng.choice(words.OPPOSITES)
    subject, colour = rng.choice(words.KNOWN_COLOURS)
    day = rng.randrange(7)
    today, tomorrow = words.DAYS[day], words.DAYS[(day + 1) % 7]
    start = rng.randrange(5)
    return [
        rng.choice(
            (
                f"The capital of {country} is {capital}.",
                f"{capital} is the capital of {country}.",
                f"What is the capital of {country}? The capital of {country} is {capital}.",
                f"The opposite of {one} is {other}.",
                f"The {subject} is {colour}.",
                f"The day after {today} is {tomorrow}.",
                f"{', '.join(words.COUNT[start : start + 5])}.",
                f"{' '.join(str(number) for number in range(start + 1, start + 7))}.",
                rng.choice(words.KNOWN_LINES),
            )
        )
    ]


def machinery(rng: Random) -> Passage:
    """What a visitor of this program may write about."""
    subject, thing = rng.sample([word for word in words.MACHINES if word != "mask"], 2)
    verb, many = rng.choice(words.MACHINE_VERBS), rng.choice(words.COUNT)
    return [
        rng.choice(
            (
                f"The {subject} {verb} every {thing} before it.",
                f"The {subject} {verb} the next {thing} one by one.",
                f"Each {subject} {verb} more than {many} {thing}.",
                f"The mask hides the {thing} from the {subject}.",
            )
        )
    ]


def word_list(rng: Random) -> Passage:
    """Everyday words in no order, so that the tokenizer and the embeddings have met them."""
    return [" ".join(rng.sample(words.EVERYDAY, rng.randint(4, 10))) + "."]


FAMILIES: dict[Family, float] = {
    crossing: 8,
    fitting: 3,
    eating: 2,
    mirror: 1.5,
    agreement: 2.5,
    possessions: 4,
    whereabouts: 4,
    arrangement: 3,
    gift: 2.5,
    story: 4,
    jobs: 2,
    plain: 3,
    fact: 5,
    machinery: 1,
    word_list: 1.5,
}
