"""A program that ends with the one that started it, however that ends: run as a script, with a pipe to it as input.

    python leash.py PROGRAM ARGUMENT…

Whoever holds the other end of the pipe and dies, or lets it go, ends the program.
"""

import os
import subprocess
import sys
import threading


def main() -> int:
    """Run the program; returns its exit status."""
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def watch() -> None:
        while os.read(0, 1):  # not by sys.stdin, on whose lock the end of this program would wait
            pass
        program.kill()

    threading.Thread(target=watch, daemon=True).start()
    return program.wait()


if __name__ == "__main__":
    sys.exit(main())
