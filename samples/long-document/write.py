"""Write a ship's log of some 8,000 tokens; one letter is copied into it twice, word for word."""

import random
import sys

dice = random.Random(11)
NAMES = ["Anna", "Boris", "Clara", "David", "Elif", "Farid", "Greta", "Hiro"]
WORK = [
    "mended the nets",
    "scrubbed the deck",
    "oiled the winch",
    "counted the barrels",
    "sewed a sail",
    "baked bread",
    "drew the coast",
]
SIGHTS = [
    "a whale",
    "two terns",
    "a light in the north",
    "drifting ice",
    "a schooner",
    "nothing at all",
    "a seal asleep",
    "flying fish",
]
WINDS = ["north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"]
WORDS = [
    "amber",
    "basket",
    "candle",
    "drum",
    "ember",
    "fiddle",
    "garnet",
    "harbour",
    "ivory",
    "jasmine",
    "kettle",
    "lantern",
    "marble",
    "needle",
    "olive",
    "pepper",
    "quilt",
    "ribbon",
    "saddle",
    "thimble",
    "umber",
    "velvet",
    "walnut",
    "yarrow",
    "zinc",
    "acorn",
    "button",
    "copper",
    "dagger",
    "eggshell",
    "feather",
    "goblet",
    "hazel",
    "ink",
]


def day(number: int) -> str:
    first, second = dice.sample(NAMES, 2)
    return (
        f"Day {number}. Wind from the {dice.choice(WINDS)}, {dice.randint(2, 40)} knots. {first} {dice.choice(WORK)}; "
        f"{second} saw {dice.choice(SIGHTS)}. We made {dice.randint(20, 190)} miles."
    )


letter = "The letter says: " + ", ".join(dice.choice(WORDS) for _ in range(220)) + "."
days = [day(number) for number in range(1, 199)]
days.insert(40, letter)
days.insert(180, letter)
sys.stdout.write(" ".join(days) + "\n")
