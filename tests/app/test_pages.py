"""The pages in Streamlit's own test runner: what they say where there is nothing, and where something is broken."""

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cached, cli, looking
from app.ask import Question
from app.markdown import escaped
from app.serve import command, launch
from ingest import guard
from ingest.store import GraphStore
from tracer.errors import CircuitError, QueryError

MAIN = Path(__file__).parent.parent.parent / "app" / "main.py"


def open_page(page: str = "", **params: str) -> AppTest:
    """One page of the dashboard, run once."""
    test = AppTest.from_file(str(MAIN), default_timeout=60)
    if page:
        test.run()
        test.switch_page(f"pages/{page}.py")
    for name, value in params.items():  # after the switch, which empties the address
        test.query_params[name] = value
    return test.run()


def text_of(test: AppTest) -> str:
    """All that a page says."""
    parts = [*test.markdown, *test.caption, *test.text, *test.code, *test.error, *test.info, *test.warning]
    return "\n".join(str(part.value) for part in parts)


class TestEmpty:
    """A database without graphs."""

    @pytest.mark.parametrize("page", ["", "circuits", "compare", "feature"])
    def test_a_page_names_the_command_that_fills_the_store(self, empty_store: GraphStore, page: str):
        test = open_page(page)
        assert not test.exception
        assert "throughline demo" in text_of(test)
        assert "throughline ingest" in text_of(test)

    def test_cypher_works_on_an_empty_database(self, empty_store: GraphStore):
        test = open_page("cypher")
        assert not test.exception
        assert "MATCH" in test.session_state["cypher_text"]


class TestLoaded:
    """A database with two graphs."""

    def test_of_several_models_one_can_be_chosen_and_a_link_to_another_widens_the_list_again(self, loaded, monkeypatch):
        rows = [row | {"model": f"model {at}"} for at, row in enumerate(cached.graphs())]
        monkeypatch.setattr(cached, "graphs", lambda: rows)
        test = open_page()
        model, prompt = test.selectbox
        assert model.options == ["model 0", "model 1"] and len(prompt.options) == 2
        model.select("model 1").run()
        assert not test.exception and test.query_params["g"] == rows[1]["graph_id"]
        assert len(test.selectbox[1].options) == 1
        test.query_params["g"] = rows[0]["graph_id"]
        test.run()
        assert test.selectbox[0].value is None and len(test.selectbox[1].options) == 2

    def test_the_selector_offers_every_graph(self, loaded: dict[str, str]):
        test = open_page()
        assert not test.exception
        [first, second] = test.selectbox[0].options
        assert "the Dallas is" in first and "10 nodes, 11 links" in first
        assert "the Oakland is" in second
        assert escaped("replacement score 0.75") in text_of(test)

    def test_a_slug_in_the_address_chooses_the_graph(self, loaded: dict[str, str]):
        test = open_page(g="oakland-demo")
        assert test.selectbox[0].value == loaded["oakland-demo"]

    def test_a_question_in_the_address_is_answered(self, loaded: dict[str, str]):
        test = open_page("circuits", p="Oakland -> California -> Sacramento")
        assert not test.exception
        assert "1 of 2 graphs" in text_of(test)
        assert test.dataframe[0].value["prompt"].tolist() == ["the Oakland is"]

    def test_the_cypher_behind_a_question_is_shown_and_runs(self, loaded: dict[str, str]):
        test = open_page("circuits", p="Dallas -> Texas -> Austin")
        [cypher] = [code.value for code in test.code if "MATCH" in code.value]
        rows = cached.store().cypher(cypher)
        assert [row["slug"] for row in rows.records] == ["dallas-demo"]

    def test_a_search_that_was_stopped_says_so_and_goes_on(self, loaded: dict[str, str]):
        question = Question("Oakland -> * -> Sacramento")
        test = open_page("circuits")
        test.session_state[looking.STOPPED] = f"{question.params()}"
        test.query_params["p"] = question.pattern
        test.run()
        assert "Stopped after 0 of 2 graphs" in text_of(test) and not test.exception
        [go_on] = [button for button in test.button if button.label == "Go on"]
        go_on.click().run()
        assert "1 of 2 graphs" in text_of(test) and "Stopped" not in text_of(test)

    def test_a_search_that_takes_a_while_ends_with_the_same_answer(self, loaded: dict[str, str], monkeypatch):
        monkeypatch.setattr(looking, "QUIET_S", -1)
        test = open_page("circuits", p="Dallas -> Texas -> Austin")
        assert "1 of 2 graphs" in text_of(test) and "Cancel" not in [button.label for button in test.button]


@pytest.mark.parametrize("check", ["check_text", "check_plan"])
def test_cypher_of_the_page_and_of_the_command_line_go_through_one_gate(loaded, check, monkeypatch, capsys):
    def shut(what: object) -> None:
        raise QueryError("the gate is shut")

    monkeypatch.setattr(guard, check, shut)
    page = open_page("cypher", q="RETURN 1 AS x")
    assert "the gate is shut" in text_of(page) and not page.dataframe
    with pytest.raises(SystemExit):
        cli.main(["cypher", "RETURN 1 AS x"])
    assert "the gate is shut" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["RETURN 'a\udcff' AS x"], ["RETURN $a AS x", "--param", "a=a\udcff"]])
def test_bytes_on_the_command_line_that_are_no_text_are_named(loaded, words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["cypher", *words])
    said = " ".join(capsys.readouterr().err.split())
    assert left.value.code == 2 and r"a\udcff" in said and "bytes that are no text; expected UTF-8" in said


def test_without_a_database_the_page_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("THROUGHLINE_NEO4J_URI", "bolt://127.0.0.1:1")
    cached.forget_store()
    test = open_page()
    cached.forget_store()
    assert not test.exception
    assert "cannot be reached" in text_of(test)
    assert "throughline db start" in text_of(test)
    assert "Try again" in [button.label for button in test.button]


def test_the_dashboard_starts_without_torch():
    pages = ", ".join(f"app.pages.{name}" for name in ("graph", "trace", "circuits", "compare", "feature", "cypher"))
    code = f"import app.serve, app.main, {pages}, sys; "
    code += "assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=MAIN.parent.parent)
    assert done.returncode == 0, done.stderr


def test_it_listens_on_loopback_without_telemetry_unless_told_otherwise():
    line = " ".join(command(8501))
    assert "--server.address=127.0.0.1" in line
    assert "--browser.gatherUsageStats=false" in line


def test_a_taken_port_gets_one_sentence_with_another_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CircuitError, match=rf"cannot listen on 127.0.0.1:{port}.*--port {port + 1}"):
            launch(port, open_browser=False)
