"""Loading weights in compressed-tensors says nothing, and leaves the terminal as it was."""

from __future__ import annotations

import warnings

from tqdm import tqdm

from smallworks.engines.compressed import quiet


def test_two_loads_at_once_leave_bars_as_they_were() -> None:
    shown, filters = vars(tqdm)["__init__"], list(warnings.filters)
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert tqdm(range(2)).disable, "the second load is still going on"
    second.__exit__(None, None, None)
    assert vars(tqdm)["__init__"] is shown and warnings.filters == filters
