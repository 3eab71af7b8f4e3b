"""The page Cypher: an editor that knows the database, four ways to look at an answer, kept queries, history."""

import json
import re
import time
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from app import cli
from app.charts import MOST_BARS, chart_columns, rows_chart
from app.cypherwords import unknown_words
from app.history import MOST_KEPT, History, Past
from app.planhtml import cautions, plan_html, plan_rows
from ingest.bolt import Step
from ingest.library import Library, default_library
from ingest.own_queries import OwnQueries, find_query
from ingest.queries import read_queries
from tests.app.test_pages import open_page, text_of
from tracer.errors import QueryError


def answered(**params: str):
    """The page when the answer is there, which may take longer than a moment on a busy machine."""
    test = open_page("cypher", **params)
    until = time.monotonic() + 60
    while "Running for" in text_of(test) and time.monotonic() < until:
        test.run()
    return test


KNOWN = {
    "labels": {"Graph": 2, "Node": 9, "odd name": 1},
    "types": {"AFFECTS": 9},
    "properties": {"slug": 0, "graph_id": 0, "label": 0},
}


@pytest.mark.parametrize(
    "text",
    [
        "MATCH (g:Graph {slug: $a})-[r:AFFECTS]->(:`odd name`) WHERE g.label = 'x.y (:No)' // :No\nRETURN g.slug",
        "CALL db.index.fulltext.queryNodes('a', 'b') YIELD node RETURN node.label, datetime().slug",
        "RETURN {key: 1, other: 2.5} AS map, [x IN range(1, 3) WHERE x > 1.5 | x] AS list",
    ],
)
def test_words_that_the_database_has_are_not_complained_about(text):
    assert [word for word in unknown_words(text, KNOWN) if "key" not in word and "other" not in word] == []


def test_a_misspelt_word_gets_the_nearest_one():
    told = unknown_words("MATCH (g:Grahp)-[:AFECTS]->(n:Node:Strange) WHERE g.slgu = 1 RETURN n.graphid", KNOWN)
    assert [sentence.partition("no ")[2] for sentence in told] == [
        "label or type Grahp; did you mean Graph?", "label or type AFECTS; did you mean AFFECTS?",
        "label or type Strange.", "property slgu; did you mean slug?", "property graphid; did you mean graph_id?",
    ]  # fmt: skip


def test_shipped_queries_have_no_word_that_this_database_lacks(loaded: dict[str, str], empty_store):
    words = empty_store.vocabulary()
    kept = {"Circuit", "Supernode", "IN", "FOUND_IN", "VISITS", "MEMBER_OF", "GROUPS"}  # nothing is kept here
    for name in ("graphs", "strongest_sources", "features_at", "feature_prompts", "common_features"):
        lacking = [each for each in unknown_words(read_queries("explore")[name].text, words) if "label" in each]
        assert not [each for each in lacking if not kept & set(re.findall(r"\w+", each))], name


JOINED = Step("CartesianProduct", "", 2.0, (Step("AllNodesScan", "<a>", 1.0), Step("Filter", "", None)))
BRANCHED = Step("ProduceResults", "n", 2.0, (JOINED,))


def test_a_plan_is_a_tree_whose_slow_parts_are_named():
    html = plan_html(BRANCHED)
    assert html.count("<ul>") == 2 and "&lt;a&gt;" in html and "<a>" not in html and "1 row<" in html
    assert [caution.partition(":")[0] for caution in cautions(BRANCHED)] == ["CartesianProduct", "AllNodesScan"]
    assert [row["operator"] for row in plan_rows(BRANCHED)] == [
        "ProduceResults", "  CartesianProduct", "    AllNodesScan", "    Filter"
    ]  # fmt: skip


def test_the_plan_of_a_query_is_told_without_running_it(loaded: dict[str, str], capsys):
    forever = "UNWIND range(1, 1000000000000) AS x RETURN count(x) AS n"
    test = open_page("cypher", q=forever, view="plan")
    assert not test.exception and "Unwind" in "\n".join(str(element.proto) for element in test.main.get("html"))
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["cypher", forever, "--plan", "--format", "json"])
    assert "Unwind" in [row["operator"].strip() for row in json.loads(capsys.readouterr().out)]


def test_a_chart_takes_a_text_along_and_a_number_up():
    frame = pd.DataFrame({"n": [1, 2, 3], "slug": ["a", "b", "a"], "nothing": [None] * 3, "share": [0.5, 0.25, 0.1]})
    assert chart_columns(frame) == (["n", "slug", "share"], ["n", "share"], "slug", "n")
    assert chart_columns(frame, "n", "share")[2:] == ("n", "share")
    assert chart_columns(frame, "gone", "slug")[2:] == ("slug", "n")
    bars = rows_chart(frame, "slug", "n", "light")
    assert bars["mark"]["type"] == "bar" and [row["y"] for row in bars["data"]["values"]] == [2.0, 2.0]
    assert rows_chart(frame, "n", "share", "dark")["mark"]["type"] == "circle"
    many = pd.DataFrame({"x": [str(at) for at in range(500)], "y": range(500)})
    assert len(rows_chart(many, "x", "y", "light")["data"]["values"]) == MOST_BARS


@pytest.mark.parametrize("view", ["table", "chart", "plan", "graph"])
def test_every_view_of_an_answer_is_drawn(loaded: dict[str, str], view: str):
    test = answered(q="MATCH (n:Token) RETURN n.label AS token, count(n) AS n, collect(n) AS nodes", view=view)
    assert not test.exception and not test.error
    assert "5 rows" in text_of(test) or view == "plan"


def test_a_word_that_is_not_there_is_named_where_nothing_is_found(loaded: dict[str, str]):
    test = answered(q="MATCH (g:Grpah) RETURN g.slug AS slug")
    assert "did you mean Graph?" in text_of(test) and "0 rows" in text_of(test)


def test_what_was_run_is_in_the_history_once_with_its_outcome(tmp_path: Path):
    history = History(tmp_path / "past.jsonl")
    for at in range(3):
        history.add(Past(f"2026-01-0{at + 1}", {"q": "RETURN 1"}, rows=at))
    history.add(Past("2026-01-09", {"name": "graphs"}, error="gone"))
    (tmp_path / "past.jsonl").write_text(history.path.read_text() + "not JSON\n[]\n")
    assert [(past.title, past.rows, past.error) for past in history.newest(5)] == [
        ("graphs", 0, "gone"),
        ("RETURN 1", 2, ""),
    ]
    for at in range(3 * MOST_KEPT):
        history.add(Past("2026-02-01", {"q": f"RETURN {at}"}))
    assert len(history.path.read_text().splitlines()) <= 2 * MOST_KEPT
    history.clear()
    assert history.newest(5) == []


def test_a_run_is_noted_and_asked_again_from_the_history(loaded: dict[str, str]):
    asked = "MATCH (n:Token) RETURN count(n) AS noted"
    test = answered(q=asked)
    test.run()
    [again] = [button for button in test.button if "noted" in button.label]
    assert "rows: 1" in again.label
    test.query_params.clear()
    again.click().run()
    assert test.query_params["q"] in (asked, [asked])  # by version of Streamlit


class TestKept:
    """Queries that people keep."""

    def test_a_query_comes_back_with_its_defaults(self, tmp_path: Path):
        own = OwnQueries(Library(tmp_path))
        values = {
            "k": 5,
            "part": 0.5,
            "all": True,
            "terms": ["a; b", "c"],
            "text": 'say "x"; y',
            "map": {"a": 1},
            "must": None,
        }
        text = "// mine: all of it\nMATCH (n) WHERE n.k = $k RETURN n.k AS k"
        kept = own.keep("my_query", "What is\nit?", text, values, ("k", "odd column"))
        assert own.all() == {"my_query": kept} and kept.text == text and kept.purpose == "What is it?"
        assert {param.name: None if param.required else param.default for param in kept.params} == values
        assert [column.name for column in kept.returns] == ["k", "oddcolumn"]
        own.remove("my_query")
        assert own.all() == {}

    @pytest.mark.parametrize("name", ["", "Two words", "../x", "graphs", "x" * 99, "1a"])
    def test_a_name_that_cannot_be_is_refused(self, tmp_path: Path, name: str):
        with pytest.raises(QueryError, match="Choose another name"):
            OwnQueries(Library(tmp_path)).keep(name, "", "RETURN 1", {}, ())
        assert not list(tmp_path.iterdir())

    def test_a_file_that_cannot_be_read_hides_no_other(self, tmp_path: Path):
        own = OwnQueries(Library(tmp_path))
        own.keep("good", "", "RETURN 1", {}, ())
        (tmp_path / "queries" / "bad.cypher").write_text("RETURN 1")
        assert list(own.all()) == ["good"] and own.names() == ["bad", "good"]
        with pytest.raises(QueryError, match="there is no query 'none'"):
            find_query("none", Library(tmp_path))

    def test_it_is_run_by_name_on_the_command_line_and_may_only_read(self, loaded, capsys):
        own = OwnQueries(default_library())
        own.keep(
            "tokens_of", "How many?", "MATCH (n:Token) WHERE n.position < $k RETURN count(n) AS tokens", {"k": 1}, ()
        )
        own.keep("writes", "", "CREATE (n:X)", {}, ())
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main(["query", "tokens_of", "--param", "k=2", "--format", "json"])
        assert json.loads(capsys.readouterr().out) == [{"tokens": 4}]
        with pytest.raises(SystemExit, match=r"^[1-9]"):
            cli.main(["query", "writes"])
        own.remove("tokens_of")
        own.remove("writes")


def test_labels_are_offered_while_one_types_and_brackets_are_paired(page: Page):
    page.goto("/cypher")
    editor = page.get_by_label("Cypher", exact=True)
    expect(page.locator(".editor[data-ready]")).to_be_visible(timeout=60_000)
    editor.fill("")
    editor.press_sequentially("MATCH (t:Tok")
    expect(page.get_by_role("option")).to_have_text([re.compile(r"^Tokenlabel · 8$")])
    editor.press("Enter")
    editor.press_sequentially(") RETURN t.posi")
    expect(page.get_by_role("option").first).to_contain_text("position")
    editor.press("Tab")
    editor.press_sequentially(" AS place")
    editor.press("Control+Enter")
    expect(page.get_by_text("8 rows · ")).to_be_visible(timeout=30_000)
    expect(editor).to_have_value("MATCH (t:Token) RETURN t.position AS place")
    expect(page.locator(".editor pre .keyword")).to_have_text(["MATCH", "RETURN", "AS"])
    expect(page.locator(".editor pre .label")).to_have_text("Token")
    editor.press("Home")
    for _ in "MATCH ":
        editor.press("ArrowRight")
    expect(page.locator(".editor pre .pair")).to_have_text(["(", ")"])


def test_what_is_typed_in_the_editor_is_text_and_never_markup(page: Page):
    page.goto("/cypher?q=RETURN '<img src=x onerror=alert(1)>' AS x")
    expect(page.locator(".editor pre")).to_contain_text("<img src=x", timeout=60_000)
    expect(page.locator(".editor img")).to_have_count(0)


def test_from_the_list_of_labels_into_the_editor_to_a_chart_with_an_address(page: Page):
    page.goto("/cypher?q=MATCH (n:Token) RETURN n.label AS token, count(n) AS n")
    expect(page.get_by_text("5 rows · ")).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")  # all is drawn
    page.get_by_test_id("stMain").get_by_text("Chart", exact=True).click()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible(timeout=30_000)
    expect(page).to_have_url(re.compile("view=chart"))
    page.get_by_role("button", name=":Graph 2").click()
    expect(page.get_by_label("Cypher", exact=True)).to_have_value(re.compile(":Graph"))
    expect(page.get_by_text("The query was changed since")).to_be_visible()


def test_a_query_is_kept_found_by_name_and_removed(page: Page):
    page.goto("/cypher?q=MATCH (n:Token) RETURN count(n) AS n")
    page.get_by_role("button", name="Keep").click(timeout=60_000)
    page.get_by_role("textbox", name="Name").fill("my_tokens")
    page.get_by_role("textbox", name="What does it ask?").fill("How many tokens?")
    page.get_by_role("button", name="Keep this query").click()
    expect(page).to_have_url(re.compile("name=my_tokens"), timeout=30_000)
    expect(page.get_by_text("How many tokens?")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("button", name="my tokens")).to_have_count(0, timeout=30_000)
