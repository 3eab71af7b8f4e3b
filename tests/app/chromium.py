"""Where to find a Chromium to test and to measure with."""

import os
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
REMEDY = (
    "no Chromium was found; expected one named by THROUGHLINE_CHROMIUM, on PATH, or installed by Playwright. "
    "Run: python -m playwright install chromium"
)


def find_chromium(playwright: Playwright) -> str:
    """Path of a Chromium: THROUGHLINE_CHROMIUM, on PATH, Playwright's own, or installed now by apt where one may.

    Raises:
        FileNotFoundError: There is none; the message has the command to run.
    """
    named = os.environ.get("THROUGHLINE_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found and Path(playwright.chromium.executable_path).exists():
        found = playwright.chromium.executable_path
    if not found and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "-q", "chromium"], check=False)
        found = shutil.which("chromium")
    if not found:
        raise FileNotFoundError(REMEDY)
    return found
