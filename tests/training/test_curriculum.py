"""The starter's curriculum: the same for a seed, and every answer follows from its prompt."""

from __future__ import annotations

import json
import re
from itertools import islice
from random import Random

import pytest
from training.starter import curriculum
from training.starter.corpora import Corpora, Gloss
from training.starter.curriculum import (
    answer,
    classify,
    commands,
    extract,
    facts,
    phrases,
    records,
    requests,
    rewrite,
    sheets,
    summary,
    tables,
    topics,
    values,
)
from training.starter.curriculum.conversation import Conversation, pieces, turns
from training.starter.curriculum.labels import ANSWER, CODES, first_turn, later_turn
from training.starter.curriculum.sentences import fill, gather

SHEET = {"Capital - name": "Tarn", "Climate": "mild", "Area - total": "12 sq km", "Currency": "dinar"}
TINY = Corpora(
    books={"tale.md": "The old miller walked slowly to the river. She carried bread and cheese home."},
    textbooks={"astronomy": "The planets move around the bright sun. A comet has a long and shining tail."},
    countries={"Arland": SHEET, "Borland": {**SHEET, "Capital - name": "Vik"}},
    glosses=tuple(
        Gloss(
            words=(f"word{n}", f"like{n}"),
            topic=topic,
            definition=f"kind of {topic.split('.')[1]} number {n}",
        )
        for n, topic in enumerate(sorted(topics.NAMES) * 4)
    ),
    dialogues={"greetings": (("Hello", "Hi there"), ("How are you?", "Fine, thanks."))},
)


def drawn(count: int, seed: int = 3, corpora: Corpora = TINY) -> list[Conversation]:
    return list(islice(curriculum.stream(corpora, seed, drawn=20_000), count))


def classifications() -> list[Conversation]:
    return [found for found in drawn(400) if found.kind == "classify"]


def label_list(found: Conversation) -> str:
    return found.messages[0].content.split("Labels:\n")[1].split("\n\nText: ")[0]


def test_same_seed_same_conversations() -> None:
    assert drawn(150) == drawn(150)


def test_other_seed_other_conversations() -> None:
    assert drawn(50, seed=1) != drawn(50, seed=2)


def test_every_kind_appears() -> None:
    assert {found.kind for found in drawn(400)} == {
        "classify",
        "extract",
        "answer",
        "rewrite",
        "summarize",
        "chat",
    }


def test_lookups_fade_as_conversations_are_drawn() -> None:
    def lookups(start: int) -> int:
        found = islice(curriculum.stream(TINY, 5, drawn=start), 200)
        return sum("Which label is named?" in each.messages[0].content for each in found)

    assert lookups(0) > 2 * lookups(50_000)


def test_empty_corpora_still_teach() -> None:
    assert {found.kind for found in drawn(100, corpora=Corpora())} >= {"classify", "extract", "answer"}


def test_user_and_assistant_take_turns() -> None:
    for found in drawn(200):
        roles = [message.role for message in found.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_classification_prompt_is_the_product_s_word_for_word() -> None:
    expected = "Sort.\n\nLabels:\nA: cat\nB: dog\n\nText: It barks.\n\nAnswer with the code of one label."
    assert first_turn("Sort.", ("cat", "dog"), "It barks.") == expected
    assert later_turn("It purrs.") == "Text: It purrs.\n\nAnswer with the code of one label."


def test_codes_are_capitals_then_small_letters_then_digits() -> None:
    assert (CODES[:3], CODES[26:28], CODES[-3:], len(set(CODES))) == ("ABC", "ab", "789", 62)


def test_every_answer_is_a_listed_code() -> None:
    for found in classifications():
        listed = re.findall(r"^(.): ", label_list(found), re.M)
        assert all(message.content in listed for message in found.messages[1::2])


def test_labels_are_distinct_and_between_2_and_26() -> None:
    for found in classifications():
        names = [line[3:] for line in label_list(found).split("\n")]
        assert len(set(names)) == len(names) and 2 <= len(names) <= 26


def test_later_turns_hold_only_the_text() -> None:
    for found in classifications():
        for message in found.messages[2::2]:
            assert message.content.startswith("Text: ") and message.content.endswith(ANSWER)
            assert "Labels:" not in message.content


def test_conversation_codes_point_at_the_label() -> None:
    problem = classify.Problem("Sort.", ("cat", "dog"), (("It barks.", "dog"), ("It purrs.", "cat")))
    assert [message.content for message in classify.conversation(problem).messages[1::2]] == ["B", "A"]


def test_lookup_texts_name_their_label() -> None:
    for seed in range(30):
        problem = classify.lookup(Random(seed))
        assert all(label in text and label in problem.labels for text, label in problem.items)


def test_keyword_occurs_in_its_text_and_no_other_label_does() -> None:
    sentences = gather(TINY, Random(0)).all
    for seed in range(30):
        problem = classify.keywords(Random(seed), sentences)
        if problem.instruction in classify.KEYWORD_INSTRUCTIONS:
            for text, label in problem.items:
                assert [name for name in problem.labels if name in text] == [label]


def test_topic_labels_carry_a_name_of_their_topic() -> None:
    problem = classify.from_topics(Random(1), classify.topic_bank(TINY.glosses))
    names = {name: topic for topic, known in topics.NAMES.items() for name in known}
    assert all(names[label].split(".")[1] in text for text, label in problem.items)


def test_held_out_topics_are_never_labels() -> None:
    assert not topics.HELD_OUT & set(classify.topic_bank(TINY.glosses))
    assert set(classify.topic_bank(TINY.glosses, held_out=True)) == topics.HELD_OUT


def test_held_out_glosses_are_never_classified() -> None:
    hidden = [gloss.definition for gloss in TINY.glosses if topics.is_held_out(gloss)]
    shown = "\n".join(message.content for found in classifications() for message in found.messages)
    assert not any(f": {definition}" in shown for definition in hidden)


def test_genus_is_the_noun_of_the_definition() -> None:
    gloss = Gloss(words=("husky",), topic="noun.animal", definition="a small dog of the north")
    assert classify.genera([gloss] * 3, least=3) == {"dog": ["husky: a small dog of the north"] * 3}


def test_extracted_values_stand_in_the_text() -> None:
    sentences = gather(TINY, Random(0))
    for seed in range(60):
        user, assistant = extract.draw(Random(seed), TINY, sentences).messages
        text = user.content.split("\n\nText: ")[1]
        assert all(str(value) in text for value in json.loads(assistant.content).values())


def test_requests_state_every_fact_and_leave_out_what_they_do_not_say() -> None:
    seen = set()
    for seed in range(300):
        record = commands.draw(Random(seed), TINY)
        assert all(str(fact.value) in record.text for fact in record.facts)
        assert "{" not in record.text and "*" not in record.text
        seen.add(len(record.facts))
    assert len(seen) > 2


SNIPS_FIELDS = """
album artist best_rating condition_description condition_temperature country cuisine current_location
    entity_name facility genre geographic_poi location_name movie_name movie_type music_item
    object_location_type object_name object_part_of_series_type object_select object_type
    party_size_description party_size_number playlist playlist_owner poi rating_unit rating_value
    restaurant_name restaurant_type served_dish service sort spatial_relation state timeRange track year"""
"""Every field that the starter is measured on after tuning, but for "city"."""


def test_no_made_up_request_has_a_field_of_the_set_it_is_measured_on() -> None:
    named = {
        name for found in requests.SUBJECTS.values() for part in found.parts.values() for name in part.names
    }
    named |= {field for template in commands.TEMPLATES for field in re.findall(r"\{([a-z]+):", template)}
    assert len(named) > 200 and not named & set(SNIPS_FIELDS.split())


def test_parts_of_a_subject_have_names_of_their_own_and_known_kinds() -> None:
    for subject, found in requests.SUBJECTS.items():
        names = [name for part in found.parts.values() for name in part.names]
        assert len(set(names)) == len(names), subject
        for part in found.parts.values():
            assert values.draw(part.kind, Random(1), TINY), (subject, part)
        for form in (*found.openings, *(form for part in found.parts.values() for form in part.forms)):
            assert set(requests.NAMED.findall(form)) <= set(found.parts), (subject, form)


def test_requests_by_subject_state_every_part_they_answer() -> None:
    for seed in range(300):
        record = requests.draw(Random(seed), TINY)
        assert record.facts and all(str(fact.value) in record.text for fact in record.facts)
        assert not set("{}*") & set(record.text)


def test_turns_of_requests_answer_with_stated_parts_in_one_order() -> None:
    absent = 0
    for seed in range(200):
        found = requests.conversation(Random(seed), TINY)
        said = [message.content for message in found.messages]
        instruction = said[0].split("\n\nText: ")[0]
        order: dict[str, int] = {}
        for user, reply in zip(said[::2], said[1::2], strict=True):
            answer = json.loads(reply)
            text = user.split("Text: ")[1].removesuffix("\n\nAnswer with JSON.")
            assert all(value in text for value in answer.values())
            if instruction in requests.UNNAMED:
                assert list(answer) == sorted(answer)
            else:
                asked = re.split(r"[ ,;:.]+", instruction)
                order = {name: place for place, name in enumerate(asked)}
                assert list(answer) == sorted(answer, key=order.__getitem__)
                absent += len(answer) == 0
    assert absent


def test_held_out_countries_and_lines_are_never_trained_on() -> None:
    sheet = {f"Line {n}": f"value {n}" for n in range(60)}
    corpora = Corpora(countries={f"Land {n}": sheet for n in range(60)})
    for held_out in (False, True):
        records = [facts.country(Random(seed), corpora, held_out) for seed in range(40)]
        names = {re.match(r"#? ?(Land \d+)", record.text).group(1) for record in records}  # type: ignore[union-attr]
        assert {facts.is_held_out(name) for name in names} == {held_out}
    shown = "\n".join(facts.country(Random(seed), corpora).text for seed in range(200))  # type: ignore[union-attr]
    stated = set(re.findall(r"Line \d+", shown))
    assert stated == {line for line in sheet if not facts.is_held_out(line)}


def test_a_missing_line_is_not_in_its_text() -> None:
    for seed in range(40):
        record = facts.country(Random(seed), TINY)
        if record is not None:
            assert record.missing is not None and record.missing not in record.facts


def test_bullets_are_the_first_words_of_three_sentences() -> None:
    sentences = gather(TINY, Random(0))
    user, assistant = summary.draw(Random(2), sentences).messages
    bullets = assistant.content.split("\n")
    assert all(bullet.startswith("- ") and bullet[2:-1] in user.content for bullet in bullets)


def test_extraction_names_its_fields_in_order_and_is_compact() -> None:
    known = (records.Fact("name", "Ann", "Who?"), records.Fact("cats", 3, "How many?"))
    record = records.Record("Ann has 3 cats.", known)
    user, assistant = extract.conversation(Random(1), record, ["cats", "name"]).messages
    assert "cats, name" in user.content
    assert user.content.endswith("\n\nText: Ann has 3 cats.\n\nAnswer with JSON.")
    assert assistant.content == '{"cats":3,"name":"Ann"}'


def answered(found: Conversation) -> list[tuple[str, str]]:
    """Question and reply, turn by turn."""
    said = [message.content for message in found.messages]
    return [(user.split("Question: ")[1], reply) for user, reply in zip(said[::2], said[1::2], strict=True)]


def test_grounded_answers_stand_in_the_context_or_are_unknown() -> None:
    sentences, unknown, known = gather(TINY, Random(0)), 0, 0
    for seed in range(120):
        found = answer.draw(Random(seed), TINY, sentences)
        for _, reply in answered(found):
            unknown += reply == answer.UNKNOWN
            known += reply != answer.UNKNOWN
            assert reply == answer.UNKNOWN or reply in found.messages[0].content
    assert 0.15 < unknown / (unknown + known) < 0.45


def test_no_question_is_asked_twice_or_is_both_known_and_unknown() -> None:
    sentences = gather(TINY, Random(0))
    for seed in range(120):
        questions = [question for question, _ in answered(answer.draw(Random(seed), TINY, sentences))]
        assert len(set(questions)) == len(questions)


def test_questions_that_all_have_answers_come_first() -> None:
    early = islice(curriculum.stream(TINY, 5), 300)
    late = islice(curriculum.stream(TINY, 5, drawn=50_000), 300)
    shares = []
    for part in (early, late):
        replies = [reply for each in part if each.kind == "answer" for _, reply in answered(each)]
        shares.append(replies.count(answer.UNKNOWN) / len(replies))
    assert shares[0] < 0.5 * shares[1]


def test_sheets_state_their_facts_and_not_the_missing_one() -> None:
    for seed in range(100):
        record = sheets.sheet(Random(seed), TINY)
        assert all(str(fact.value) in record.text for fact in record.facts)
        assert record.missing is not None and record.missing.question not in {
            fact.question for fact in record.facts
        }


def test_a_gap_is_filled_by_words_of_the_shown_sentences() -> None:
    sentences = gather(TINY, Random(0)).all * 2
    for seed in range(60):
        record = sheets.gaps(Random(seed), sentences)
        for fact in record.facts:
            shown = fact.question.split(": ", 1)[-1].removeprefix("What stands in the gap? ")
            assert shown.replace(sheets.GAP, str(fact.value)) in record.text


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [("Copy the text exactly.", "The sun rose."), ("Give the last word of the text.", "rose")],
)
def test_rewrites(instruction: str, expected: str) -> None:
    assert rewrite.REWRITES[instruction]("The sun rose.") == expected


def test_only_the_assistant_is_learned_with_its_end_of_turn() -> None:
    conversation = turns("chat", ("Hello", "Hi"))
    assert [piece.text for piece in pieces(conversation) if piece.learned] == ["Hi<|im_end|>"]


def test_pieces_join_to_the_chat_template_s_text() -> None:
    joined = "".join(piece.text for piece in pieces(turns("chat", ("Hello", "Hi"))))
    assert joined == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n"


def test_fill_leaves_unknown_braces() -> None:
    assert fill("{x} {name}", Random(0)).startswith("{x} ") and fill("{word}", Random(0), word="a") == "a"


def test_held_out_names_are_not_phrases() -> None:
    held_out = {name for topic in topics.HELD_OUT for name in topics.NAMES[topic]}
    assert not held_out & {*phrases.REQUESTS, *phrases.FEELINGS}


def test_tables_state_codes_that_their_list_gives() -> None:
    for text in islice(tables.stream(TINY, 4), 60):
        if text.startswith("Labels:") and ": " in text.split("\n\n")[1].split("\n")[0]:
            given = {line[3:]: line[0] for line in text.split("\n\n")[0].split("\n")[1:]}
            pairs = [line.removeprefix("Text: ").split(": ") for line in text.split("\n\n")[1].split("\n")]
            assert all(given[pair[0]] == pair[1] for pair in pairs if len(pair) == 2)
