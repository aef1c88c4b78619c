"""Classification conversations: label sets of many origins, one prompt format, one code as the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from training.starter.corpora import Corpora, Gloss
from training.starter.curriculum import phrases, topics
from training.starter.curriculum.conversation import Conversation, turns
from training.starter.curriculum.labels import code, first_turn, later_turn
from training.starter.curriculum.sentences import Sentences, fill

MOST_LABELS = 26


@dataclass(frozen=True, slots=True)
class Problem:
    """A label list in prompt order and texts with their label."""

    instruction: str
    labels: tuple[str, ...]
    items: tuple[tuple[str, str], ...]


Draw = Callable[[Random], Problem]
Bank = Mapping[str, Sequence[str]]

INSTRUCTIONS = (
    "Classify the text.",
    "Choose the label that fits the text best.",
    "Which category does the text belong to?",
    "Pick the right label for the text.",
    "Sort the text into one of the categories.",
    "Read the text and choose one label.",
)


KEYWORD_INSTRUCTIONS = ("Which word occurs in the text?", "Choose the key word of the text.")


def conversation(problem: Problem) -> Conversation:
    """The first item carries the labels, the later ones are the few-shot turns."""
    (text, label), *later = problem.items
    start = (first_turn(problem.instruction, problem.labels, text), code(problem.labels, label))
    more = ((later_turn(text), code(problem.labels, label)) for text, label in later)
    return turns("classify", start, *more)


def draws(corpora: Corpora, sentences: Sentences) -> list[tuple[float, Draw]]:
    """The label sets the corpora allow, each with its weight."""
    glosses = tuple(gloss for gloss in topics.short(corpora.glosses) if not topics.is_held_out(gloss))
    kinds = genera(glosses)
    weighted: list[tuple[float, Draw]] = [
        (1.5, requests),
        (0.7, opinions),
        (0.4, lambda random: from_bank(random, "What does the writer feel?", phrases.FEELINGS)),
        (0.7, lambda random: from_bank(random, "What does the question ask for?", phrases.QUESTIONS)),
    ]
    if glosses:
        bank = topic_bank(glosses)
        weighted += [
            (2.5, lambda random: from_topics(random, bank)),
            (1.0, lambda random: naming(random, glosses)),
            (1.0, lambda random: synonyms(random, glosses)),
        ]
    if len(kinds) > 1:
        weighted += [(2.0, lambda random: from_bank(random, "What kind of thing is described?", kinds))]
    if len(sentences.by_topic) > 1:
        weighted += [(2.0, lambda random: keywords(random, sentences.all))]
        weighted += [(1.0, lambda random: from_bank(random, "What is the text about?", sentences.by_topic))]
    return weighted


def from_bank(random: Random, instruction: str, bank: Bank) -> Problem:
    """Some labels of a bank in random order, some texts of those labels."""
    labels = random.sample(sorted(bank), min(_label_count(random), len(bank)))
    items = []
    for _ in range(_item_count(random)):
        label = random.choice(labels)
        items.append((fill(random.choice(bank[label]), random), label))
    return Problem(_vary(random, instruction), tuple(labels), tuple(dict(items).items()))


def topic_bank(glosses: Sequence[Gloss], held_out: bool = False) -> dict[str, list[str]]:
    """Glosses by lexicographer file, either the trained files or the held-out ones."""
    bank: dict[str, list[str]] = {}
    for gloss in glosses:
        if gloss.topic in topics.NAMES and (gloss.topic in topics.HELD_OUT) == held_out:
            bank.setdefault(gloss.topic, []).append(described(gloss))
    return bank


def described(gloss: Gloss) -> str:
    return f"{gloss.words[0]}: {gloss.definition}"


def from_topics(random: Random, bank: Bank) -> Problem:
    """Topic labels under a name drawn afresh, so that no name is tied to one spelling."""
    problem = from_bank(random, "What kind of thing is described?", bank)
    names = {topic: random.choice(topics.NAMES[topic]) for topic in problem.labels}
    items = tuple((text, names[topic]) for text, topic in problem.items)
    return Problem(problem.instruction, tuple(names[topic] for topic in problem.labels), items)


_ARTICLE = r"(?:an?|any|the|any of (?:various|several|numerous)|someone who is an?)"
_LINK = r"that|which|who|of|with|for|in|having|made|from|on|to|by|at|worn|found|built|cut"
_AFTER = rf"(?:{_LINK}|[a-z]+(?:ed|ing|ible|able))"
_GENUS = re.compile(rf"^{_ARTICLE} (?:[a-z-]+ ){{0,2}}?([a-z]+)(?: {_AFTER}\b|[,;]|$)")


def genera(glosses: Sequence[Gloss], least: int = 25) -> dict[str, list[str]]:
    """Nouns that open many definitions ("a small *dog* of ..."), each with the definitions they open."""
    found: dict[str, list[str]] = {}
    for gloss in glosses:
        match = _GENUS.match(gloss.definition)
        if match and gloss.topic.startswith("noun") and gloss.topic not in topics.HELD_OUT:
            found.setdefault(match.group(1), []).append(described(gloss))
    return {genus: texts for genus, texts in found.items() if len(texts) >= least}


def naming(random: Random, glosses: Sequence[Gloss]) -> Problem:
    """A definition, and the words it may define."""
    picked = random.sample(glosses, min(_label_count(random), len(glosses)))
    chosen = {gloss.words[0]: gloss.definition for gloss in picked}
    items = random.sample(sorted(chosen.items()), min(_item_count(random), len(chosen)))
    return Problem("Which word is defined?", tuple(chosen), tuple((text, word) for word, text in items))


def synonyms(random: Random, glosses: Sequence[Gloss]) -> Problem:
    """A word, and the words one of which means the same."""
    chosen: dict[str, str] = {}
    wanted = _label_count(random)
    for gloss in random.sample(glosses, min(3 * wanted, len(glosses))):
        if len(gloss.words) > 1 and len(chosen) < wanted:
            chosen[gloss.words[1]] = gloss.words[0]
    if len(chosen) < 2:
        return requests(random)
    items = random.sample(sorted(chosen.items()), min(_item_count(random), len(chosen)))
    return Problem("Which word means the same?", tuple(chosen), tuple((text, word) for word, text in items))


def lookup(random: Random) -> Problem:
    """The text names a label: nothing to understand, only the code to find. Texts may repeat."""
    words = (*phrases.ITEMS, *phrases.JOBS, *phrases.COLOURS, *phrases.CITIES, *phrases.POSITIVE)
    labels = random.sample((*words, *phrases.FEELINGS, *phrases.REQUESTS), random.randint(2, 8))
    frame = random.choice(("{}", "{}", "the {}", "It is about {}.", "This is {}, I think."))
    items = [(frame.format(label), label) for label in random.choices(labels, k=random.randint(1, 10))]
    return Problem(_vary(random, "Which label is named?"), tuple(labels), tuple(items))


def keywords(random: Random, sentences: Sequence[str]) -> Problem:
    """Sentences, and for each a word of its own: look-up of a code before any meaning is known."""
    labels: dict[str, str] = {}
    for sentence in random.sample(sentences, min(_label_count(random), len(sentences))):
        words = [word for word in re.findall(r"[A-Za-z]{4,}", sentence) if word not in labels]
        if words and not any(label in sentence for label in labels):
            labels[random.choice(words)] = sentence
    clear = [(text, word) for word, text in labels.items() if sum(label in text for label in labels) == 1]
    items = random.sample(clear, min(_item_count(random), len(clear))) if clear else []
    order = random.sample(sorted(labels), len(labels))
    if not items or len(order) < 2:
        return requests(random)
    return Problem(random.choice(KEYWORD_INSTRUCTIONS), tuple(order), tuple(items))


def requests(random: Random) -> Problem:
    instruction = random.choice(("What does the customer want?", "Choose the intent of the message."))
    return from_bank(random, instruction, phrases.REQUESTS)


def opinions(random: Random) -> Problem:
    """Sentiment from single words of opinion, with two or three labels under varying names."""
    names = random.choice(
        (("positive", "negative", "neutral"), ("good", "bad", "mixed"), ("happy", "unhappy", "indifferent"))
    )
    words = dict(zip(names, (phrases.POSITIVE, phrases.NEGATIVE, phrases.NEUTRAL), strict=True))
    labels = random.sample(names[: random.choice((2, 3))], k=2) if random.random() < 0.3 else list(names)
    random.shuffle(labels)
    items = {}
    for _ in range(_item_count(random)):
        label = random.choice(labels)
        items[fill(random.choice(phrases.OPINIONS), random, word=random.choice(words[label]))] = label
    instruction = random.choice(
        ("What is the sentiment of the text?", "Is the opinion good or bad?", "Choose the sentiment.")
    )
    return Problem(instruction, tuple(labels), tuple(items.items()))


def _vary(random: Random, instruction: str) -> str:
    return instruction if random.random() < 0.5 else random.choice(INSTRUCTIONS)


def _label_count(random: Random) -> int:
    """Mostly few labels, at times up to 26."""
    return random.randint(2, 6) if random.random() < 0.65 else random.randint(5, MOST_LABELS)


def _item_count(random: Random) -> int:
    """A third zero-shot, the rest few-shot: each later turn is one more learned answer from the same list."""
    return 1 if random.random() < 0.33 else random.randint(2, 10)
