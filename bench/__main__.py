"""Run every measurement: `python -m bench [NAME...]`, names as the modules of this folder."""

import importlib
import sys

MEASUREMENTS = (
    "tracer", "circuits", "across", "store", "dashboard", "demo_model", "ledger", "hops", "walks", "queries",
)  # fmt: skip


def main(names: list[str]) -> None:
    """Run these measurements, all if none is named, and print their tables."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"no measurement is called {unknown[0]!r}; expected some of {', '.join(MEASUREMENTS)}.")
    for name in names or MEASUREMENTS:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
