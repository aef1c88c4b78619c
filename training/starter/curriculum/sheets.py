"""Made-up fact sheets of any words at all, and gaps in real sentences: the answer can only be copied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from training.starter.corpora import Corpora, Gloss
from training.starter.curriculum import phrases
from training.starter.curriculum.records import Fact, Record

LINES = ("{key}: {value}", "{key}: {value}", "{key} - {value}", "{key} = {value}", "The {key} is {value}.")
QUESTIONS = (
    "What is the {key}?",
    "What is the {key}?",
    "What is the {key} of {name}?",
    "Which {key} does {name} have?",
    "Tell me the {key} of {name}.",
    "{key}?",
)
MEANINGS = ("What is {word}?", "What does {word} mean?", "Define {word}.")
COMMANDS = ("How do I do this: {task}?", "Which command does this: {task}?", "{task}")
EVERYDAY = (*phrases.THINGS, *phrases.JOBS, *phrases.COLOURS, *phrases.DAYS)
MOST = 6  # glosses or sentences in one record
GAP = "____"
FILL = ("Fill the gap: {text}", "What stands in the gap? {text}", "Complete the sentence: {text}")


def sheet(random: Random, corpora: Corpora) -> Record:
    """A name and three to eight lines of a key and a value that have nothing to do with each other."""
    name = " ".join(word.capitalize() for word in words(random, corpora, random.randint(1, 2)))
    keys: dict[str, str] = {}
    while len(keys) < random.randint(4, 9):
        keys[" ".join(words(random, corpora, random.randint(1, 3)))] = value(random, corpora)
    line, question = random.choice(LINES), random.choice(QUESTIONS)
    titled = random.random() < 0.5
    facts = [
        Fact(
            key.replace(" ", "_"),
            found,
            question.format(key=key, name=name),
            line.format(key=key[0].upper() + key[1:] if titled else key, value=found),
        )
        for key, found in keys.items()
    ]
    shown = [fact.line for fact in facts[1:]]
    text = random.choice((f"{name}\n", f"# {name}\n\n", f"{name}:\n", "")) + "\n".join(shown)
    return Record(text, tuple(facts[1:]), missing=facts[0])


def dictionary(random: Random, glosses: Sequence[Gloss]) -> Record:
    """Words with their meanings, one a line."""
    picked = {gloss.words[0]: gloss.definition for gloss in random.sample(glosses, random.randint(3, MOST))}
    question = random.choice(MEANINGS)
    facts = [
        Fact(word.replace(" ", "_"), text, question.format(word=word), f"{word}: {text}")
        for word, text in picked.items()
    ]
    return Record("\n".join(fact.line for fact in facts[1:]), tuple(facts[1:]), missing=facts[0])


def commands(random: Random, corpora: Corpora) -> Record | None:
    """The examples of one page of a command's manual."""
    page = random.choice(corpora.commands)
    examples = {item["task"].rstrip(":"): item["cmd"] for item in page["examples"] if len(item["cmd"]) < 60}
    if len(examples) < 3:
        return None
    form = random.choice(("- {task}: {cmd}", "{task}: {cmd}", "{cmd}  # {task}"))
    question = random.choice(COMMANDS)
    chosen = random.sample(sorted(examples.items()), min(5, len(examples)))
    facts = [
        Fact("command", cmd, question.format(task=task), form.format(task=task, cmd=cmd))
        for task, cmd in chosen
    ]
    return Record("\n".join(fact.line for fact in facts[1:]), tuple(facts[1:]), missing=facts[0])


def gaps(random: Random, sentences: Sequence[str]) -> Record:
    """Two to four real sentences; each question shows one of them with some words left out."""
    picked = random.sample(sentences, random.randint(3, MOST - 1))
    frame = random.choice(FILL)
    facts = [_gap(random, text, frame) for text in picked]
    return Record(" ".join(picked[1:]), tuple(facts[1:]), missing=facts[0])


def _gap(random: Random, text: str, frame: str) -> Fact:
    places = [match.span() for match in re.finditer(r"[\w'-]+", text)]
    size = random.randint(1, min(4, max(1, len(places) - 1)))
    start = random.randrange(len(places) - size + 1)
    begin, end = places[start][0], places[start + size - 1][1]
    return Fact("gap", text[begin:end], frame.format(text=text[:begin] + GAP + text[end:]), text)


def value(random: Random, corpora: Corpora) -> str:
    """A number, a date, a name or some words."""
    match random.randrange(6):
        case 0:
            amount = random.randint(1, 999) / random.choice((1, 10, 100))
            return f"{amount}{random.choice(('', '%', ' km', ' euros'))}"
        case 1:
            return f"{random.randint(1, 28)} {random.choice(phrases.MONTHS)} {random.randint(1800, 2030)}"
        case 2:
            return f"{random.choice(phrases.FIRST_NAMES)} {random.choice(phrases.LAST_NAMES)}"
        case 3:
            return f"{random.randint(1, 99):,},{random.randint(0, 999):03d}"
    found = " ".join(words(random, corpora, random.randint(1, 4)))
    return found if random.random() < 0.6 else found.title()


def words(random: Random, corpora: Corpora, count: int) -> list[str]:
    """Half of them everyday words, half any word of WordNet."""
    return [_word(random, corpora) for _ in range(count)]


def _word(random: Random, corpora: Corpora) -> str:
    if not corpora.glosses or random.random() < 0.5:
        return random.choice(EVERYDAY)
    return random.choice(random.choice(corpora.glosses).words)
