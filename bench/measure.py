"""Best time of a piece of work, and a table of ours against the other way."""

import time
from collections.abc import Callable, Sequence
from typing import Any


def best_seconds(work: Callable[..., Any], *arguments: Any, repeat: int = 5) -> tuple[float, Any]:
    """Shortest wall time of `repeat` runs of `work(*arguments)` in seconds, and what the last run returned."""
    times, result = [], None
    for _ in range(repeat):
        began = time.perf_counter()
        result = work(*arguments)
        times.append(time.perf_counter() - began)
    return min(times), result


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |", flush=True)
