"""Fixtures of the dashboard's tests: graphs in a real store, the real server, a real browser."""

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import streamlit as st
from playwright.sync_api import Browser, Page, Route, sync_playwright

from app.serve import command
from ingest.library import default_library
from ingest.store import GraphStore, open_store
from tests.app.chromium import FLAGS, find_chromium
from tests.app.graphs import capital_graph
from tests.neo4j_fixture import CLEAR

ROOT = Path(__file__).parent.parent.parent
START_LIMIT_S = 90


@pytest.fixture(scope="module")
def empty_store(neo4j_home: Path) -> Iterator[GraphStore]:
    """The session's database with nothing in it, and no page that remembers what was in it before."""
    with open_store() as store:
        store._client.run_schema(CLEAR)
        st.cache_data.clear()
        st.cache_resource.clear()
        yield store


@pytest.fixture(scope="module")
def loaded(empty_store: GraphStore) -> dict[str, str]:
    """Two small graphs in the store and the library: slug -> graph_id."""
    graphs = [capital_graph(), capital_graph("Oakland", "California", "Sacramento")]
    for graph in graphs:
        default_library().add(graph)
        empty_store.add(graph)
    st.cache_data.clear()  # the list of graphs is kept for some seconds
    return {graph.metadata.slug: graph.graph_id for graph in graphs}


@pytest.fixture(scope="module")
def server(loaded: dict[str, str]) -> Iterator[str]:
    """Address of the real dashboard on a free port."""
    with running_server() as address:
        yield address


@contextmanager
def running_server(script: Path | None = None) -> Iterator[str]:
    """Address of the real dashboard on a free port until the block ends.

    Args:
        script: Started in place of `app/serve.py`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = [str(script) if script and part.endswith("serve.py") else part for part in command(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + START_LIMIT_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                pytest.fail(f"the dashboard did not start: {process.communicate()[0].decode()[-2000:]}")
            time.sleep(0.2)
    yield address
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(playwright), headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """A page in a window of its own; script errors and requests to the outside fail the test."""
    with guarded_page(browser, server) as opened:
        yield opened


@contextmanager
def guarded_page(browser: Browser, server: str) -> Iterator[Page]:
    """The same for any server."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, base_url=server)
    opened, errors, outside = context.new_page(), [], []

    def guard(route: Route) -> None:
        if route.request.url.startswith((server, "data:", "blob:")):
            return route.continue_()
        outside.append(route.request.url)
        route.abort()

    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.route("**/*", guard)
    yield opened
    context.close()
    assert not errors
    assert not outside, "the dashboard asked for something outside this machine"
