"""Whether two texts may have the same answer: what likeness of vectors does not see has to agree.

Numbers, dates, units, negation, words of polarity, question words, names, what stands after "from" and "to",
and no word of content replaced by another or moved. Vectors of "turn it on" and "turn it off" are as good as
equal. Rules for English; whatever they doubt is a miss, since a miss costs a little money and a wrong answer
costs trust.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

QUOTES = "\"“`'"
TOKEN = re.compile(
    r"""
    "[^"\n]{1,80}" | “[^”\n]{1,80}” | `[^`\n]{1,80}` | (?<!\w)'[^'\n]{1,80}'(?!\w)  # quoted
    | [^\s@]+@[^\s@]+\.\w+ | \w+://\S+                                              # addresses
    | \d+(?:[.,]\d+)*[^\W\d_]{1,4}(?!\w)                                              # 5kg, 2nd
    | \d[\d.,:/-]*\d(?!\w) | \d+(?!\w)                                               # numbers, dates, times
    | [%€$£¥₹°]                                                                       # units that are signs
    | \w+(?:[-_.]\w+)*(?:['’]\w+)?                                                    # words and identifiers
    """,
    re.VERBOSE,
)
COUNTED = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty
"""
NUMBERS = {
    **{word: str(value) for value, word in enumerate(COUNTED.split())},
    **{"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80"},
    **{"ninety": "90", "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"},
    **{"half": "0.5", "twice": "2", "double": "2", "once": "1", "dozen": "12", "first": "#1"},
    **{"second": "#2", "third": "#3", "fourth": "#4", "fifth": "#5", "both": "2", "pair": "2"},
}
ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
WITH_UNIT = re.compile(r"(\d+(?:[.,]\d+)*)([a-z%]{1,4})")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DATES = _words(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july "
    "august september october november december today tomorrow yesterday tonight morning noon afternoon "
    "evening midnight night weekend weekday daily weekly monthly yearly annual now soon later next last "
    "previous current ago past future since until till upcoming recent latest newest oldest earliest day "
    "week month year hour minute quarter am pm mon tue wed thu fri sat sun"
)
NEGATION = _words(
    "not no never none nothing nobody nowhere neither nor without cannot non lack lacks lacking missing "
    "unable hardly barely except excluding refuse refused fail fails failed failing failure stop stops "
    "stopped wrong incorrect incorrectly isnt dont cant wont didnt doesnt hasnt havent wasnt arent"
)
POLARITY = _words(
    "on off in out up down over under above below before after more less most least fewer greater higher "
    "lower high low max min maximum minimum increase decrease raise reduce add remove insert delete create "
    "destroy open close opened closed lock unlock locked unlocked block unblock blocked unblocked enable "
    "disable enabled disabled activate deactivate allow allowed deny forbid accept accepted reject rejected "
    "decline declined approve approved start begin end finish pause resume send receive sent received give "
    "take buy sell lend borrow deposit withdraw withdrawal push pull import export upload download encrypt "
    "decrypt install uninstall subscribe unsubscribe connect disconnect attach detach join leave login "
    "logout incoming outgoing input output true false yes good bad best worst better worse cheap expensive "
    "cheapest fast slow fastest slowest early late left right top bottom front back inside outside always "
    "sometimes often rarely all any some every each only just both either same different opposite with "
    "legal illegal safe unsafe possible impossible valid invalid positive negative hot cold new old big "
    "small large long short full empty public private free paid virtual physical internal external domestic "
    "international credit debit male female win lose pass gain loss profit freeze unfreeze verify unverify "
    "verified pending cancel cancelled renew change keep replace lost stolen found activated duplicate own "
    "other another his her their minor major primary secondary personal business refund charge "
    "charged owe against for exceed per plus minus first-time again still already yet instead"
)
QUESTIONS = _words("who whom whose what when where why how which")
FOLLOW = {"how": _words("many much long often far old big soon late")}
"""What makes a question word another one: how long is not how much."""
UNITS = _words(
    "% € $ £ ¥ ₹ ° usd eur gbp jpy chf inr cny aud cad dollar euro pound yen franc rupee yuan cent penny "
    "percent kg g mg lb oz ton tonne km m cm mm mile foot feet ft inch in yard l ml litre liter gallon pint "
    "celsius fahrenheit kelvin kb mb gb tb byte bit ms second minute hour kwh kw w v mph kmh degree metre "
    "meter gram kilogram kilometre kilometer bitcoin btc eth ether crypto cryptocurrency"
)
SIGNS = {"€": "euro", "eur": "euro", "$": "dollar", "usd": "dollar", "£": "pound", "gbp": "pound"} | {
    **{"%": "percent", "¥": "yen", "jpy": "yen", "₹": "rupee", "inr": "rupee", "btc": "bitcoin"},
    **{"kilogram": "kg", "kilometre": "km", "kilometer": "km", "feet": "foot", "ft": "foot"},
    **{"liter": "litre", "meter": "metre", "°": "degree"},
}
PLACES = _words("from to into onto between versus vs than by via through at about named called as like")
"""After these the next words say which of two things is meant, and in which order."""
ARTICLES = _words("a an the my your our their his her its this that these those some any of i we you")
COMMON = _words(
    "i a an the is are was were am be been do does did can could will would shall should may might must have "
    "has had please hi hello hey dear thanks thank ok okay so and or but if then also my your our their his "
    "her its this that these those there here it we you they he she me us them help tell show explain give "
    "find get let make need want know i'm i've i'd i'll it's what's how's where's who's that's there's let's "
    "list write describe define name as at by for from of on in to with about after before because since "
    "when while who whom whose what where why how which today yesterday tomorrow not no yes don't can't "
    "won't someone anyone everything something anything is there hola good morning evening sorry just why's"
)
"""Words that may begin a sentence with a capital and are no names."""
SENTENCE_END = frozenset(".!?:;\n")


def agree(asked: str, kept: str) -> bool:
    """Whether an answer to `kept` may be one to `asked`: every mark of the one is in the other.

    Names that only capitals tell count as found where the other text has the word in any case.
    """
    one, other = _marks(asked), _marks(kept)
    if one.equal != other.equal or not _same_order(one.content, other.content):
        return False
    return _named(one.names, other.words) and _named(other.names, one.words)


@dataclass(frozen=True, slots=True)
class Marks:
    """Of one text: what has to be equal, its words of content, its names, all its words between spaces."""

    equal: tuple[tuple[str, ...], ...]
    content: tuple[str, ...]
    names: tuple[str, ...]
    words: str


@lru_cache(4096)
def _marks(text: str) -> Marks:
    plain = unicodedata.normalize("NFKC", text)
    tokens = [(found[0], found.start()) for found in TOKEN.finditer(plain)]
    words = _inside(plain)
    units = [SIGNS.get(_single(word), word) for word in words]
    # "second" is a number, "may" a month, "in" an inch: a doubt costs a miss, and no more.
    equal = (
        tuple(_numbers(words)),
        _those(words, DATES),
        tuple("not" for word in words if word in NEGATION or word.endswith("n't")),
        _those(words, POLARITY),
        tuple(sorted(_questions(words))),
        _those(units, UNITS),
        tuple(_directions(words)),
    )
    telling = (word for word, unit in zip(words, units, strict=True) if _tells(word, unit))
    content = dict.fromkeys(map(_stem, telling))
    return Marks(equal, tuple(content), tuple(_names(plain, tokens)), f" {' '.join(words)} ")


def _inside(text: str) -> list[str]:
    """Every word, those inside quotes too."""
    words: list[str] = []
    for found in TOKEN.finditer(text):
        quoted = found[0][0] in QUOTES
        words += _inside(found[0][1:-1]) if quoted else [_flat(found[0])]
    return words


def _flat(word: str) -> str:
    return word.casefold().replace("’", "'")


def _single(word: str) -> str:
    """Without the plural's s, so that 3 days and 1 day differ by their number alone."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _tells(word: str, unit: str) -> bool:
    """Whether it is a word of content, which neither numbers nor units are: those have been compared."""
    counted = word in NUMBERS or word[0].isdigit() or unit in UNITS
    return not counted and word not in COMMON and word not in ARTICLES


def _stem(word: str) -> str:
    """A word without its commonest endings: crude, and alike for both texts."""
    word = word.removesuffix("'s")
    for ending in ("ing", "ed", "es", "s", "e"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            return word.removesuffix(ending)
    return word


def _same_order(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether no word of content stands for another one, and those of both come in the same order.

    What only one text has beside the other's may be politeness; a word on either side is a replacement.
    """
    shared = set(one) & set(other)
    if len(shared) < len(one) and len(shared) < len(other):
        return False
    return [word for word in one if word in shared] == [word for word in other if word in shared]


def _those(words: list[str], known: frozenset[str]) -> tuple[str, ...]:
    """Of the known words those that are there, each once, in no order."""
    found = {word if word in known else _single(word) for word in words}
    return tuple(sorted(found & known))


def _numbers(words: list[str]) -> Iterator[str]:
    """In the order of the text: "from 5 to 7" is not "from 7 to 5"."""
    for word in words:
        if word in NUMBERS:
            yield NUMBERS[word]
        elif ordinal := ORDINAL.fullmatch(word):
            yield f"#{ordinal[1]}"
        elif word[0].isdigit():
            joined = WITH_UNIT.fullmatch(word)
            yield _plain_number(joined[1]) + joined[2] if joined else _plain_number(word)


def _plain_number(word: str) -> str:
    """1,000 and 1000 are one number, and so are 5.50 and 5.5; a date or a time stays as it is."""
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", word):
        word = word.replace(",", "")
    return word.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.\d+", word) else word


def _questions(words: list[str]) -> Iterator[str]:
    """Question words, with what makes them another one; those with 's are the same."""
    for at, word in enumerate(words):
        bare = word.partition("'")[0]
        if bare in QUESTIONS:
            after = words[at + 1] if at + 1 < len(words) else ""
            yield f"{bare} {after}" if after in FOLLOW.get(bare, ()) else bare


def _directions(words: list[str]) -> Iterator[str]:
    """What stands after a word of place, articles left out, in the order of the text."""
    for at, word in enumerate(words):
        if word in PLACES:
            after = next((w for w in words[at + 1 :] if w not in ARTICLES), "")
            yield f"{word} {_single(after)}"


def _names(text: str, tokens: list[tuple[str, int]]) -> Iterator[str]:
    """Quoted parts, addresses, identifiers, and capitals that no sentence's beginning explains."""
    for word, start in tokens:
        flat = _flat(word)
        if word[0] in QUOTES:
            yield " ".join(_inside(word[1:-1]))
        elif flat in UNITS:
            continue
        elif "@" in word or "://" in word or _is_identifier(word) or _is_name(word, flat, text, start):
            yield flat


def _is_identifier(word: str) -> bool:
    """Digits and letters in one word, or parts joined by a dot or an underscore: AB-12, v2, config.json."""
    has_digit = any(letter.isdigit() for letter in word)
    return (has_digit and any(letter.isalpha() for letter in word)) or "_" in word or "." in word


def _is_name(word: str, flat: str, text: str, start: int) -> bool:
    if word == word.lower():
        return False
    return flat not in COMMON or not (_begins(text, start) or flat.partition("'")[0] == "i")


def _begins(text: str, start: int) -> bool:
    before = text[:start].rstrip(" \t\"'“(")
    return not before or before[-1] in SENTENCE_END


def _named(names: tuple[str, ...], words: str) -> bool:
    """Whether all of them are among the words, in their order."""
    at = 0
    for name in names:
        at = words.find(f" {name} ", at)
        if at < 0:
            return False
        at += len(name) + 1
    return True
