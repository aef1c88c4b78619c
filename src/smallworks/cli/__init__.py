"""The command line: one file a command, imported only when asked for; results on stdout, talk on stderr.

Exit codes: 0 done, 2 the user's to mend, 1 ours, 3 a verdict that is not a pass (where a command says so;
`gate` alone tells a fail, 1, from an undecided verdict, 3). `data check` ends with 1 for rows to be mended.
"""

from __future__ import annotations

import gc
import sys

from cyclopts import App, CycloptsError, Group, Parameter

from smallworks import __version__
from smallworks.errors import SmallworksError

PLAIN = Parameter(negative="")
"""A switch is on when named; there is no --no-switch."""
HELP = "Graduate a narrow task from a flagship LLM to a small model you own, and prove it."
GROUPS = {
    "Start": {
        "demo": "Build the sample task offline, serve the winner and ask it a question.",
        "init": "Write a new task folder: a commented task.toml and a place for the data.",
        "recommend": "Which base model to start from, and whether a small model is right at all.",
        "fetch": "Fetch a model of the hub: sizes first, pinned to a commit, every file checked.",
        "doctor": "What this machine has, and what each missing extra would give.",
    },
    "Make": {
        "data": "Check rows, clean them of duplicates, leaks and personal data, split, label and write them.",
        "build": "Measure every candidate for a task, choose one, freeze it, report.",
        "tune": "Tune and freeze one language model candidate; shows what it will learn from first.",
        "quantize": "Smaller forms of a bundle, frozen and measured against it.",
        "route": "A cascade of bundles: each hands over to the next where it is not sure enough.",
        "export": "A folder for transformers, llama.cpp, Ollama, ONNX or Docker, to use without Smallworks.",
    },
    "Prove": {
        "evaluate": "Measure a bundle on labelled rows.",
        "compare": "Two bundles on the same rows, paired.",
        "gate": "Pass, fail or undecided, for CI: good enough, or no worse than another?",
        "verify": "Prove that a bundle is what was frozen and answers as its golden rows say.",
        "safety": "What a model refuses, rightly or needlessly, and whose instructions it follows.",
        "rate": "Rating sheets for people, blind, and what they said.",
        "lmeval": "Public benchmarks (GSM8K, MMLU, HumanEval …) through lm-eval.",
        "schedule": "Run the checks of a file that are due, for cron or systemd.",
    },
    "Use": {
        "serve": "Serve bundles behind an OpenAI-shaped API.",
        "release": "Names that point at bundles: promote, roll back, list.",
        "traces": "What a server answered: list it, or export it as examples.",
        "guard": "Check a policy of guards, and try it on texts, before it is served.",
        "keys": "Keys for the server: add, list, usage, change, rotate, revoke.",
        "bench": "Latency and throughput of a server under load.",
        "generate": "One answer from a bundle or a base model.",
        "chat": "Talk with a language model, streaming.",
        "index": "A folder of documents in one file that can be asked: only what changed is read.",
        "ask": "An answer from an index of documents with what it rests on, or that they do not tell.",
    },
}
"""What the help shows, in the order of a journey."""
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}


def app() -> App:
    """The whole command line; a command's module is imported when it is called."""
    whole = App(
        name="smallworks",
        help=HELP,
        version=__version__,
        result_action="return_value",
        default_parameter=PLAIN,
        suppress_keyboard_interrupt=False,
    )
    for place, (title, commands) in enumerate(GROUPS.items()):
        group = Group(title, sort_key=place)
        for name, summary in commands.items():
            whole.command(f"smallworks.cli.{name}:{name}", name=name, help=summary, group=group)
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Run and exit. Errors of ours become one sentence with the fix on stderr."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    if arguments[:1] == ["serve"]:
        gc.disable()  # until it listens: looking for garbage among all that is loaded takes an eighth of it
    try:
        code = app()(arguments, exit_on_error=False)
    except CycloptsError:
        return 2
    except SmallworksError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. Finished steps are kept: the same command goes on from here.\n")
        return 130
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0
