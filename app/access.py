"""Who is let into the dashboard: on loopback this machine, and where others can reach it whoever has the password."""

import hashlib
import hmac
import html
import ipaddress
import os
import re
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tracer.errors import SettingError

PASSWORD = "THROUGHLINE_APP_PASSWORD"
PASSWORD_FILE = "THROUGHLINE_APP_PASSWORD_FILE"
LEAST_CHARACTERS = 12  # of a password: guessed at one a second, such a one holds
MOST_CHARACTERS = 1000
LOGIN_ROUTE = "/throughline/login"
HEALTH_ROUTE = "/_stcore/health"  # says `ok`, also to what watches over a container
COOKIE = "throughline_access"
STAY_S = 30 * 86_400
FREE_TRIES = 3  # that nobody has to wait after: people mistype
LONGEST_WAIT_S = 60.0
MOST_CLIENTS = 10_000  # whose wrong tries are remembered
WRONG = "This is not the password."
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Throughline</title>
<style>
:root {{color-scheme: light dark; --paper: #fff; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --main: #5b5bd6;
  --wrong: #c62a2f}}
@media (prefers-color-scheme: dark) {{:root {{--paper: #111317; --ink: #e6e8ec; --soft: #9ba1a9; --line: #3a3f46;
  --main: #6e6ade; --wrong: #ff9592}}}}
* {{box-sizing: border-box}}
body {{margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif}}
form {{width: min(22rem, 90vw); display: grid; gap: .75rem}}
h1 {{font-size: 1.4rem; margin: 0}} p {{margin: 0; color: var(--soft)}} p.wrong {{color: var(--wrong)}}
input, button {{font: inherit; padding: .55rem .75rem; border-radius: 8px; border: 1px solid var(--line); width: 100%;
  color: inherit; background: var(--paper)}}
button {{background: var(--main); border-color: var(--main); color: #fff; cursor: pointer}}
input:focus-visible, button:focus-visible {{outline: 2px solid var(--main); outline-offset: 2px}}
</style></head><body><form method="post" action="{action}">
<h1>Throughline</h1><p id="why">These graphs are shown to who has the password. It was printed where the dashboard was
started, or set there.</p>{said}
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus
  aria-describedby="why"><input type="hidden" name="next" value="{next}">
<button>Open</button></form></body></html>"""


def is_loopback(host: str) -> bool:
    """Whether an address or name leads to this machine alone.

    >>> [is_loopback(host) for host in ("127.0.0.1", "[::1]", "localhost", "0.0.0.0", "::", "192.168.0.7", "box", "")]
    [True, True, True, False, False, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback  # ::ffff:127.0.0.1 is 127.0.0.1


def password_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """The password that the environment or the file named there gives; None where neither is set.

    Raises:
        SettingError: It is too short or too long, or others than its owner may read the file.
    """
    given, file = environment.get(PASSWORD), environment.get(PASSWORD_FILE)
    if given is None and file is None:
        return None
    password, where = (_read_private(Path(file)), PASSWORD_FILE) if given is None and file else (given or "", PASSWORD)
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise SettingError(
            f"the password in {where} has {len(password)} characters; expected {LEAST_CHARACTERS} to "
            f"{MOST_CHARACTERS:,}. Set another, or unset it and one is made up and printed."
        )
    return password


def new_password() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(18)


def _read_private(path: Path) -> str:
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingError(
            f"{path}: cannot be read ({said}); expected a file with the password, as {PASSWORD_FILE} says. Make it."
        ) from None
    if os.name != "nt" and stat.S_IMODE(mode) & 0o077:  # Windows has no mode bits
        raise SettingError(
            f"{path}: others may read it (mode {stat.S_IMODE(mode):o}); expected a file for its owner alone. "
            f"Run: chmod 600 {path}"
        )
    return text.strip()


class Attempts:
    """Wrong tries of each client; after some of them it has to wait, each time twice as long.

    >>> now = [0.0]
    >>> attempts = Attempts(lambda: now[0])
    >>> for _ in range(4):
    ...     attempts.failed("a")
    >>> attempts.wait_s("a"), attempts.wait_s("b")
    (2.0, 0.0)
    >>> now[0] = 2.0
    >>> attempts.wait_s("a")
    0.0
    """

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Seconds until this client may try again."""
        return max(0.0, self._of.get(client, (0, 0.0))[1] - self._clock())

    def failed(self, client: str) -> None:
        """Count a wrong try."""
        times = self._of.pop(client, (0, 0.0))[0] + 1
        wait_s = min(LONGEST_WAIT_S, 2.0 ** min(times - FREE_TRIES, 10)) if times > FREE_TRIES else 0.0
        self._of[client] = times, self._clock() + wait_s
        if len(self._of) > MOST_CLIENTS:
            self._of.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forget its wrong tries."""
        self._of.pop(client, None)


class Gate:
    """Stands before every page, route and connection of the dashboard.

    Without a password it lets in who asks for a name of this machine: a page from elsewhere whose name was made to
    lead here cannot read along. With one it lets in who has logged in, whatever the name. A connection for messages
    must come from a page of ours in either case.
    """

    def __init__(self, app: ASGIApp, password: str | None):
        self._app = app
        self._digest = None if password is None else _digest(password)
        self._sessions: dict[bytes, float] = {}
        self._attempts = Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):  # the server's own start and stop
            return await self._app(scope, receive, send)
        asked = HTTPConnection(scope)
        refusal = await self._refusal(asked, receive)
        if refusal is None:
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        await refusal(scope, receive, send)

    async def _refusal(self, asked: HTTPConnection, receive: Receive) -> Response | None:
        """What is answered in place of what was asked for; None lets it pass."""
        if asked.scope["type"] == "websocket" and not _is_own_page(asked):
            return PlainTextResponse("a page of another site", 403, HEADERS)
        if self._digest is None:
            return None if _is_from_here(asked) else _elsewhere(asked)
        if asked.url.path == HEALTH_ROUTE or self._knows(asked.cookies.get(COOKIE, "")):
            return None
        if asked.scope["type"] == "http" and asked.url.path == LOGIN_ROUTE and asked.scope["method"] == "POST":
            return await self._log_in(Request(asked.scope, receive))
        if asked.scope["type"] == "http" and "text/html" in asked.headers.get("accept", ""):
            return _page(asked.url.path + (f"?{asked.url.query}" if asked.url.query else ""))
        return PlainTextResponse("The password is missing: open the dashboard and log in.", 401, HEADERS)

    async def _log_in(self, request: Request) -> Response:
        client = _client(request)
        form = parse_qs((await _body(request)).decode("utf-8", "replace"))
        after, given = (form.get(name, [""])[0] for name in ("next", "password"))
        if wait_s := self._attempts.wait_s(client):
            return _page(after, f"Too many tries. Wait {wait_s:.0f} s and try again.", 429)
        if not hmac.compare_digest(_digest(given), self._digest or b""):
            self._attempts.failed(client)
            return _page(after, WRONG, 401)
        self._attempts.succeeded(client)
        answer = RedirectResponse(_own_address(after), 303, HEADERS)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, self._new_session(), STAY_S, httponly=True, samesite="lax", secure=secure)
        return answer

    def _new_session(self) -> str:
        now, ticket = time.time(), secrets.token_urlsafe(32)
        self._sessions = {digest: until for digest, until in self._sessions.items() if until > now}
        self._sessions[_digest(ticket)] = now + STAY_S
        return ticket

    def _knows(self, ticket: str) -> bool:
        return self._sessions.get(_digest(ticket), 0.0) > time.time()  # by its digest: no timing tells of a ticket


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _page(after: str, said: str = "", status: int = 401) -> HTMLResponse:
    told = f'<p class="wrong" role="alert">{html.escape(said)}</p>' if said else ""
    text = PAGE.format(action=LOGIN_ROUTE, said=told, next=html.escape(_own_address(after)))
    return HTMLResponse(text, status, HEADERS)


def _elsewhere(asked: HTTPConnection) -> Response:
    return PlainTextResponse(
        f"This dashboard was asked for as {_name(asked.headers.get('host', ''))!r}; expected a name of this machine, "
        "as 127.0.0.1 or localhost. To reach it under another name, start it with --expose: it then has a password.\n",
        421,
        HEADERS,
    )


def _is_from_here(asked: HTTPConnection) -> bool:
    """Whether this machine asks itself, by one of its own names."""
    return is_loopback(_name(asked.headers.get("host", ""))) and (
        asked.client is None or is_loopback(asked.client.host)
    )


def _own_address(address: str) -> str:
    """The same address where it is one of ours, else that of the first page: nobody is led elsewhere.

    >>> [_own_address(text) for text in ("/cypher?q=RETURN 1", "//evil.example", "/\\\\evil.example", "https://x", "")]
    ['/cypher?q=RETURN 1', '/', '/', '/', '/']
    """
    ours = re.fullmatch(r"/(?![/\\])[^\x00-\x1f\x7f\\]*", address)
    return address if ours and not address.startswith(LOGIN_ROUTE) else "/"


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_own_page(asked: HTTPConnection) -> bool:
    """Whether the page that connects was served from here; what is no browser names none."""
    origin = asked.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == asked.headers.get("host")


def _client(request: Request) -> str:
    """Where a try comes from; of an IPv6 address the part that one household shares."""
    host = request.client.host if request.client else ""
    return host if ":" not in host or "." in host else ":".join(ipaddress.ip_address(host).exploded.split(":")[:4])


async def _body(request: Request) -> bytes:
    """What was sent, as far as a password goes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > 16 * MOST_CHARACTERS:
            return b""
    return body
