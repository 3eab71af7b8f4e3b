"""The whole gate, step by step: lint, format, types, then every test. `python -m tests.gate [--fast]`.

`--fast` leaves out what needs a database, a browser or a model: lint, types, import rules, query headers.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAST_TESTS = ["tests/test_architecture.py", "tests/test_queries.py", "tests/circuits"]
STEPS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["pyright"],
    "tests": ["pytest", "-q", "-n", "2", "--dist", "loadfile"],
}


def main(arguments: list[str]) -> int:
    """Run the steps in order and stop at the first that fails; returns its exit code."""
    fast = "--fast" in arguments
    # Two cores: a second torch thread spins while it waits and slows both.
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), "HF_HUB_OFFLINE": "1"}
    for name, command in STEPS.items():
        began = time.perf_counter()
        tests = FAST_TESTS if fast and name == "tests" else []
        print(f"== {name}: {' '.join(command + tests)}", flush=True)
        code = subprocess.run([sys.executable, "-m", *command, *tests], cwd=ROOT, env=environment).returncode
        print(
            f"== {name}: {'ok' if code == 0 else f'failed ({code})'}, {time.perf_counter() - began:.0f} s", flush=True
        )
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
