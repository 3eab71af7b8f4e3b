"""The dashboard and the command line."""

INTERRUPTED = 130  # exit code, as shells have it for Ctrl-C
