"""The order of bases, as the documentation states it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smallworks.select import Catalogue, Machine, Needs, rank
from smallworks.select.ranking import distance

WHOLE = ("llama", "qwen2", "qwen3", "mistral")


def test_what_goes_the_whole_way_comes_first_then_what_can_be_tuned(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    bases = rank(needs_of(), laptop, catalogue, convertible=WHOLE).bases
    reach = [0 if fit.whole else 1 if fit.tuning else 2 for fit in bases]
    assert reach == sorted(reach) and set(reach) == {0, 1, 2}


def test_then_the_size_to_start_from_and_then_the_newer_one(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    first = [fit for fit in rank(needs_of(), laptop, catalogue, convertible=WHOLE).bases if fit.whole]
    general = [fit for fit in first if not fit.entry.code]
    keys = [(distance(fit.entry, "classify"), fit.entry.released) for fit in general]
    assert [size for size, _ in keys] == sorted(size for size, _ in keys)
    nearest = [month for size, month in keys if size == keys[0][0]]
    assert nearest == sorted(nearest, reverse=True)
    assert general[0].entry.hub == "Qwen/Qwen3-0.6B"


def test_models_for_code_come_first_only_where_code_is_asked_for(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    usual = [
        fit.entry.code for fit in rank(needs_of(), laptop, catalogue, convertible=WHOLE).bases if fit.whole
    ]
    assert usual == sorted(usual)
    asked = rank(needs_of(languages=("code",)), laptop, catalogue, convertible=WHOLE)
    assert asked.bases and all(fit.entry.code for fit in asked.bases)


def test_encoders_made_for_sentences_come_first_the_small_ones_before_the_large(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    encoders = rank(needs_of(), laptop, catalogue, convertible=WHOLE).encoders
    keys = [(not fit.entry.embedding, fit.entry.parameters) for fit in encoders]
    assert keys == sorted(keys) and encoders[0].entry.name == "all-MiniLM-L6-v2"


def test_every_model_is_ranked_or_ruled_out(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    ranking = rank(needs_of(use=("commercial",)), laptop, catalogue, convertible=WHOLE)
    named = [one.entry.hub for part in (ranking.bases, ranking.encoders, ranking.out) for one in part]
    assert sorted(named) == sorted(entry.hub for entry in catalogue.entries)
    assert all(one.reasons for part in (ranking.bases, ranking.encoders, ranking.out) for one in part)


def test_reasons_tell_conditions_gates_and_what_cannot_be_tuned(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    phone = replace(laptop, trains=False, memory=3 * 10**9)
    bases = {
        fit.entry.name: fit.reasons for fit in rank(needs_of(), phone, catalogue, convertible=WHOLE).bases
    }
    told = "; ".join(bases["Llama 3.2 1B"])
    assert "Built with Llama" in told and "gated" in told and "not to be tuned on this machine" in told


def test_the_bill_stands_beside_the_flagships(
    catalogue: Catalogue, laptop: Machine, needs_of: Callable[..., Needs]
) -> None:
    asked = needs_of(volume=10_000.0, flagship=0.001)
    reasons = rank(asked, laptop, catalogue, convertible=WHOLE).bases[0].reasons
    assert any("a month of machine time; the flagship $300.00" in reason for reason in reasons)
