"""`smallworks demo`: the whole journey on the sample task, offline, in minutes."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from smallworks.cli import talk
from smallworks.cli.table import show
from smallworks.types import Table


def demo(*, out: Path = Path("smallworks-demo"), json: bool = False) -> None:
    """Build the sample task offline, serve the winner and ask it a question.

    Parameters
    ----------
    out
        Where the demonstration works; running it again goes on from what is there.
    json
        One JSON document on stdout.
    """
    from smallworks.recipes.demo import ask, demonstrate
    from smallworks.recipes.table import to_json

    talk.remark("[bold]Smallworks[/bold] sorts support tickets: 800 of them, three kinds, no network.")
    with talk.progress() as progress:
        _, table = demonstrate(out / "tickets", progress=progress)
    if not json:
        show(table)
        _story(table)
    talk.remark("Serving the chosen bundle on loopback and asking it one question …")
    asked = ask(table)
    if json:
        talk.print_json({**to_json(table), "asked": asked.__dict__})
        return
    ranked = sorted(asked.probabilities.items(), key=lambda item: -item[1])
    talk.out.print(f"\n[bold]asked[/bold]   {escape(asked.question)}", highlight=False, soft_wrap=True)
    said = ", ".join(f"{label} {p:.2f}" for label, p in ranked)
    talk.out.print(
        f"[bold]said[/bold]    {asked.answer}  ({said}), over HTTP with {asked.client}", highlight=False
    )
    talk.out.print(
        f"\n[bold]Serve it yourself[/bold]\n  smallworks serve {table.chosen}\n  {escape(asked.curl)}\n"
        "\n[bold]Your own task[/bold]\n  smallworks init mytask --kind classify\n"
        "  # put your rows into mytask/data, then\n  smallworks build mytask",
        highlight=False,
        soft_wrap=True,
    )


def _story(table: Table) -> None:
    """What the table says, in sentences that are computed from it."""
    rows = {row.name: row for row in table.rows}
    value = {row.name: row.metric.value for row in table.rows if row.metric}
    tuned = max((name for name in value if name.startswith("lm-lora")), key=value.__getitem__, default=None)
    if tuned and "linear" in value:
        verb = "beats" if value[tuned] > value["linear"] else "does not beat"
        untuned = f"; untuned it stands at {value['lm-zero']:.3f}" if "lm-zero" in value else ""
        figures = f"{value[tuned]:.3f} against {value['linear']:.3f}{untuned}"
        talk.out.print(f"{tuned} {verb} the linear model: {figures}.", highlight=False, soft_wrap=True)
    flagship = rows["flagship"].cost_per_1000 if "flagship" in rows else None
    own = rows[table.chosen_name].cost_per_1000 if table.chosen_name else None
    if flagship and own:
        remark = (
            f"The flagship costs ${flagship:.2f} per 1,000 requests at its list price, "
            f"{table.chosen_name} ${own:.2g} of machine time."
        )
        talk.out.print(remark, highlight=False, soft_wrap=True)
