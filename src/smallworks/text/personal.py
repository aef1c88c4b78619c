"""Find personal data in text, and mask it with consistent pseudonyms: <EMAIL_1>, <PHONE_2>.

By patterns and check digits alone; names are told by a model, where one is given. Knows nothing of rows,
files or languages. What patterns find depends on LEFT characters before it and on those behind it that
UNDECIDED tells, never on the rest.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from smallworks.text.spans import claim

PersonalKind = Literal["EMAIL", "IBAN", "IP", "ID", "CARD", "PHONE"]


@dataclass(frozen=True)
class Span:
    """A piece of personal data: `text[start:end]`."""

    kind: PersonalKind
    start: int
    end: int


NameKind = Literal["PERSON", "LOC", "ORG"]


@dataclass(frozen=True)
class Name:
    """A name that a model tells: `text[start:end]`."""

    kind: NameKind
    start: int
    end: int


Namer = Callable[[str], Iterable[Name]]
"""The names in a text, in order; engines/names.py is one."""


def find(text: str) -> tuple[Span, ...]:
    """All that is found in a text, in order, without overlaps; what has check digits wins over the rest."""
    return find_from(text, 0)


def find_from(text: str, start: int) -> tuple[Span, ...]:
    """What is found from `start` on, where nothing that was looked at goes across `start`."""
    found: list[Span] = []
    encoded = text[start:].encode("utf-8", "replace")
    union, each = _needed()
    if not union.search(encoded):
        return ()
    for kind, search in FINDERS.items():
        if each[kind].search(encoded):
            for first, end, is_one in search(text, start):
                if is_one:
                    claim(found, Span(kind, first, end))
    return tuple(found)


def looked_at(text: str, start: int) -> list[tuple[int, int]]:
    """Every place from `start` on that is looked at, whatever comes of it: inside one, no text may be cut."""
    encoded = text[start:].encode("utf-8", "replace")
    each = _needed()[1]
    return [
        (first, end)
        for kind, search in FINDERS.items()
        if kind not in ALWAYS_NEEDED or each[kind].search(encoded)
        for first, end, _ in search(text, start)
    ]


@cache
def _needed() -> tuple[Any, Mapping[PersonalKind, Any]]:
    """What any kind needs, and each of them."""
    import re2

    options = re2.Options()
    options.never_capture = True
    union = re2.compile(NEEDED, options)
    return union, {kind: re2.compile(pattern, options) for kind, pattern in _NEEDED.items()}


def find_with_names(text: str, namer: Namer | None) -> list[Span | Name]:
    """What `find` gives, and the names around it: of one that reaches into it, the rest."""
    found: list[Span | Name] = [*find(text)]
    patterns = tuple(found)
    for name in namer(text) if namer else ():
        start = name.start
        for span in patterns:
            if name.start < span.end and span.start < name.end:
                _claim_name(found, text, Name(name.kind, start, span.start))
                start = span.end
        _claim_name(found, text, Name(name.kind, start, name.end))
    return found


def _claim_name(found: list[Span | Name], text: str, name: Name) -> None:
    """Without the spaces and marks at its ends; nothing where no letter is left."""
    inside = [at for at in range(name.start, name.end) if text[at].isalnum()]
    if inside:
        claim(found, Name(name.kind, inside[0], inside[-1] + 1))


class Masker:
    """Puts pseudonyms in the place of personal data: one value has one pseudonym for the masker's life."""

    def __init__(self, namer: Namer | None = None) -> None:
        self._namer = namer
        self.values: dict[PersonalKind | NameKind, dict[str, int]] = defaultdict(dict)

    def mask(self, text: str) -> str:
        parts, done = [], 0
        for span in find_with_names(text, self._namer):
            values = self.values[span.kind]
            value = plain(span.kind, text[span.start : span.end])
            number = values.setdefault(value, len(values) + 1)
            parts += [text[done : span.start], f"<{span.kind}_{number}>"]
            done = span.end
        return "".join([*parts, text[done:]]) if parts else text


def plain(kind: PersonalKind | NameKind, value: str) -> str:
    """The value without the ways of writing it."""
    if kind in get_args(NameKind):
        return " ".join(value.casefold().split())
    if kind in ("EMAIL", "IP"):
        return value.casefold()
    return re.sub(r"[^0-9a-z]", "", value.casefold())


LEFT = 40
"""Characters before a place that decide on it."""
NEAR = 192
"""No phone number is longer, what decides on it behind it included."""
UNDECIDED = (
    r"(?i)(?:"
    r"(?:\b[a-z]{2} ?)?[\p{Nd}(+](?:[\p{Nd} ().+-]*[\s\S]{0,2}"
    r"|(?:[ ().+-]{0,4}\p{Nd}){5}[\p{Nd} ().+-]*(?:x|ext?|e)?\.? ?\p{Nd}{0,6}[\s\S]{0,14})"
    r"|\b[a-z]{2} ?|[a-z]{2}\p{Nd}{2}(?: ?[a-z0-9]){0,31}[\s\S]?|\S+)"
)
"""For RE2, at the end of a growing text: what may still become personal data, or decides on some before it.

A word that is not over, and a number that is not over or whose next words tell what it is.
"""
_DIGITS = r"\p{Nd}(?:\P{Nd}{0,4}\p{Nd}){5}"
_NEEDED: dict[PersonalKind, str] = {
    "EMAIL": "@",
    "IBAN": r"[A-Za-z]{2}\p{Nd}{2} ?[A-Za-z0-9]",
    "IP": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|::|(?:[0-9A-Fa-f]{1,4}:){7}",
    "ID": _DIGITS,
    "CARD": _DIGITS,
    "PHONE": _DIGITS,
}
"""For RE2: what a text has that holds data of a kind. RE2 reads far faster than what looks closer."""
ALWAYS_NEEDED = frozenset({"EMAIL", "IBAN", "ID", "CARD"})
"""Kinds of which not even what only looks like one is there without it."""
NEEDED = "|".join(dict.fromkeys(_NEEDED.values()))
"""What a text has that holds data of any kind."""

Places = Iterator[tuple[int, int, bool]]
"""Start, end, and whether it is what it looks like."""

# --- e-mail, IP ---------------------------------------------------------------------------------

EMAIL = re.compile(
    r"(?<![\w.+%'-])[\w+%'-]+(?:\.[\w+%'-]+){0,10}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}\b"
)
IP4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
IP6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
VERSION_BEFORE = re.compile(r"\b(?:version|release|build|firmware|v)\W{0,3}$", re.IGNORECASE)


def _matches(
    pattern: re.Pattern[str], text: str, start: int, first: re.Pattern[str]
) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` gives, tried only where `first` says that it may begin: far faster in prose."""
    while begin := first.search(text, start):
        match = pattern.match(text, begin.start())
        if match:
            yield match
        start = match.end() if match else begin.end()


IP4_BEGINS = re.compile(r"\d(?<![\w.-]\d)")
CARD_BEGINS = re.compile(r"\d(?<![\w.$€£<=-]\d)")
PHONE_BEGINS = re.compile(r"[\d(+](?<![\w.+/:#$€£<=*-][\d(+])")
"""A sign to look for, then what stands before it: the other way round re would look at every place."""


def _emails(text: str, start: int) -> Places:
    if "@" in text:
        yield from ((*match.span(), True) for match in EMAIL.finditer(text, start))


def _ips(text: str, start: int) -> Places:
    longer = IP6.finditer(text, start) if text.count(":", start) > 1 else ()
    for matches in (_matches(IP4, text, start, IP4_BEGINS), longer):
        for match in matches:
            before = text[max(0, match.start() - 20) : match.start()]
            yield *match.span(), _is_ip(match.group()) and not VERSION_BEFORE.search(before)


def _is_ip(text: str) -> bool:
    if ":" in text and len(text.replace(":", "")) < 4:
        return False  # '::', '::1': no one's address
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- cards, IBANs -------------------------------------------------------------------------------

CARD = re.compile(r"(?<![\w.$€£<=-])(?:4|5[0-8]|2[1-7]|3\d|6\d|18)\d?(?:[ -]?\d){10,17}(?![\w=-]|[.,]\d)")
IBAN_START = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?= ?[A-Za-z0-9])")
IBAN_LENGTHS = {
    code: int(length)
    for length, codes in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD", "19": "MK SI",
        "20": "AT BA EE KZ KW LT LU XK", "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ TL", "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST",
        "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HU LB PL SV",
        "29": "BR EG PS QA UA", "30": "JO MU", "31": "MT SC", "32": "LC",
    }.items()
    for code in codes.split()
}  # fmt: skip
"""Characters of an IBAN by country: the SWIFT registry of ISO 13616."""


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


def _cards(text: str, start: int) -> Places:
    for match in _matches(CARD, text, start, CARD_BEGINS):
        digits = re.sub(r"\D", "", match.group())
        yield *match.span(), 12 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


def _ibans(text: str, start: int) -> Places:
    for match in IBAN_START.finditer(text, start):
        length = IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        pattern = rf"[A-Za-z0-9](?: ?[A-Za-z0-9]){{{length - 1}}}(?![^\W_])"
        whole = re.compile(pattern).match(text, match.start()) if length else None
        digits = sum(map(str.isdecimal, whole.group())) if whole else 0
        if whole and digits >= 4 and mod97(whole.group().replace(" ", "")) == 1:
            yield *whole.span(), True
        else:
            yield *match.span(), False


def mod97(iban: str) -> int:
    """ISO 7064 over an IBAN without spaces; 1 when its check digits are right."""
    turned = (iban[4:] + iban[:4]).upper()
    return int("".join(str(int(character, 36)) for character in turned)) % 97


# --- national ids -------------------------------------------------------------------------------

IDS = re.compile(
    r"(?<![\w-])(?:"
    r"(?P<ssn>(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4})"
    r"|(?P<nino>(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D])"
    r"|(?P<dni>[XYZ\d]\d{7}-?[A-Z])"
    r"|(?P<nir>[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d)"
    r"|(?P<fiscale>[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z])"
    r")(?![\w-])",
    re.IGNORECASE,
)
"""US social security, UK national insurance, Spanish DNI and NIE, French NIR, Italian codice fiscale."""
FISCALE_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8,
         12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip
"""What a character in an odd place counts (decree of 23 December 1976)."""


def _ids(text: str, start: int) -> Places:
    for match in IDS.finditer(text, start):
        value = re.sub(r"[ -]", "", match.group()).upper()
        check = CHECKED.get(match.lastgroup or "")
        yield *match.span(), check is None or check(value)


def _dni(value: str) -> bool:
    number = int(value[:-1].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == value[-1]


def _nir(value: str) -> bool:
    number = int(value[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(value[13:])


def _fiscale(value: str) -> bool:
    odd = sum(FISCALE_ODD[character] for character in value[:15:2])
    even = sum(int(c) if c.isdigit() else ord(c) - ord("A") for c in value[1:15:2])
    return chr(ord("A") + (odd + even) % 26) == value[15]


CHECKED: dict[str, Callable[[str], bool]] = {"dni": _dni, "nir": _nir, "fiscale": _fiscale}

# --- phones -------------------------------------------------------------------------------------

PHONE = re.compile(
    r"(?<![\w.+/:#$€£<=*-])(?<!\d[, ])"
    r"(?P<number>(?:\+ ?)?(?:\(\+?\d{1,5}\)[ .-]{0,2}\d{1,10}|\d{1,15})"
    r"(?:[ .-]{1,2}\d{1,10}|[ .-]{0,2}\(\d{1,5}\)[ .-]{0,2}\d{1,10}){0,6})"
    r"(?P<extension> ?(?:x|ext\.?) ?\d{1,6})?(?![\w%€]| ?=|[:/]\d|[.,]\d)",
    re.IGNORECASE,
)
CUE_BEFORE = re.compile(
    r"\b(?:phone|tel|telephone|call|calling|mobile|cell|fax|reach|answering|whatsapp|sms|text|ring|dial|contact"
    r"|hotline|landline)\b",
    re.IGNORECASE,
)
CUE_AFTER = re.compile(r"^[\s,(-]{0,3}(?:office|fax|mobile|cell|home|work)\b", re.IGNORECASE)
OTHER_NUMBER = re.compile(
    r"\b(?:order|invoice|ticket|account|acct|case|ref|reference|id|sku|part|item|version|serial|tracking|claim"
    r"|customer|booking|card|imei|isbn|zip|licen[sc]e|apt|suite|unit|room|flat)\b[^.!?\n]{0,20}$",
    re.IGNORECASE,
)
DATE = re.compile(
    r"(?:19|20)\d\d[ .-]\d\d?[ .-]\d\d?|\d\d?[ .-](?:\d\d?[ .-])?(?:19|20)\d\d$"
    r"|(?:19|20)\d\d[ -](?:19|20)\d\d$"
)
RANGE = re.compile(r"\d+0 ?- ?\d+0")
THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:([ .])\d{3})(?:\1\d{3})*")


def _phones(text: str, start: int) -> Places:
    for match in _matches(PHONE, text, start, PHONE_BEGINS):
        yield *match.span(), _is_phone(match, text)


def _is_phone(match: re.Match[str], text: str) -> bool:
    """Whether its form says phone, or its form allows it and a word nearby says so."""
    number = match["number"]
    groups = [len(group) for group in re.findall(r"\d+", number)]
    if not 6 <= sum(groups) <= 15 or DATE.match(number):
        return False
    before = text[max(0, match.start() - LEFT) : match.start()]
    if OTHER_NUMBER.search(before):
        return False
    if number.startswith(("+", "00", "(+")) or match["extension"]:
        return sum(groups) >= 8
    cued = bool(CUE_BEFORE.search(before) or CUE_AFTER.match(text[match.end() : match.end() + 12]))
    if cued:
        return len(groups) < 2 or max(groups) <= 8
    if THOUSANDS.fullmatch(number) or RANGE.fullmatch(number) or sum(groups) < 7:
        return False
    return _telling(number, groups)


def _telling(number: str, groups: list[int]) -> bool:
    """Forms that are hardly ever anything else."""
    if len(groups) == 1:
        return False
    if len(groups) == 2:
        trunk = number.startswith("0") and groups[0] >= 2 and "." not in number
        return "(" in number or trunk or (groups == [3, 4] and "-" in number)
    return min(groups) >= 2 and len(groups) <= 6


FINDERS: dict[PersonalKind, Callable[[str, int], Places]] = {
    "EMAIL": _emails,
    "IBAN": _ibans,
    "IP": _ips,
    "ID": _ids,
    "CARD": _cards,
    "PHONE": _phones,
}
"""In this order: a place that one has claimed is not given to the next."""
