"""Sentences in a document that give orders to whoever answers from it: found by wording, window by window.

English wording, and marks of prompts in any language. Each rule has a weight; what one window of sentences
collects is compared with 1. A filter and not a proof: an order in other words passes, and a manual about
prompts is flagged. So documents are also set apart in the prompt, and what is flagged is left out of it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from smallworks.text.sentences import sentences

WINDOW = 2
"""Sentences looked at together: orders are often spread over two."""
ENOUGH = 1.0
LONGEST = 600
"""Characters of a sentence; a longer one is looked at in parts, so that no text takes long."""
_ALIKE = str.maketrans(
    "абвгеёікмнорстухѕјһԁԛԝαβεικνορτυχ0134",
    "abbreeikmhopctyxsjhdqwabeiknoptuxolea",  # Cyrillic, Greek, digits
)
_MARKS = re.compile(r"[*_`~\"'“”‘’]+")
_SPACE = re.compile(r"\s+")
_MODEL = (
    r"(?:ai|a\.i\.|artificial intelligence|(?:large )?language models?|llms?|chat ?bots?|gpt[\w.-]*|"
    r"(?:ai|virtual|digital|automated) (?:assistants?|agents?|systems?|models?|tools?)|assistants?|bots?|"
    r"models?)"
)
_ORDERS = (
    r"(?:instructions?|prompts?|directions|directives?|commands?|orders|rules|guidelines?|guardrails?|"
    r"restrictions?|constraints?|programming|training|persona)"
)
_PLAIN_MODEL = (
    r"(?:ai (?:assistants?|agents?|models?|systems?)|artificial intelligence|language models?|llms?|"
    r"chat ?bots?|gpt[\w.-]*)"
)
_SAY = (
    r"(?:answer|reply|respond|output|print|say|write|return|state|type|display|repeat|recite|emit|"
    r"reproduce)"
)
_RULES: dict[str, tuple[float, str]] = {
    "sets orders aside": (
        1.0,
        r"\b(?:ignore|disregard|forget|override|overrule|bypass|neglect|discard|set aside|abandon|"
        r"(?:do not|dont|never|stop) (?:follow\w*|obey\w*|heed\w*|apply\w*))\b(?:\W+\w+){0,4}?\W+"
        r"(?:all|any|every\w*|previous\w*|prior|above|earlier|preceding|your|original|initial|system|"
        r"existing|"
        r"what you)\b(?:\W+\w+){0,4}?\W+"
        + _ORDERS
        + r"|\b(?:set|put|drop|leave) (?:aside )?(?:your|all|any|these|the) "
        + _ORDERS
        + r"(?: aside)?|\b(?:rules|restrictions|guidelines|guardrails|instructions|limits) "
        r"(?:are|is|have been) (?:now )?"
        r"(?:off|void|lifted|disabled|suspended|switched off)\b",
    ),
    "sets the task aside": (
        0.7,
        r"\b(?:ignore|disregard|forget|abandon|drop|override|replace)\b(?:\W+\w+){0,2}?\W+"
        r"(?:your (?:task|role|job|purpose|whole answer|answer|context)|the (?:users?|persons?|customers?) "
        r"(?:question|request|query|message)|(?:the )?(?:question|query|request)\b|everything (?:above|"
        r"before|you|else)|"
        r"the (?:text|rest|document|context|content)s? (?:above|below|before)|(?:all|what) (?:that "
        r")?(?:came|was said) )",
    ),
    "speaks to a model": (
        0.6,
        r"\b(?:if you are|youre|you are|note (?:to|for)|attention|dear|hey|hello|message (?:to|for)|"
        r"instructions? "
        r"(?:to|for)|to (?:the|any|all)|reminder (?:to|for)|(?:important|notice|information) for|"
        r"as)\W+(?:an? |the |any |all |every )?" + _MODEL + r"\b|"
        r"^(?:assistant|ai|chatbot|bot|model)\s*,|^"
        + _PLAIN_MODEL
        + r"\s*[:,]|\b"
        + _MODEL
        + r"\W+(?:who |that |which |is |are |currently )*"
        r"(?:read\w*|process\w*|summari[sz]\w*|analy[sz]\w*|pars\w+|handl\w+|answer\w*) th(?:is|e|ese)",
    ),
    "obliges a model": (
        1.0,
        r"\b"
        + _PLAIN_MODEL
        + r"\b(?:\W+\w+){0,6}?\W+(?:must|should|shall|has to|have to|is to|are to|(?:is|are) required to|"
        r"needs? to|may only|can only)\b|\b"
        + _MODEL
        + r"\W+(?:\w+\W+){0,2}?(?:must|should|shall|has to|have to|is required to|"
        r"needs to|may only|can only) (?:now |always |only |not )?"
        + _SAY
        + r"|\byou,? (?:the|an|as an?) "
        + _MODEL,
    ),
    "one answer to all": (
        1.0,
        r"\b(?:answer|respond|repl(?:y|ie)|react)\w* (?:to )?(?:every\w*|any\w*|all)(?: \w+){0,2} with\b|"
        r"\bas (?:your|the) (?:final |only |whole |single )?(?:answer|reply|response|output)\b|"
        r"\b(?:begin|start|end|finish|open|close) (?:your|each|every) (?:answer|reply|response|output)|"
        r"\byour (?:new |only )?(?:task|job|goal|role) is (?:now )?(?:just |only )?to " + _SAY,
    ),
    "names the answer": (
        0.4,
        r"\b(?:the|your) (?:\w+ )?(?:answers?|reply|response) (?:to \w+ (?:\w+ )?)?(?:is|are)\b|\bthen "
        r"(?:stop|finish|end)\b|"
        r"\bfrom (?:now|here|this point)(?: on)?\b|\b(?:the |a )?real (?:answer|question|instruction|"
        r"task)s?\b",
    ),
    "talks of the talk": (
        0.6,
        r"\b(?:token limit|context window|training data|system prompt|guardrails|prompt injection|safety "
        r"rules)\b|"
        r"\btell (?:the user|them|whoever)|\bin your (?:next )?(?:answer|reply|response|summary|output)\b|"
        r"\byour (?:answer|reply|response|output|summary)\b|\b(?:when|if|whenever|once) (?:you are |the "
        r"user |somebody |someone |anyone |anybody |"
        r"users? |they |people )?(?:asks?|asked)\b(?:\W+\w+){0,6}?\W+(?:say|claim|reply|answer|respond|"
        r"tell)\b|"
        r"\brole\s*:\s*(?:system|assistant|developer)\b",
    ),
    "gives a role": (
        0.6,
        r"\b(?:you are (?:now|no longer)|from now on\W+(?:you|act|answer|respond|reply)|you (?:will|must|"
        r"shall) now|pretend "
        r"(?:to be|that you|you)|act as (?:if you|an? |my )|take on the (?:role|persona)|role ?play|"
        r"(?:enter|enable|activate|switch to) \w+ mode|jailbreak|do anything now)\b",
    ),
    "dictates words": (
        0.6,
        r"\b" + _SAY + r"\b(?:\W+\w+){0,5}?\W+(?:only\b|exactly\b|just\b|verbatim\b|nothing else\b|"
        r"instead\b|"
        r"(?:with|the) (?:the )?(?:words?|phrase|sentence|string|following|code)\b)|\b(?:only|just|simply|"
        r"always) " + _SAY + r"\b|\b(?:respond|reply|answer) (?:to \w+ )?with\b|"
        r"\byou (?:must|should|have to|need to|are to|shall) "
        r"(?:now |always |only |first |instead )?(?:"
        + _SAY
        + r"|tell|recommend|claim|append|include|insert|end|begin)\b|"
        r"\b(?:append|add|insert|include) (?:the |this )?(?:\w+ ){0,4}(?:to|in|at the end of|into) "
        r"(?:your|every|all) "
        r"(?:answers?|repl\w+|responses?|output|summar\w+)",
    ),
    "dictates the answer": (
        0.8,
        r"\b(?:your|the|every|each|any) (?:\w+ )?(?:answers?|repl(?:y|ies)|responses?|outputs?|summar(?:y|"
        r"ies)) "
        r"(?:must|should|has to|have to|is to|are to|needs? to|shall|will always|is always) "
        r"(?:be|say|start|begin|end|contain|include|consist|only|mention|state|read)",
    ),
    "whatever is asked": (
        0.6,
        r"\b(?:whatever (?:the |you are |is |they )?(?:question|user|customer|person|query|ask)\w*|"
        r"(?:regardless|irrespective) of (?:the |what |any )"
        r"(?:question|user|customer|query|is asked|they ask|was asked|request)\w*|no matter what (?:is |"
        r"was |the |they |you )?"
        r"(?:asked|user|question|ask)\w*|(?:instead of|rather than|before) (?:you )?(?:answer|respond|"
        r"reply|summari[sz])\w*|"
        r"before (?:you )?do(?:ing)? anything)",
    ),
    "is written in chat tokens": (
        1.0,
        r"<\|?\s*(?:im_start|im_end|start_header_id|eot_id|endoftext)|\[/?\s*inst\s*\]|<</?sys>>|"
        r"\b(?:human|user)\s*:.{1,200}\bassistant\s*:",
    ),
    "looks like a prompt": (
        0.7,
        r"<\|?\s*(?:im_start|im_end|system|assistant|endoftext|start_header_id|eot_id)|\[/?\s*(?:inst|"
        r"system)\s*\]|<</?sys>>|"
        r"#{2,}\s*(?:instructions?|responses?|system|human|assistant|new (?:task|instructions?|"
        r"prompt))\b\s*:?|"
        r"</?\s*(?:documents?|context|system|instructions?|prompt|data|passages?|user|assistant|"
        r"source)(?:\s[^>]*)?>|"
        r"^\W*(?:system|assistant|human)\s*(?:prompt|message|note)?\s*:|"
        r"[-=]{3,}\s*(?:begin|end|start) of (?:\w+ )?(?:document|context|data|prompt|instructions?|input)|"
        r"\bsystem (?:override|prompt)\b",
    ),
    "hides itself": (
        0.6,
        r"\b(?:do not|dont|never|without) (?:mention\w*|reveal\w*|tell\w*|disclos\w*|acknowledg\w*|"
        r"show\w*|refer\w*|say\w*|inform\w*|"
        r"notify\w*|alert\w*)\W+(?:\w+\W+){0,4}?(?:this|these|line|instructions?|message|note|prompt|"
        r"users?|anyone|reader|it)\b",
    ),
    "asks for secrets": (
        0.8,
        r"\b(?:reveal|print|show|repeat|output|leak|send|disclose|give|list|share|forward|e-?mail|post|"
        r"upload|transmit)\b"
        r"(?:\W+\w+){0,5}?\W+(?:system prompt|hidden (?:prompt|instructions?)|your (?:system |initial |"
        r"original |own )?"
        r"(?:instructions?|prompt|rules|configuration)|api keys?|passwords?|credentials|(?:chat|"
        r"conversation) (?:history|log)|"
        r"(?:the |this |whole |entire )?conversation|users? (?:data|e-?mails?|names?|questions?|messages?|"
        r"details))",
    ),
    "leads away": (
        0.6,
        r"!\[[^\]]*\]\(https?://[^)]*[?=]|\b(?:tell|urge|advise|instruct|direct|convince|persuade) (?:the "
        r"|your |all )?"
        r"(?:users?|readers?|customers?|persons?) (?:to|that)\b(?:\W+\w+){0,8}?\W+(?:visit|click|call|"
        r"https?|www|download|install|log ?in|pay|buy|enter)",
    ),
    "claims authority": (
        0.6,
        r"\b(?:new|updated|revised|additional|special|urgent|secret|actual|real|overriding|priority) "
        r"(?:system |top |hidden )?"
        r"(?:instructions?|directives?|orders?|commands?|prompt|task|rules?) (?:from|for|by|is|are|"
        r"follow\w*|below)\b|"
        r"\b(?:new|updated|secret|overriding|priority) (?:instructions?|directives?|task|prompt)\s*:|"
        r"\bas (?:the|your) (?:system )?(?:administrators?|developers?|operators?|owner|creator|"
        r"supervisor|programmer)|"
        r"\b(?:i|we) (?:hereby |am |are )?(?:order|command|instruct|authori[sz]e|requir)\w* you\b|"
        r"\b(?:the |your )(?:task|instructions?|rules|role|goal|prompt) (?:has|have) (?:now )?(?:been "
        r")?(?:changed|updated|replaced|revoked|cancel\w+)|"
        r"\byour (?:only|new|real|true|actual|next|sole|first) (?:job|task|goal|purpose|mission|"
        r"instruction|role|duty|priority)|"
        r"\busers? (?:has|have) (?:now )?(?:asked|requested|instructed|told|decided|ordered|consented|"
        r"agreed)(?: that)? (?:you|to)\b",
    ),
    "forbids the answer": (
        0.6,
        r"\b(?:refuse|decline|fail) to (?:answer|talk|discuss|respond|summari[sz]e|help)|\bstop "
        r"(?:answering|responding|reading|processing|summari[sz]ing)|"
        r"\b(?:do not|dont|never|must not|may not) (?:answer|summari[sz]e|respond to|use|quote|translate) "
        r"(?:from )?(?:the |this |any |that )"
        r"(?:question|users?|text|document|rest|article|page|request|passage)",
    ),
}
_TALK = "talks like an order"
_CUES: dict[str, tuple[float, str]] = {
    "utterance": (
        0.4,
        r"\b(?:"
        + _SAY[3:-1]
        + r"|tell|speak|acknowledge|confirm|produce|echo|claim|announce|give|dump|substitute|"
        r"advertise|greet|(?:say|answer|reply|respond|output|print)(?:s|ing))\b",
    ),
    "machine": (
        0.5,
        r"\b(?:prompts?|ai|chat ?bots?|bots?|llms?|gpt[\w.-]*|language models?|any model|assistants?|"
        r"(?:automated|"
        r"automatic|machine) readers?|agents?|system notice|debug mode|your (?:context|configuration|"
        r"creators?|programming|turn|developers?))\b",
    ),
    "the reply": (
        0.4,
        r"\b(?:your|only|final|whole|every|each|true|right|correct|the) (?:\w+ )?"
        r"(?:reply|repl(?:ies)|answers?|response|output|summary|result|solution)\b",
    ),
    "setting aside": (
        0.4,
        r"\b(?:ignor|disregard|overrid|drop|skip|forget|replac|reset|obey|disobey|set(?:ting)? aside|"
        r"cancel|abandon|"
        r"stop follow|untrust|trusted|do not use|dont use|never quote|quoting is|blocked)\w*\b",
    ),
    "the conversation": (
        0.3,
        r"\b(?:questions?|users?|instructions?|rules|guidelines|directives?|requests?|requested|the "
        r"person asking|"
        r"(?:were|was|been|are) told|conversation|this (?:page|line|sentence|text|passage|article|"
        r"document)|"
        r"(?:the|later) (?:documents?|passages?|text)|retrieved)\b",
    ),
    "nothing else": (
        0.3,
        r"\b(?:only|nothing (?:else|but)|instead|exactly|just|alone|anything else|no further|one word|"
        r"unless|always|"
        r"to (?:everything|all questions)|has to be|whatever|until told)\b",
    ),
}
"""What talk about answering is made of. One is innocent; several in one window are not."""
TELLING = 1.1
_HEARD = {name: (weight, re.compile(pattern)) for name, (weight, pattern) in _CUES.items()}
_COMPILED = {name: (weight, re.compile(pattern)) for name, (weight, pattern) in _RULES.items()}


@dataclass(frozen=True, kw_only=True)
class Order:
    """A window of sentences that gives orders, as it stands in the text, and the rules that say so."""

    text: str
    rules: tuple[str, ...]


def orders(text: str) -> list[Order]:
    """What in the text speaks to whoever answers; windows that overlap are one."""
    parts = _parts(text)
    return _joined(parts, _taken(parts))


def without_orders(text: str) -> tuple[str, list[Order]]:
    """The text with every order replaced by […], and the orders."""
    parts = _parts(text)
    taken = _taken(parts)
    if not taken:
        return text, []
    kept: list[str] = []
    for at, part in enumerate(parts):
        if at not in taken:
            kept.append(part)
        elif not kept or kept[-1] != "[…]":
            kept.append("[…]")
    return " ".join(kept), _joined(parts, taken)


def _taken(parts: list[str]) -> dict[int, set[str]]:
    """The places of the sentences that belong to an order, with the rules that say so."""
    folded = [_folded(part) for part in parts]
    alone = [_found(part) for part in folded]
    taken: dict[int, set[str]] = {}
    for at, rules in enumerate(alone):
        if _weight(rules) >= ENOUGH:
            taken[at] = set(rules)
    for start in range(len(parts) - WINDOW + 1):
        window = range(start, start + WINDOW)
        if any(_weight(alone[at]) >= ENOUGH for at in window):
            continue  # what stands beside an order need not belong to it
        near = _found(" ".join(folded[start : start + WINDOW])).union(*(alone[at] for at in window))
        if _weight(near) >= ENOUGH:
            for at in window:
                taken.setdefault(at, set()).update(near)
    return taken


def _parts(text: str) -> list[str]:
    """The sentences, each of at most LONGEST characters."""
    return [
        part[at : at + LONGEST].strip() for part in sentences(text) for at in range(0, len(part), LONGEST)
    ]


def _joined(parts: list[str], taken: dict[int, set[str]]) -> list[Order]:
    found: list[Order] = []
    last = -2
    for at in sorted(taken):
        if at == last + 1:
            before = found.pop()
            rules = {*before.rules, *taken[at]}
            found.append(Order(text=f"{before.text} {parts[at]}", rules=tuple(sorted(rules))))
        else:
            found.append(Order(text=parts[at], rules=tuple(sorted(taken[at]))))
        last = at
    return found


def _found(text: str) -> set[str]:
    found = {name for name, (_, pattern) in _COMPILED.items() if pattern.search(text)}
    heard = sum(weight for weight, pattern in _HEARD.values() if pattern.search(text))
    return found | {_TALK} if heard >= TELLING - 1e-9 else found


def _weight(names: set[str]) -> float:
    return sum(ENOUGH if name == _TALK else _COMPILED[name][0] for name in names)


def _folded(text: str) -> str:
    """Small letters without accents, quotes and look-alikes, one space between words."""
    flat = unicodedata.normalize("NFKD", text.casefold())
    flat = "".join(sign for sign in flat if not unicodedata.combining(sign))
    words = [_read(word) if _mixed(word) else word for word in flat.split()]
    return _SPACE.sub(" ", _MARKS.sub("", " ".join(words))).strip()


def _read(word: str) -> str:
    """With look-alikes as the letters that they stand for; a 1 is an i between letters, else an l."""
    return re.sub(r"(?<![0-9])1(?=[a-z])", "i", word).translate(_ALIKE)


def _mixed(word: str) -> bool:
    """A word of Latin letters with others, or digits, among them."""
    return any("a" <= sign <= "z" for sign in word) and any(not "a" <= sign <= "z" for sign in word)
