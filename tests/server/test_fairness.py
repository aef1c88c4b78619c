"""Keys take turns at a real server: a newcomer does not wait behind somebody else's queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx2

from smallworks.engines.fake import Fake
from smallworks.engines.predictor import Predictor
from smallworks.server import KeyFile, background, create_app
from smallworks.types import Completion, Prompt, Sampling


class Gated(Fake):
    """Answers one after another once it may, and knows in which order it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.asked: list[str] = []

    def generate(self, prompt: Prompt, sampling: Sampling, *, cancel: Event | None = None) -> Completion:
        self.asked.append(prompt.text)
        self.go.wait(30)
        return super().generate(prompt, sampling, cancel=cancel)


def waiting(url: str, text: str, number: int) -> bool:
    """Whether so many come to wait in line."""
    deadline = time.monotonic() + 30
    line = f'smallworks_waiting{{bundle="gated"}} {number}.0'
    while line not in httpx2.get(f"{url}/metrics", headers={"authorization": f"Bearer {text}"}).text:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_newcomer_is_served_after_at_most_one_of_a_crowd(
    writing: Callable[..., Predictor], tmp_path: Path
) -> None:
    model: Any = Gated()
    with KeyFile(tmp_path / "keys.sqlite", create=True) as keys, ThreadPoolExecutor(32) as pool:
        crowd, newcomer, scraper = (
            keys.add(name, scopes=("answers", "metrics"))[1] for name in ("crowd", "newcomer", "scraper")
        )
        app = create_app({"gated": writing(model, engine="transformers")}, default="gated", keys=keys)
        with background(app) as url:

            def ask(key: str, text: str) -> int:
                headers = {"authorization": f"Bearer {key}"}
                body = {"input_text": text}
                return httpx2.post(f"{url}/generate", json=body, headers=headers, timeout=60).status_code

            replies = [pool.submit(ask, crowd, f"crowd {number}") for number in range(20)]
            assert waiting(url, scraper, 19)
            replies.append(pool.submit(ask, newcomer, "newcomer"))
            assert waiting(url, scraper, 20)
            model.go.set()
            assert [reply.result(60) for reply in replies] == [200] * 21
    served = ["newcomer" in text for text in model.asked]
    assert served.index(True) <= 2
