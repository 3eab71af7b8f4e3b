"""`throughline`, also as `python -m app`: the command line, of which an interrupt is heard while it is still loaded."""

import sys

from app import INTERRUPTED


def main() -> None:
    """Run one command."""
    try:
        from app.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted before anything was begun.\n")
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
