"""The dashboard is for this machine; where others reach it, nothing is shown without the password."""

import os
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app import access, serve
from app.access import LOGIN_ROUTE, PASSWORD, PASSWORD_FILE, Gate, password_of
from app.routes import graph_address
from tracer.errors import CircuitError, SettingError

SECRET = "open sesame, please"
HTML = {"accept": "text/html"}


async def secret(request) -> PlainTextResponse:
    return PlainTextResponse("a graph")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("a graph")


def visitor(password: str | None, base: str = "http://127.0.0.1:8501", client: str = "127.0.0.1") -> TestClient:
    routes = [Route("/{path:path}", secret), WebSocketRoute("/_stcore/stream", talk)]
    app = Starlette(routes=routes, middleware=[Middleware(Gate, password=password)])
    return TestClient(app, base_url=base, client=(client, 1), follow_redirects=False)


def test_another_address_than_loopback_is_refused_with_what_to_do():
    for host in ("0.0.0.0", "::", "192.168.0.7", "some-box"):
        with pytest.raises(CircuitError, match=r"reached from other machines.*127\.0\.0\.1.*--expose.*password"):
            serve.launch(host=host, open_browser=False)


@pytest.mark.parametrize("host", ["127.0.0.1:8501", "localhost", "[::1]:8501", "LOCALHOST:9"])
def test_this_machine_needs_no_password(host):
    assert visitor(None).get("/", headers={"host": host}).text == "a graph"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "192.168.0.7:8501", "127.0.0.1.evil.example", "["]
)
def test_a_page_whose_name_was_made_to_lead_here_reads_nothing(host):
    answer = visitor(None).get("/", headers={"host": host})
    assert answer.status_code == 421 and "--expose" in answer.text


def test_another_machine_that_claims_to_be_this_one_reads_nothing():
    assert visitor(None, client="192.168.0.7").get("/").status_code == 421


def test_only_a_page_of_ours_connects():
    address = "ws://127.0.0.1:8501/_stcore/stream"
    with visitor(None).websocket_connect(address, headers={"origin": "http://127.0.0.1:8501"}) as connection:
        assert connection.receive_text() == "a graph"
    for origin in ("http://evil.example", "http://127.0.0.1:80", "null"):
        with pytest.raises(WebSocketDisconnect), visitor(None).websocket_connect(address, headers={"origin": origin}):
            pass


def test_without_the_password_there_is_the_question_for_it_and_nothing_else():
    guest = visitor(SECRET, "http://box:8501", "192.168.0.7")
    for path in (
        "/",
        "/cypher?q=RETURN+1",
        "/static/x.js",
        graph_address("0" * 16, "1"),
        "/media/x",
        "/_stcore/metrics",
    ):
        page = guest.get(path, headers=HTML)
        assert page.status_code == 401 and 'type="password"' in page.text and "a graph" not in page.text
        assert "no-store" in page.headers["cache-control"] and SECRET not in page.text
        assert guest.get(path).status_code == 401
        assert guest.post(path).status_code == 401
    with pytest.raises(WebSocketDisconnect), guest.websocket_connect("ws://box:8501/_stcore/stream"):
        pass
    assert guest.get("/_stcore/health").status_code == 200


def test_the_password_opens_what_was_asked_for():
    guest = visitor(SECRET, "http://box:8501", "192.168.0.7")
    answer = guest.post(LOGIN_ROUTE, data={"password": SECRET, "next": "/cypher?q=RETURN+1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/cypher?q=RETURN+1")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and SECRET not in cookie
    assert guest.get("/").text == "a graph"
    with guest.websocket_connect("ws://box:8501/_stcore/stream", headers={"origin": "http://box:8501"}) as connection:
        assert connection.receive_text() == "a graph"
    assert visitor(SECRET, "http://box:8501").get("/", cookies={access.COOKIE: "made up"}).status_code == 401


def test_over_https_the_ticket_never_travels_in_the_clear():
    answer = visitor(SECRET, "https://box").post(LOGIN_ROUTE, data={"password": SECRET})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "after", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nx: y", '"><script>']
)
def test_nobody_is_led_elsewhere(after):
    answer = visitor(SECRET).post(LOGIN_ROUTE, data={"password": SECRET, "next": after})
    assert answer.headers["location"] == "/"


def test_an_address_cannot_write_into_the_page():
    page = visitor(SECRET).get('/?q="><script>alert(1)</script>', headers=HTML)
    assert "<script" not in page.text


def test_wrong_tries_are_slowed_down_for_that_client_even_if_the_next_is_right(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(access.Attempts.__init__, "__defaults__", (lambda: now[0],))
    guest = visitor(SECRET)
    codes = [guest.post(LOGIN_ROUTE, data={"password": f"guess {at}"}).status_code for at in range(6)]
    assert codes == [401, 401, 401, 401, 429, 429]
    assert guest.post(LOGIN_ROUTE, data={"password": SECRET}).status_code == 429
    waits = []
    for _ in range(8):
        began = now[0]
        while (answer := guest.post(LOGIN_ROUTE, data={"password": "wrong"})).status_code == 429:
            assert "Wait" in answer.text
            now[0] += 0.5
        waits.append(now[0] - began)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    now[0] += 60
    assert guest.post(LOGIN_ROUTE, data={"password": SECRET}).status_code == 303


def test_a_flood_is_no_password():
    assert visitor(SECRET).post(LOGIN_ROUTE, content=b"password=" + b"x" * 10_000_000).status_code == 401


def test_passwords_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(access.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or False)
    for guess in ("", "x", SECRET, "é" * 500):
        assert visitor(SECRET).post(LOGIN_ROUTE, data={"password": guess}).status_code == 401
    assert compared == [(32, 32)] * 4


def test_the_password_comes_from_the_environment_or_from_a_file_of_its_owner(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    assert password_of({}) is None
    assert password_of({PASSWORD: SECRET}) == password_of({PASSWORD_FILE: str(file)}) == SECRET
    with pytest.raises(SettingError, match="has 5 characters; expected 12"):
        password_of({PASSWORD: "short"})
    with pytest.raises(SettingError, match="cannot be read"):
        password_of({PASSWORD_FILE: str(tmp_path / "none")})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no mode bits")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int):
    file = tmp_path / "password"
    file.write_text(SECRET)
    file.chmod(mode)
    with pytest.raises(SettingError, match=f"others may read it.*mode {mode:o}.*chmod 600"):
        password_of({PASSWORD_FILE: str(file)})
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.fixture(scope="module")
def exposed(loaded: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Address and password of a dashboard that listens on every address of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app.cli", "app", "--host", "0.0.0.0", "--expose", "--port", str(port)]
    process = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = process.stdout.readline()
    assert said.startswith("Password of the dashboard")
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 90
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            break
        except OSError:
            time.sleep(0.2)
    yield address, said.rpartition(" ")[2].strip()
    process.terminate()
    said = process.communicate(timeout=30)[0]
    assert "External URL" not in said  # which Streamlit would have asked the internet for


def test_a_browser_is_asked_for_the_password_and_then_shown_what_it_wanted(browser: Browser, exposed, loaded):
    address, password = exposed
    context = browser.new_context(base_url=address)
    page = context.new_page()
    graph = graph_address(loaded["dallas-demo"], "1")
    for path in (graph, "/_stcore/host-config", "/throughline/js/1/view.js", "/static/index.html"):
        assert context.request.get(path).status == 401, path
    page.goto("/?g=dallas-demo")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type("not this one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the password.")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Open").click()
    expect(page.locator(".ag[data-ready]")).to_be_visible(timeout=60_000)
    assert "g=dallas-demo" in page.url
    assert context.request.get(graph).status == 200
    context.close()
