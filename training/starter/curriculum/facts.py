"""Small records and the text that states them: the ground of extraction and of answering."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import commands, phrases, requests, sheets, topics
from training.starter.curriculum.records import Fact, Record
from training.starter.curriculum.sentences import Sentences

COUNTRY_FACTS = (
    ("Capital - name", "capital", "What is the capital of {name}?"),
    ("Government type", "government", "What is the government type of {name}?"),
    ("Climate", "climate", "What is the climate of {name}?"),
    ("Area - total", "area", "What is the area of {name}?"),
    ("Median age - total", "median_age", "What is the median age in {name}?"),
    ("Population - total", "population", "What is the population of {name}?"),
    ("Location", "location", "Where is {name}?"),
    ("National holiday", "holiday", "What is the national holiday of {name}?"),
    ("Currency", "currency", "What is the currency of {name}?"),
    ("Birth rate", "birth_rate", "What is the birth rate of {name}?"),
    ("Coastline", "coastline", "How long is the coastline of {name}?"),
    ("Internet country code", "internet_code", "What is the internet code of {name}?"),
)


def is_held_out(name: str) -> bool:
    """One country in ten, and one line of the fact sheets in ten, is never trained on."""
    return zlib.crc32(name.encode()) % 10 == 0


def country(random: Random, corpora: Corpora, held_out: bool = False) -> Record | None:
    """Two to six short lines of the fact sheet of one country; `held_out`: of one never trained on."""
    name = random.choice(
        [name for name in sorted(corpora.countries) if is_held_out(name) == held_out] or [""]
    )
    sheet = {key.strip(): value for key, value in corpora.countries.get(name, {}).items()}
    known = [key for key, value in sheet.items() if 1 < len(value) < 60 and "note" not in key]
    known = [key for key in known if held_out or not is_held_out(key)]
    if len(known) < 3:
        return None
    chosen = random.sample(known, random.randint(3, min(7, len(known))))
    facts = tuple(_country_fact(name, key, sheet[key]) for key in chosen)
    shown = facts[1:]  # the first is asked for where an answer must be missing
    lines = [f"{key}: {sheet[key]}" for key in chosen[1:]]
    form = random.choice(("{name}. {lines}.", "{name}\n{list}", "{name}: {lines}.", "# {name}\n\n{list}"))
    text = form.format(name=name, lines=". ".join(lines), list="\n".join(lines))
    return Record(text, shown, missing=facts[0])


_NAMED = {key: (field, question) for key, field, question in COUNTRY_FACTS}


def _country_fact(name: str, key: str, value: str) -> Fact:
    field, question = _NAMED.get(key, ("", "What is the {key} of {name}?"))
    plain = re.sub(r"[^a-z]+", " ", key.lower()).strip()
    asked = question.format(name=name, key=plain)
    return Fact(field or plain.replace(" ", "_"), value, asked, line=f"{key}: {value}")


def order(random: Random) -> Record:
    """A made-up sale in one sentence."""
    who, item = (
        f"{random.choice(phrases.FIRST_NAMES)} {random.choice(phrases.LAST_NAMES)}",
        random.choice(phrases.ITEMS),
    )
    count, price = random.randint(2, 99), random.randint(5, 900)
    city, day = random.choice(phrases.CITIES), random.choice(phrases.DAYS)
    text = random.choice(
        (
            f"{who} from {city} ordered {count} {item}s for {price} euros on {day}.",
            f"On {day}, {count} {item}s were sold to {who} in {city} at {price} euros.",
            f"Please send {count} {item}s to {who} in {city} by {day}. The price is {price} euros.",
        )
    )
    facts = (
        Fact("customer", who, "Who is the customer?"),
        Fact("item", item, "What was ordered?"),
        Fact("quantity", count, f"How many {item}s?"),
        Fact("price", price, "What is the price?"),
        Fact("city", city, "In which city is the customer?"),
        Fact("day", day, "On which day?"),
    )
    return Record(text, facts)


def person(random: Random) -> Record:
    """A made-up contact in one sentence."""
    first, last = random.choice(phrases.FIRST_NAMES), random.choice(phrases.LAST_NAMES)
    age, job, city = random.randint(18, 80), random.choice(phrases.JOBS), random.choice(phrases.CITIES)
    month, day = random.choice(phrases.MONTHS), random.randint(1, 28)
    mail = f"{first}.{last}@example.com".lower()
    text = random.choice(
        (
            f"{first} {last}, {age}, is a {job} in {city}. Birthday: {day} {month}. Mail: {mail}",
            f"My name is {first} {last} and I work as a {job} in {city}. "
            f"I am {age}, born on {day} {month}. Write to {mail}.",
            f"Contact {mail} ({first} {last}, {job}, {city}); age {age}, birthday {day} {month}.",
        )
    )
    facts = (
        Fact("name", f"{first} {last}", "What is the name of the person?"),
        Fact("age", age, f"How old is {first}?"),
        Fact("job", job, f"What is the job of {first}?"),
        Fact("city", city, f"Where does {first} live?"),
        Fact("birthday", f"{day} {month}", f"When is the birthday of {first}?"),
        Fact("email", mail, f"What is the email of {first}?"),
    )
    return Record(text, facts)


def any_record(random: Random, corpora: Corpora, sentences: Sentences) -> Record:
    """A record of any origin that the corpora allow; made-up ones where one cannot be had."""
    draws: list[Weighted] = [
        (2.0, lambda: commands.draw(random, corpora)),
        (3.0, lambda: requests.draw(random, corpora)),
        (1.0, lambda: order(random)),
        (1.0, lambda: person(random)),
        *_lined(random, corpora, sentences),
    ]
    return _drawn(random, draws)


def lined_record(random: Random, corpora: Corpora, sentences: Sentences) -> Record:
    """A record whose facts stand one a line, or one a sentence."""
    return _drawn(random, _lined(random, corpora, sentences))


Weighted = tuple[float, Callable[[], Record | None]]


def _lined(random: Random, corpora: Corpora, sentences: Sentences) -> list[Weighted]:
    draws: list[Weighted] = [(3.0, lambda: sheets.sheet(random, corpora))]
    if corpora.countries:
        draws.append((3.0, lambda: country(random, corpora)))
    if len(corpora.glosses) > sheets.MOST:
        draws.append((1.0, lambda: sheets.dictionary(random, topics.short(corpora.glosses))))
    if corpora.commands:
        draws.append((1.0, lambda: sheets.commands(random, corpora)))
    if len(sentences.all) > sheets.MOST:
        draws.append((2.0, lambda: sheets.gaps(random, sentences.all)))
    return draws


def _drawn(random: Random, draws: Sequence[Weighted]) -> Record:
    ((_, chosen),) = random.choices(draws, [weight for weight, _ in draws])
    return chosen() or order(random)
