"""The catalogue: every row adds up and has a source; a user's rows are checked as ours are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smallworks.errors import ModelError
from smallworks.select import Catalogue, Entry, load
from smallworks.select.architecture import active, total
from smallworks.select.catalogue import ours

ENTRIES = ours().entries


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.hub)
def test_the_architecture_makes_the_stated_parameters(entry: Entry) -> None:
    assert total(entry.architecture, entry.kind) == pytest.approx(entry.parameters, rel=0.01)
    assert active(entry.architecture, entry.kind) == pytest.approx(entry.used, rel=0.01)
    assert entry.shape.head_dim * entry.shape.heads == entry.architecture.queries
    assert 0 < entry.shape.linear < entry.parameters


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.hub)
def test_every_row_says_where_it_is_from(entry: Entry) -> None:
    catalogue = ours()
    assert "totals" in entry.sources and set(entry.sources) <= set(catalogue.sources)
    assert catalogue.licence(entry).url.startswith("https://")
    assert all(re.fullmatch("[a-z]{2,3}", code) for code in entry.languages)
    assert entry.hub.count("/") == 1


def test_the_catalogue_covers_what_people_look_for() -> None:
    sizes = [entry.parameters for entry in ENTRIES]
    assert len(ENTRIES) >= 40 and min(sizes) < 23e6 and 14e9 < max(sizes) < 15e9
    assert len({entry.hub for entry in ENTRIES}) == len(ENTRIES)
    named = " ".join(entry.name for entry in ENTRIES)
    families = [
        "DistilBERT",
        "MiniLM",
        "Llama",
        "Qwen",
        "Gemma",
        "Phi",
        "Mistral",
        "SmolLM",
        "Granite",
        "OLMo",
    ]
    assert [family for family in families if family not in named] == []
    assert sum(entry.code for entry in ENTRIES) >= 3
    assert sum(entry.active > 0 for entry in ENTRIES) >= 3
    assert sum(len(entry.languages) > 20 for entry in ENTRIES) >= 5


def test_the_pages_tell_how_many_there_are() -> None:
    root = Path(__file__).resolve().parents[2]
    for page in ("docs/commands/recommend.md", "CHANGELOG.md"):
        assert f"{len(ENTRIES)} open models" in (root / page).read_text(encoding="utf-8")


def test_a_file_of_your_own_adds_rows_and_replaces_them(tmp_path: Path, row: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(row + row.replace("me/mine", "Qwen/Qwen3-0.6B").replace('"Mine"', '"Ours now"'))
    whole = {entry.hub: entry for entry in load(path).entries}
    assert whole["me/mine"].shape.layers == 30
    assert whole["Qwen/Qwen3-0.6B"].name == "Ours now"
    assert len(whole) == len(ENTRIES) + 1


def test_a_licence_and_languages_of_your_own_can_be_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "mine.toml"
    terms = (
        '[licences.ours]\nname = "Ours"\ncommercial = "yes"\nredistribute = "no"\nterms = "in the house"\n'
    )
    groups = '[languages]\nnordic = ["da", "sv"]\n'
    path.write_text(terms + groups + row.replace('"mit"', '"ours"').replace('["en"]', '"nordic"'))
    catalogue = load(path)
    mine = catalogue.entries[-1]
    assert (catalogue.licence(mine).redistribute, mine.languages) == ("no", ("da", "sv"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('name = "Mine"\n', ""), "lacks the key 'name'"),
        (("context", "contxt"), r"unknown key 'contxt'. Did you mean 'context'"),
        (('"decoder"', '"both"'), r"kind = 'both' is not one of encoder, decoder"),
        (('"mit"', '"mitt"'), r"licence 'mitt' is not described. Did you mean 'mit'"),
        (('["en"]', '"english"'), "no group of languages 'english'"),
        (('"2026-01"', '"January"'), "is not a month"),
        (("134_515_008", "200_000_000"), "parameters = 200,000,000, but its shape makes 134,515,008"),
        (("heads = 9", "heads = 9.5"), "shape heads = 9.5 is not a int of 0 or more"),
        (("layers = 30, ", ""), "shape lacks 'layers'"),
        (("intermediate = 1536, ", ""), "no feed-forward width"),
        (("kv_heads", "kv_hads"), "shape has an unknown key 'kv_hads'"),
        (("[[model]]", "[model]"), "'model' is not a list of rows"),
        (("[[model]]", "[[modell]]"), "unknown section 'modell'"),
        (("context = 2048", "context = "), "not valid TOML"),
    ],
)
def test_a_row_that_is_wrong_is_named_with_what_mends_it(
    tmp_path: Path, row: str, change: tuple[str, str], said: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(row.replace(*change))
    with pytest.raises(ModelError, match=said) as caught:
        load(path)
    assert str(path) in caught.value.what and caught.value.fix


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no catalogue file '.*none\.toml'"):
        load(tmp_path / "none.toml")


def test_an_entry_is_named_with_its_commit_where_one_is_known(catalogue: Catalogue) -> None:
    pinned = [entry for entry in catalogue.entries if entry.revision]
    assert pinned and all(entry.ref == f"{entry.hub}@{entry.revision}" for entry in pinned)
