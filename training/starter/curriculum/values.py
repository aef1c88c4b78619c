"""Values of made-up records by kind: numbers, names, times, titles; nothing to know, all to copy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import phrases

UNITS = ("seconds", "minutes", "hours", "days", "weeks", "nights", "months", "years")
SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
COUNTS = (*SMALL[2:], "eleven", "twelve", "a dozen", "fifteen", "twenty", "a couple of", "several", "both")
PARTS = ("morning", "afternoon", "evening", "night", "noon", "week", "weekend", "month", "year", "season")
SPOKEN = ("now", "today", "tonight", "tomorrow", "right now", "later", "soon", "at once", "in a moment")
SYLLABLES = """ka ro ve lin tor ma di bel san qui ar en mor fa ze lu gri
pol nes ta wy har os il be ron"""


def draw(kind: str, random: Random, corpora: Corpora) -> str:
    """One value; an unknown kind is a mistake of the caller's table."""
    if kind in BANKS:
        return random.choice(BANKS[kind])
    return _MAKERS[kind](random, corpora)


def words(random: Random, corpora: Corpora, count: int) -> list[str]:
    """Any words of WordNet, every third of the hand-written lists; all of these without it."""
    return [_word(random, corpora) for _ in range(count)]


def _word(random: Random, corpora: Corpora) -> str:
    if not corpora.glosses or random.random() < 0.3:
        return random.choice((*phrases.THINGS, *phrases.JOBS, *phrases.COLOURS, *phrases.NEUTRAL))
    gloss = random.choice(corpora.glosses)
    return random.choice([word for word in gloss.words if " " not in word] or gloss.words)


def phrase(random: Random, corpora: Corpora) -> str:
    """Words as they follow each other in a definition, or any words."""
    if not corpora.glosses or random.random() < 0.4:
        return " ".join(words(random, corpora, random.randint(1, 4)))
    found = random.choice(corpora.glosses).definition.replace(",", "").split()
    size = random.randint(2, 6)
    start = random.randrange(max(1, len(found) - size + 1))
    return " ".join(found[start : start + size]).strip("()';:\"")


def title(random: Random, corpora: Corpora) -> str:
    found = (
        phrase(random, corpora)
        if random.random() < 0.5
        else " ".join(words(random, corpora, random.randint(1, 4)))
    )
    match random.randrange(4):
        case 0:
            return found
        case 1:
            return found[0].upper() + found[1:]
    return " ".join(word[0].upper() + word[1:] for word in found.split())


def name(random: Random, corpora: Corpora) -> str:
    first = random.choice(phrases.FIRST_NAMES)
    if random.random() < 0.4:
        return first
    last = random.choice(phrases.LAST_NAMES) if random.random() < 0.5 else coined(random)
    return f"{first} {last}"


def coined(random: Random) -> str:
    """A word that nobody has seen."""
    return "".join(random.choices(SYLLABLES.split(), k=random.randint(2, 4))).capitalize()


def proper(random: Random, corpora: Corpora) -> str:
    """The name of a place, a maker or a shop."""
    own = coined(random) if random.random() < 0.6 else title(random, corpora)
    tail = random.choice(
        ("", "", "", " House", "'s", " & Sons", " Corner", " Park", " Hall", " Hill", " Centre")
    )
    head = random.choice(("", "", "", "", "The ", "Old ", "New "))
    return head + own + tail


def artist(random: Random, corpora: Corpora) -> str:
    if random.random() < 0.55:
        return f"{random.choice((*phrases.FIRST_NAMES, coined(random)))} {random.choice(phrases.LAST_NAMES)}"
    return coined(random) if random.random() < 0.4 else title(random, corpora)


def town(random: Random, corpora: Corpora) -> str:
    if random.random() < 0.4:
        return random.choice(phrases.CITIES)
    tail = random.choice(("", "", "", "ville", "ton", " City", " Springs", " Falls", " Beach", " Heights"))
    return coined(random) + tail


def when(random: Random, corpora: Corpora) -> str:
    day, month, part = random.choice(phrases.DAYS), random.choice(phrases.MONTHS), random.choice(PARTS)
    number, unit = random.choice(COUNTS[:13]), random.choice(UNITS)
    date, year = random.randint(1, 31), random.randint(1990, 2040)
    return random.choice(
        (
            day,
            f"next {random.choice((day, part))}",
            f"this {part}",
            f"{day} {part}",
            f"tomorrow {part}",
            f"{month} {date}",
            f"{month} the {date}th {year}",
            f"{date}/{random.randint(1, 12)}/{year}",
            f"{number} {unit} from now",
            f"in {number} {unit}",
            f"{random.randint(2, 30)} {unit} from now",
            f"the {date}th of {month}",
            time(random, corpora),
            f"{time(random, corpora)} on {day}",
            random.choice(SPOKEN),
        )
    )


def time(random: Random, corpora: Corpora) -> str:
    hour, minute = random.randint(0, 23), random.choice((0, 0, 15, 30, random.randint(0, 59)))
    spoken = (
        f"{hour}:{minute:02d}",
        f"{hour % 12 + 1} {random.choice(('am', 'pm', 'AM', 'PM'))}",
        f"{random.choice(SMALL[1:])} o'clock",
        "noon",
        "midnight",
        f"{hour % 12 + 1}:{minute:02d} {random.choice(('am', 'pm', 'in the evening'))}",
    )
    return random.choice(spoken)


def number(random: Random, corpora: Corpora) -> str:
    return str(random.randint(1, 20) if random.random() < 0.6 else random.randint(20, 5000))


def count(random: Random, corpora: Corpora) -> str:
    return random.choice(COUNTS) if random.random() < 0.5 else str(random.randint(1, 20))


def small(random: Random, corpora: Corpora) -> str:
    return random.choice(SMALL) if random.random() < 0.35 else str(random.randint(0, 10))


def duration(random: Random, corpora: Corpora) -> str:
    return f"{random.choice((random.randint(2, 90), random.choice(SMALL[2:])))} {random.choice(UNITS)}"


def price(random: Random, corpora: Corpora) -> str:
    amount = random.randint(2, 900)
    return random.choice((f"{amount} euros", f"${amount}", f"{amount}", f"{amount} dollars", f"£{amount}"))


def decade(random: Random, corpora: Corpora) -> str:
    year = random.randint(1920, 2030)
    return random.choice(
        (str(year), f"the {year // 10 % 10}0s", f"{year // 10}0s", "the fifties", "last year")
    )


def code(random: Random, corpora: Corpora) -> str:
    letters = "".join(random.choices("ABCDEFGHKLMNPRSTX", k=random.randint(0, 3)))
    return f"{random.choice(('', '#'))}{letters}{random.choice(('', '-'))}{random.randint(10, 99999)}"


_LISTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
BANKS: Mapping[str, Sequence[str]] = {
    "day": (*phrases.DAYS, "tomorrow", "today"),
    "city": phrases.CITIES,
    "thing": phrases.THINGS,
    "colour": phrases.COLOURS,
    "job": phrases.JOBS,
    **_LISTS,
}
_MAKERS: Mapping[str, Callable[[Random, Corpora], str]] = {
    "words": lambda random, corpora: " ".join(words(random, corpora, random.randint(1, 4))),
    "phrase": phrase,
    "title": title,
    "name": name,
    "proper": proper,
    "spot": proper,
    "artist": artist,
    "town": town,
    "when": when,
    "time": time,
    "number": number,
    "count": count,
    "small": small,
    "duration": duration,
    "price": price,
    "decade": decade,
    "code": code,
}
