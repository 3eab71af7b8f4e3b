"""The dashboard's server: Streamlit with our own routes in the same process, and how to start it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.pages_manager import PagesManager

from app.access import PASSWORD, Gate, is_loopback, new_password, password_of
from app.routes import ROUTES
from tracer.errors import CircuitError

HERE = Path(__file__).parent
SETTINGS = {  # as flags, because a person's own Streamlit settings must not turn them over
    "browser.gatherUsageStats": "false",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "runner.magicEnabled": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorLinks": "false",
}
Say = Callable[[str], None]
EVERYWHERE = ("0.0.0.0", "::")
PORT = 8501
START_LIMIT_S = 60  # seconds to wait for the page before opening it; a cold laptop needs ten
STOP_LIMIT_S = 10

# Streamlit takes a folder `pages` for the old way of making pages: a link to one would run it without main.py.
PagesManager.uses_pages_directory = False

app = st.App(HERE / "main.py", routes=ROUTES, middleware=[Middleware(Gate, password=password_of())])


def command(port: int, host: str = "127.0.0.1") -> list[str]:
    """The command line that serves the dashboard."""
    flags = SETTINGS | {"server.port": str(port), "server.address": host}
    if host in EVERYWHERE:
        flags["browser.serverAddress"] = "localhost"  # else Streamlit asks a server on the internet for our address
    return [sys.executable, "-m", "streamlit", "run", str(HERE / "serve.py"), *(f"--{k}={v}" for k, v in flags.items())]


def free_port(host: str = "127.0.0.1") -> int:
    """The usual port, or the next one that nothing listens on."""
    for port in range(PORT, PORT + 100):
        try:
            _check_free(port, host)
        except CircuitError:
            continue
        return port
    return PORT  # whoever listens on it says what is wrong


def launch(
    port: int = PORT, host: str = "127.0.0.1", open_browser: bool = True, expose: bool = False, say: Say = print
) -> int:
    """Serve the dashboard until it is stopped, and give its exit code.

    Args:
        expose: Let others in who have the password, which is made up and said where none is set.

    Raises:
        CircuitError: The port is taken, or others could reach the address and `expose` is not given.
        SettingError: The password that is set cannot be used.
    """
    if not expose and not is_loopback(host):
        raise CircuitError(
            f"{host} can be reached from other machines; expected a loopback address such as 127.0.0.1. To show your "
            "graphs to others all the same, add --expose: who comes in then needs a password, which is taken from "
            f"{PASSWORD} or a file named by {PASSWORD}_FILE, or made up and printed."
        )
    password = password_of()
    if expose and password is None:
        password = new_password()
        say(f"Password of the dashboard, until it is stopped: {password}")
    _check_free(port, host)
    page = f"http://{'127.0.0.1' if host in EVERYWHERE else host}:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that what follows below runs then as well
    # who knocks is not believed about where from, unless the user has named a proxy
    told = {"FORWARDED_ALLOW_IPS": ""} | os.environ
    process = subprocess.Popen(command(port, host), env=told | ({PASSWORD: password} if password else {}))
    if open_browser:
        threading.Thread(target=_open_when_ready, args=(page, process), daemon=True).start()
    try:
        return process.wait()
    except KeyboardInterrupt:  # Ctrl-C reached the child as well, which is closing
        return 0
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Let the server close, and make sure that it is gone."""
    process.terminate()
    try:
        process.wait(timeout=STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _check_free(port: int, host: str) -> None:
    try:
        with socket.create_server((host, port)):
            return
    except OverflowError:
        raise CircuitError(
            f"there is no port {port}; expected a number from 0 to 65535. Try `throughline app --port {PORT}`."
        ) from None
    except OSError as error:
        raise CircuitError(
            f"cannot listen on {host}:{port} ({error.strerror}); expected an address of this machine and a free port. "
            f"Try `throughline app --port {port + 1}`."
        ) from None


def _open_when_ready(page: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{page}/_stcore/health", timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            webbrowser.open(page)
            return
