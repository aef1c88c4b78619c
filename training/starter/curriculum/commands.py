"""Made-up requests with named parts, whose values are any words at all: nothing to know, all to copy."""

from __future__ import annotations

import re
from random import Random

from training.starter.corpora import Corpora
from training.starter.curriculum import values
from training.starter.curriculum.records import Fact, Record

# {field:kind}, or {field:kind?words around *} for a part that may be left out, then the star is the value.
TEMPLATES = (
    "remind me to {task:words}{person:name? with *}{day:day? on *}{time:time? at *}",
    "send {person:name} a message that says {message:words}{time:time? at *}",
    "set a timer for {duration:duration}{label:words? called *}",
    "order {count:number} {item:thing}{city:city? to be sent to *}{day:day? by *}",
    "turn the {device:thing} in the {room:room} {setting:setting}",
    "I need a ticket from {origin:city} to {destination:city}{day:day? on *}{time:time? at *}",
    "move my {meeting:words} meeting{person:name? with *} to {day:day}{time:time? at *}",
    "call {person:name}{company:title? from *}{time:time? at *}",
    "show me the file {file:title}{folder:title? in the folder *}",
    "translate {phrase:words} into {language:language}",
    "add {item:thing}{colour:colour? in *} to my {list:words} list",
    "find a {job:job} near {place:city}{price:number? for less than * euros}",
    "what is the price of {item:thing}{shop:title? at *}{day:day? on *}",
    "open an account for {customer:name}{company:title? of *}{city:city?, based in *}",
    "my {item:thing}{colour:colour?, the * one,} is broken since {day:day}",
    "please book {count:number} rooms{city:city? in *} for {duration:duration}",
    "write down that {person:name} owes me {amount:number} euros{reason:words? for *}",
    "mark {document:title} as {status:setting}",
    "{person:name} wants to see {thing:title}{day:day? next *}",
    "put {amount:number} grams of {item:thing} in the {container:room}{time:time? before *}",
    "give {person:name} access to {project:title}{duration:duration? for *}",
    "cancel {thing:title}{day:day? on *}",
    "look for {thing:title}{kind:words? , a *}{place:city? in *}",
    "rename {old:title} to {new:title}",
)
OPENINGS = ("", "", "", "please ", "can you ", "hey, ", "could you please ", "I want you to ")
PART = re.compile(r"\{([a-z]+):([a-z]+)(?:\?([^}]*))?\}")


def draw(random: Random, corpora: Corpora) -> Record:
    """One request; a field is a fact only when the request states it."""
    template = random.choice(TEMPLATES)
    facts: list[Fact] = []

    def fill(part: re.Match[str]) -> str:
        field, kind, around = part.groups()
        if around is not None and random.random() < 0.4:
            return ""
        value = values.draw(kind, random, corpora)
        facts.append(Fact(field, value, f"What is the {field}?"))
        return value if around is None else around.replace("*", value)

    text = random.choice(OPENINGS) + PART.sub(fill, template)
    if random.random() < 0.3:
        text = text[0].upper() + text[1:] + random.choice((".", "", "!"))
    return Record(text, tuple(facts))
