"""The page of a feature: where it occurs, whose label it has, and how one finds it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from playwright.sync_api import Page, expect

from app import cached, cli
from app.featureframes import labels_frame, most_active, one_label, shown_in
from app.featurehtml import neighbours_html, prompts_html
from app.featurelink import FeatureKey, words_query
from ingest.circuit_runs import run_pattern
from ingest.kept_circuits import keep_circuit, remove_circuit
from ingest.labels import Label
from ingest.library import default_library
from ingest.store import GraphStore
from tests.app.test_pages import open_page, text_of
from tracer.errors import PatternError

TEXAS = "tiny/hand/1/4"


def html_of(test) -> str:
    """What the page draws in HTML."""
    return "\n".join(element.proto.body for element in test.get("html"))


@given(some.text("ab/ .%", min_size=1), some.integers(0, 9999), some.integers(0, 999_999_999))
def test_a_feature_comes_back_from_its_address(source_set, layer, index):
    key = FeatureKey(source_set.strip() or "a", layer, index)
    assert FeatureKey.parse(str(key)) == key


def test_the_prompts_of_the_largest_activation_come_first_each_with_a_link_to_its_node_and_never_nan():
    def row(graph_id: str, *values: float) -> dict:
        ids = [f"1_4_{at}" for at in range(len(values))]
        return {
            "graph_id": graph_id, "tokens": ["a", "b"], "node_ids": ids, "positions": [*range(len(values))],
            "activations": [*values], "influence": 0.5,
        }  # fmt: skip

    found = most_active([row("weak", 0.5), row("untold", float("nan")), row("strong", 1.0, 3.0)], n_graphs=9, most=2)
    assert (found["n"], found["of"]) == (3, 9)
    assert [each["graph_id"] for each in found["prompts"]] == ["strong", "weak"]
    assert found["prompts"][0]["link"] == "/?g=strong&sel=1_4_1" and found["prompts"][0]["at"] == [[0, 1.0], [1, 3.0]]
    assert most_active([row("untold", float("nan"))], 1)["prompts"][0]["at"] == [[0, None]]


@pytest.mark.parametrize("text", ["", "Texas", "20/15589", "/20/15589", "m/set/20/x", "m/set/-1/2", "m/set/20/"])
def test_what_is_no_feature_is_refused_with_the_form_that_is(text):
    with pytest.raises(PatternError, match=r"expected set/layer/index such as gemma-2-2b/clt-hp/20/15589"):
        FeatureKey.parse(text)


@pytest.mark.parametrize("text", ["a (b", "[x", '"', "a AND", "NOT", "x:y", "a && b", "+ -", "\\", "*", "~", "/", "?"])
def test_whatever_is_typed_is_searched_for_and_is_no_mistake(loaded, text):
    test = open_page("feature", q=text)
    assert not test.exception and not test.error


def test_words_keep_wildcards_alone():
    assert words_query('say "Austin" (x) cap* OR y~') == 'say \\"Austin\\" \\(x\\) cap* or y~'


def test_a_feature_shows_its_prompts_its_neighbours_and_its_effects(loaded: dict[str, str]):
    test = open_page("feature", f=TEXAS)
    assert not test.exception
    figures = {metric.label: metric.value for metric in test.metric}
    assert figures["Prompts"] == "2 of 2"
    assert figures["Largest activation"] == "2.00"
    assert figures["Strongest output"] in ("Austin", "Sacramento")
    html = html_of(test)
    assert all(f"g={graph_id}&amp;sel=1_4_3" in html for graph_id in loaded.values())
    assert "cities of Texas" in html and "+75%" in html  # what feeds it
    assert "#5" in html  # what it feeds: an unlabelled feature
    [table] = [frame.value for frame in test.dataframe if "node_id" in frame.value]
    assert table[["position", "token", "activation", "influence", "node_id"]].to_numpy().tolist() == [
        [3, " is", 2.0, 0.5, "1_4_3"],
        [3, " is", 2.0, 0.5, "1_4_3"],
    ]


def test_what_people_wrote_and_kept_about_a_feature_stands_on_its_page(loaded: dict[str, str], empty_store):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["labels", "note", "tiny/hand", "1/4", "speaks of <b>Texas</b>", "--by", "Ann"])
    kept = run_pattern("Dallas -> Texas -> Austin", empty_store, default_library(), name="capitals")
    keep_circuit(kept, empty_store, default_library())
    cached.labels_of.clear()
    cached.circuits_through.clear()
    test = open_page("feature", f=TEXAS)
    assert not test.exception and [text.value for text in test.text] == ["F1 0.95, n=80", "speaks of <b>Texas</b>"]
    assert "Ann, 20" in text_of(test).replace("\\", "")
    [table] = [frame.value for frame in test.dataframe if "pattern" in frame.value]
    assert table["open"].tolist() == [f"/circuits?kept={kept.kept_id}"] and table["prompts"].tolist() == ["1 of 1"]
    opened = open_page("circuits", kept=kept.kept_id)
    assert not opened.exception and "##### capitals" in text_of(opened)
    [prompts] = [frame.value for frame in opened.dataframe if "failed" in frame.value]
    links = prompts["open"].tolist()
    assert links[0] == f"/circuits?p=Dallas+-%3E+Texas+-%3E+Austin&in={loaded['dallas-demo']}"
    assert prompts["failed"].tolist()[1:] == ["Dallas"]
    assert "not here" in text_of(open_page("circuits", kept="0" * 16))
    remove_circuit(kept.kept_id, empty_store, default_library())


def test_words_of_a_label_find_its_features(loaded: dict[str, str]):
    test = open_page("feature", q="cities")
    [found] = [frame.value for frame in test.dataframe]
    assert found["index"].tolist() == [7] and found["graphs"].tolist() == [2]
    assert found["open"].tolist() == ["/feature?f=tiny%2Fhand%2F0%2F7"]


@pytest.mark.parametrize("words", ["citi", "0/7", "L0 #7"])
def test_a_beginning_or_a_number_finds_it_too(loaded: dict[str, str], words: str):
    [found] = [frame.value for frame in open_page("feature", q=words).dataframe]
    assert found["index"].tolist() == [7]


def test_without_a_question_the_most_frequent_features_are_offered(loaded: dict[str, str]):
    [found] = [frame.value for frame in open_page("feature").dataframe]
    assert sorted(found["index"].tolist()) == [4, 5, 7]


@pytest.mark.parametrize(
    ("address", "said"),
    [({"f": "tiny/hand/9/9"}, "No graph here has the feature"), ({"f": "Texas"}, "is no feature"),
     ({"q": "Narnia"}, "No feature of a loaded graph has")],
)  # fmt: skip
def test_what_is_not_there_is_said_and_others_are_offered(loaded: dict[str, str], address: dict[str, str], said: str):
    test = open_page("feature", **address)
    assert not test.exception and said in text_of(test).replace("\\", "")
    assert len(test.dataframe) == 1


def prompt(graph_id: str, label: str = "", note: str = "") -> dict:
    return {"graph_id": graph_id, "slug": graph_id, "label": label, "label_note": note}


def test_the_label_that_is_shown_is_told_by_the_rule():
    own, other = Label(1, 4, "own", "graph", "Ann", "a"), Label(1, 4, "other", "graph", "Bob", "b")
    imports = [Label(1, 4, text, "import", "table", "", "2026-01-01") for text in ("old", "new")]
    prompts = [prompt("a", "own"), prompt("b", "other"), prompt("c", "new", "imported from table, 2026-01-01")]
    assert shown_in([own, other, *imports], prompts) == [1, 1, 0, 1]
    edits = [Label(1, 4, text, "edit", "me", "", "2026-01-02") for text in ("first", "second")]
    assert shown_in([own, other, *imports, *edits], prompts) == [0, 0, 0, 0, 0, 3]
    frame = labels_frame([own, *edits], prompts, {own.graph_id: "its slug"})
    assert frame["graph"].tolist() == ["", "", "its slug"]
    assert frame["label"].tolist() == ["second", "first", "own"] and frame["shown"].tolist()[0] == "in 3 of 3 graphs"
    assert one_label([prompt("a", "x", "n"), prompt("b", "y"), prompt("c", "x", "n")]) == ("x", "n")


def test_labels_and_tokens_are_text_and_never_markup():
    evil = "<img src=x onerror=alert(1)>"
    row = prompt("a") | {"tokens": [evil, "b"], "positions": [1], "activations": [float("nan")], "influence": 0.1}
    row |= {"node_ids": ['"><u>'], "influences": [0.1]}
    link = {"kind": "feature", "layer": 1, "index": 2, "label": evil, "graphs": 1, "edges": 1, "mean_share": -0.5}
    link |= {"least_share": -0.5, "most_share": -0.5, "mean_effect": -1.0}
    for html in (prompts_html([row], "light"), neighbours_html([link], evil, 1, "dark")):
        assert "<img" not in html and "&lt;img" in html and '"><u>' not in html


def test_an_edited_label_is_kept_shown_and_found(loaded: dict[str, str], empty_store: GraphStore):
    test = open_page("feature", f="tiny/hand/2/5")
    assert test.text[0].value == "unlabelled"
    next(field for field in test.text_input if field.label == "Label").set_value("say a capital")
    next(field for field in test.text_input if field.label == "By").set_value("Ann")
    next(button for button in test.button if button.label == "Save").click().run()
    assert not test.exception
    assert test.text[0].value.startswith("edited by Ann")
    [kept] = [line for line in Path(default_library().root, "labels").rglob("*.jsonl")]
    assert "say a capital" in kept.read_text()
    assert [row["graphs"] for row in empty_store.run("labels_search", text="capital").records] == [2]


def test_from_the_graph_to_the_feature_and_back(page: Page, loaded: dict[str, str]):
    page.goto("/?g=dallas-demo&sel=1_4_3")
    page.get_by_role("link", name="Feature ↗").click(timeout=30_000)
    expect(page).to_have_url(re.compile(r"feature\?f=tiny(%2F|/)hand(%2F|/)1(%2F|/)4"))
    expect(page.get_by_test_id("stMetricValue").first).to_have_text("2 of 2", timeout=30_000)
    page.locator("a.tl-bar", has_text="cities of").first.click()
    expect(page.get_by_text("layer 0 · feature 7")).to_be_visible(timeout=30_000)
    page.locator("a.tl-prompt", has_text="Oakland").click()
    expect(page.locator(".rail .title")).to_have_text("cities of California", timeout=30_000)
