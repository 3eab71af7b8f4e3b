"""A search for circuits that takes long: what was found so far is shown, a button ends it, another takes it up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from playwright.sync_api import Browser, expect

from ingest.library import default_library
from ingest.store import GraphStore
from tests.app.conftest import guarded_page, running_server
from tests.app.graphs import capital_graph

CITIES = ("Dallas", "Houston", "Waco", "Laredo", "Plano", "Irving", "Lubbock", "Garland", "Frisco", "Denton")
SLOW_S = 1.5  # a graph: longer than a search stays quiet
SLOW = f"""
import time
from ingest.search import CircuitSearch
step = CircuitSearch.step
def slow_step(search):
    time.sleep(0 if search.complete else {SLOW_S})
    return step(search)
CircuitSearch.step = slow_step
import streamlit as st
from app.routes import ROUTES
from app.serve import HERE
app = st.App(HERE / "main.py", routes=ROUTES)  # Streamlit looks for this in the text of the script
"""


@pytest.fixture(scope="module")
def slow_server(empty_store: GraphStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard over ten graphs, each of which takes as long as a large one."""
    for city in CITIES:
        graph = capital_graph(city)
        default_library().add(graph)
        empty_store.add(graph)
    st.cache_data.clear()
    script: Path = tmp_path_factory.mktemp("slow") / "slow_serve.py"
    script.write_text(SLOW)
    with running_server(script) as address:
        yield address


def test_a_search_is_cancelled_with_what_it_found_and_taken_up_again(browser: Browser, slow_server: str):
    with guarded_page(browser, slow_server) as page:
        page.goto("/circuits?p=*+->+Texas+->+Austin")
        page.get_by_role("button", name="Cancel").click(timeout=90_000)
        stopped = page.get_by_text("The rest was not searched.")
        expect(stopped).to_be_visible(timeout=60_000)
        expect(page.get_by_text(" of 10 graphs. The rest")).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        expect(page.get_by_text("graphs have this circuit")).to_be_visible()
        expect(page.get_by_text("10 of 10 graphs have this circuit")).to_have_count(0)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("10 of 10 graphs have this circuit")).to_be_visible(timeout=90_000)
        expect(stopped).to_have_count(0)
