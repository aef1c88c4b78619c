"""Search the learning rate and the rank of a tuning: trials judged on the validation rows, the best one kept.

The study lies in an SQLite file beside the tunings, so that the same command goes on where it stopped.
Test rows are never seen here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

from smallworks.errors import MissingExtra, UserError
from smallworks.recipes.tuning import FOLDER, Dials, options_of, reads_of, request_of, step_of, tuned
from smallworks.recipes.workshop import Workshop
from smallworks.tune.options import learning_rate

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Asked

STUDY = "study.db"
RANKS = (4, 8, 16, 32, 64)
AROUND = 5.0
"""The rate is searched from a fifth of what the rules say to five times as much."""
FEWEST, MOST = 2, 500
STARTUP = 3
"""Whole trials before any is pruned: those before it are what a trial is compared with."""
State = Literal["whole", "pruned"]
STATES: Mapping[str, State] = {"COMPLETE": "whole", "PRUNED": "pruned"}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One tuning of the sweep. `loss` is its best on the validation rows, of a pruned one its last."""

    number: int
    learning_rate: float
    rank: int | None
    state: State
    loss: float | None
    steps: int
    seconds: float


def check(dials: Dials, trials: int) -> None:
    """Raises UserError or MissingExtra for a sweep that cannot run, before anything is read."""
    if not FEWEST <= trials <= MOST:
        raise UserError(f"--sweep {trials} is not {FEWEST} to {MOST} trials.", fix="Try --sweep 12.")
    if not _searched(dials):
        raise UserError(
            "--sweep has nothing to search: learning rate and rank are both given.", fix="Leave one out."
        )
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtra("optuna", extra="sweep", wanted_for="--sweep") from error


def sweep(shop: Workshop, dials: Dials, trials: int) -> tuple[tuple[Trial, ...], Dials]:
    """Up to `trials` tunings in all, those of earlier runs counted; all of them, and the dials of the best.

    The first trial is what the rules say. What is given in `dials` is not searched. The weights of the best
    are kept, those of the others deleted.
    """
    import optuna

    if not shop.splits.validation:
        raise UserError("A sweep is judged on validation rows, and there are none.", fix="Give more rows.")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, usual = _study(shop, dials), _usual(shop, dials)
    if not study.trials:
        study.enqueue_trial(usual)
    for broken in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(broken.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(broken.params)
    while _done(study) < trials:
        # A sampler of its own for every trial: what it draws depends on the trials before, not on a resume.
        seed = shop.task.build.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        _run(shop, dials, study, study.ask(_space(dials, usual)), trials)
    told = tuple(map(_told, (t for t in study.trials if t.state.name in STATES)))
    if (best := _best(study)) is None:
        raise UserError(
            f"None of the {len(told)} trials came to an end: the loss of each was no number.",
            fix="Give --learning-rate a smaller value than theirs.",
        )
    return told, replace(dials, **best.params)


def _run(shop: Workshop, dials: Dials, study: Study, asked: Asked, trials: int) -> None:
    import optuna

    chosen = replace(dials, **asked.params)
    shop.progress("sweep", _done(study), trials, _words(asked.params))

    def validated(step: int, loss: float) -> None:
        if isnan(loss):
            raise optuna.TrialPruned
        asked.report(loss, step)
        asked.set_user_attr("steps", step)
        if asked.should_prune():
            raise optuna.TrialPruned

    try:
        result = tuned(shop, chosen, validated=validated)
    except optuna.TrialPruned:
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        _forget(shop, chosen)
        return
    assert result.best_val_loss is not None
    before = _best(study)
    asked.set_user_attr("steps", result.steps)
    study.tell(asked, result.best_val_loss)
    best = study.best_trial
    for loser in (before.params if before else {}, asked.params):
        if loser and loser != best.params:
            _forget(shop, replace(dials, **loser))


def _study(shop: Workshop, dials: Dials) -> Study:
    import optuna

    reads = reads_of(shop, options_of(shop, dials))
    folder = shop.steps.folder_of("sweep", reads)
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name="sweep",
        storage=f"sqlite:///{(folder / STUDY).resolve()}",
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1),
    )


def _usual(shop: Workshop, dials: Dials) -> dict[str, Any]:
    """What the rules say of all that is searched."""
    request, _ = request_of(shop, dials, shop.steps.folder)
    rules = {"learning_rate": learning_rate(request), "rank": request.options.rank}
    return {name: rules[name] for name in _searched(dials)}


def _searched(dials: Dials) -> tuple[str, ...]:
    rate = ("learning_rate",) if dials.learning_rate is None else ()
    return rate if dials.method == "full" or dials.rank is not None else (*rate, "rank")


def _space(dials: Dials, usual: Mapping[str, Any]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    space: dict[str, Any] = {}
    if "learning_rate" in usual:
        rate = usual["learning_rate"]
        space["learning_rate"] = FloatDistribution(rate / AROUND, min(1.0, rate * AROUND), log=True)
    if "rank" in usual:
        space["rank"] = CategoricalDistribution(RANKS)
    return space


def _words(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in sorted(params.items()))


def _done(study: Study) -> int:
    return sum(trial.state.name in STATES for trial in study.trials)


def _best(study: Study) -> FrozenTrial | None:
    return study.best_trial if any(trial.state.name == "COMPLETE" for trial in study.trials) else None


def _forget(shop: Workshop, dials: Dials) -> None:
    """Delete a trial's weights: the study keeps what they came to."""
    reads = reads_of(shop, options_of(shop, dials))
    shop.steps.forget(step_of(dials), reads)
    shutil.rmtree(shop.steps.folder_of(step_of(dials), reads) / FOLDER, ignore_errors=True)


def _told(trial: FrozenTrial) -> Trial:
    last = trial.intermediate_values.get(max(trial.intermediate_values, default=0))
    return Trial(
        number=trial.number,
        learning_rate=trial.params.get("learning_rate", 0.0),
        rank=trial.params.get("rank"),
        state=STATES[trial.state.name],
        loss=trial.value if trial.state.name == "COMPLETE" else last,
        steps=int(trial.user_attrs.get("steps", 0)),
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
    )
