"""The page Compare: two prompts or groups side by side, as tables and pictures, and what cannot be compared."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from playwright.sync_api import Page, expect

from app.charts import heat_map, scatter
from app.compareframes import circuits_frame, heat_frame, in_box, links_frame, named_nodes, nodes_frame
from app.versus import ORDERS, VIEWS, Versus, columns_of, others_of, read_versus, side_of, with_value
from circuits.compare import compare
from circuits.promptset import PromptSet
from tests.app.graphs import capital_graph
from tests.app.test_pages import open_page, text_of

DALLAS, OAKLAND = capital_graph(), capital_graph("Oakland", "California", "Sacramento")
ROWS = [
    {"graph_id": graph_id, "slug": f"slug-{graph_id}", "prompt": prompt, "model": "m", "source_set": source_set}
    for graph_id, prompt, source_set in (
        ("a1", "the Dallas is", "s"), ("b2", "the Oakland is", "s"), ("c3", "other words", "s"), ("d4", "the is", "t"),
    )
]  # fmt: skip
SIDES = some.lists(some.sampled_from([row["graph_id"] for row in ROWS]), min_size=1, max_size=3, unique=True).map(tuple)


def as_lists(params: dict) -> dict[str, list[str]]:
    return {name: value if isinstance(value, list) else [value] for name, value in params.items()}


@given(
    SIDES, SIDES, some.sampled_from(["", "the -Dallas"]), some.sampled_from(["feature", "label", "position-from-end"]),
    some.none() | SIDES | some.just(()), some.sampled_from(VIEWS), some.sampled_from(ORDERS),
)  # fmt: skip
def test_a_comparison_comes_back_from_its_address(a, b, like, by, among, view, order):
    versus = Versus(a, b, like, "", by, among, len(a) > 1 or len(b) > 1 or bool(like), view, order)
    assert read_versus(as_lists(versus.params()), ROWS) == versus


def test_without_an_address_two_graphs_of_one_dictionary_are_chosen():
    versus = read_versus({}, ROWS)
    assert (versus.a, versus.b, versus.by) == (("a1",), ("b2",), "feature")
    assert read_versus({}, ROWS[:1]).b == ("a1",)
    alone = ROWS[0] | {"graph_id": "z9", "slug": "alone", "source_set": "another"}
    assert read_versus({}, [alone, *ROWS]).a == ("a1",)
    assert read_versus({"a": ["gone"], "b": ["slug-c3"], "by": ["magic"], "view": ["x"]}, ROWS).b == ("c3",)


def test_a_group_is_what_words_fit_and_what_is_named():
    assert side_of(("d4",), "the is -Dallas", ROWS) == ["d4", "b2"]
    assert side_of((), "", ROWS) == []


def test_two_prompts_are_compared_with_others_of_their_dictionary_and_groups_with_none():
    assert others_of(Versus(("a1",), ("b2",)), [["a1"], ["b2"]], ROWS) == ["c3"]
    assert others_of(Versus(("a1",), ("b2",), among=("d4", "a1")), [["a1"], ["b2"]], ROWS) == ["d4"]
    assert others_of(Versus(("a1",), ("b2",), groups=True), [["a1"], ["b2"]], ROWS) == []


def test_a_prompt_set_gives_groups_by_role_template_or_group():
    table = [
        {"prompt": row["prompt"], "city": row["prompt"].split()[1], "group": "left" if at < 2 else "right"}
        for at, row in enumerate(ROWS[:3])
    ]
    prompts = PromptSet.of([*table, {"prompt": "not loaded", "city": "Dallas", "group": "right"}])
    assert columns_of(prompts) == {"group": ["left", "right"], "city": ["Dallas", "Oakland", "words"]}
    assert with_value(prompts, "group", "left", ROWS) == ["a1", "b2"]
    assert with_value(prompts, "city", "Dallas", ROWS) == ["a1"]


def sides_by(by):
    return compare([DALLAS], [OAKLAND], by), named_nodes([DALLAS], by), named_nodes([OAKLAND], by)


def test_nodes_have_names_strengths_in_percent_and_ways_into_their_graphs():
    found, a, b = sides_by("feature")
    frame = nodes_frame(found.nodes, a, b).set_index("name")
    assert frame.at["token Dallas", "a"] == pytest.approx(70) and frame.at["token Dallas", "b"] == 0
    assert frame.at["token Dallas", "open_b"] == "" and frame.at["token Dallas", "place"] == "only A"
    assert frame.at["1/4", "called"] == "Texas" and frame.at["1/4", "at"] == "L1"
    assert frame.at["1/4", "open_b"] == f"/?g={OAKLAND.graph_id}&sel=1_4_3"
    assert frame.at["1/4", "feature"] == "/feature?f=tiny%2Fhand%2F1%2F4"
    assert frame.at["2/5", "called"] == "#5" and frame.at["output Austin", "at"] == "output"


def test_links_and_circuits_open_with_their_nodes_pinned():
    found, a, b = sides_by("label")
    frame = links_frame(found.links, a, b)
    row = frame[(frame["source"] == "cities of Texas") & (frame["target"] == "Texas")].iloc[0]
    assert row["open_a"] == f"/?g={DALLAS.graph_id}&pins=0_7_2,1_4_3" and row["open_b"] == ""
    circuits = circuits_frame(found.circuits, a, b, "light")
    assert circuits["picture"].str.startswith("data:image/svg+xml").all()
    assert (circuits["open_a"] != "").equals(found.circuits["a"] > 0)


def test_a_link_between_nodes_of_different_graphs_of_a_group_opens_none_of_them():
    weak = replace(OAKLAND, nodes=OAKLAND.nodes.assign(influence=[0.9, *OAKLAND.nodes["influence"][1:]]))
    found = compare([DALLAS, weak], [OAKLAND])
    group = named_nodes([DALLAS, weak], "feature")
    assert group.set_index("name").loc["0/7", "graph_id"] == OAKLAND.graph_id  # there it is the most influential
    frame = links_frame(found.links, group, named_nodes([OAKLAND], "feature")).assign(source_name=found.links["source"])
    pinned = frame[(frame["source_name"] == "0/7") & (frame["target"] == "Texas")]
    assert pinned["open_a"].tolist() == [""]


def test_a_rectangle_keeps_what_is_inside():
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0]})
    assert in_box(frame, {"a": [1.5, 0.5], "b": [0.5, 3]})["a"].tolist() == [1.0]
    assert in_box(frame, None) is frame and in_box(frame, {}) is frame


def test_charts_are_plain_data_that_names_cannot_break():
    evil = DALLAS.nodes.assign(
        label=['"]; alert(1) //' if kind == "feature" else kind for kind in DALLAS.nodes["kind"]]
    )
    graph = replace(DALLAS, nodes=evil)
    found, known = compare([graph], [OAKLAND]), named_nodes([graph], "feature")
    frame = nodes_frame(found.nodes, known, named_nodes([OAKLAND], "feature"))
    heat = heat_frame(
        {"x": graph, "y": OAKLAND, "z": DALLAS}, {"x": '"+alert(1)', "y": "B", "z": "C"}, "feature", known
    )
    for spec in (scatter(frame, "light"), heat_map(heat, "dark")):
        json.dumps(spec, allow_nan=False)
    label = heat_map(heat, "dark")["encoding"]["y"]["axis"]["labelExpr"]
    assert json.loads(label.removesuffix("[datum.value]")).count('"+alert(1)') == 1


def test_names_in_the_scatter_do_not_touch_and_the_largest_change_is_named():
    rows = [("first", 0.0, 20.0), ("touches the first", 0.0, 19.9), ("apart", 0.0, 5.0), ("far off", 20.0, 0.0)]
    frame = pd.DataFrame(rows, columns=["called", "a", "b"]).assign(at="L1", place="both")
    frame["change"] = [30.0, 20.0, 10.0, 5.0]
    names = scatter(frame, "light")["layer"][-1]["data"]["values"]
    assert [each["called"] for each in names] == ["first", "apart", "far off"]


def test_columns_of_the_heat_map_stand_by_layer_or_beside_those_of_the_same_prompts():
    graphs = {"x": DALLAS, "y": OAKLAND, "z": DALLAS}
    known = named_nodes([DALLAS, OAKLAND], "label")
    by_layer, alike = (heat_frame(graphs, dict.fromkeys(graphs, ""), "label", known, order) for order in ORDERS[::-1])
    in_order = by_layer.drop_duplicates("column")["node"].tolist()
    assert [int(node.rpartition("L")[2]) for node in in_order] == sorted(
        int(node.rpartition("L")[2]) for node in in_order
    )
    together = [{"cities of Texas", "Texas"}, {"cities of California", "California"}]
    names = alike.drop_duplicates("column").sort_values("column")["name"].tolist()
    assert sorted(names) == sorted(set(by_layer["name"])) and all(
        pair in (set(names[:2]), set(names[-2:])) for pair in together
    )
    assert alike["influence"].to_numpy().sum() == pytest.approx(by_layer["influence"].to_numpy().sum())


def test_two_prompts_are_put_side_by_side(loaded: dict[str, str]):
    test = open_page("compare", a="dallas-demo", b="oakland-demo")
    assert not test.exception
    figures = {metric.label: metric.value for metric in test.metric}
    found = compare([DALLAS], [OAKLAND])
    counts = found.counts()["nodes"]
    assert figures["Only in A"] == str(counts["only A"]) and figures["Only in B"] == str(counts["only B"])
    assert figures["Shared influence"] == f"{found.similarity['nodes'].weighted:.0%}"
    assert "nothing to compare with" in text_of(test)
    [table] = [frame.value for frame in test.dataframe]
    assert len(table) == len(found.nodes)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn(loaded: dict[str, str], view: str):
    test = open_page("compare", a="dallas-demo", b="oakland-demo", view=view)
    assert not test.exception and not test.error


@pytest.mark.parametrize("view", VIEWS)
def test_where_nothing_has_a_name_it_is_said(loaded: dict[str, str], view: str):
    test = open_page("compare", a="dallas-demo", b="oakland-demo", by="supernode", view=view)
    assert not test.exception and not test.error


def test_a_group_against_a_prompt_is_chosen_by_words(loaded: dict[str, str]):
    test = open_page("compare", groups="1", a_like="the", b="oakland-demo")
    assert not test.exception
    assert "2 against 1" in text_of(test) and "2 prompts" in text_of(test)


def test_an_empty_side_asks_for_prompts(loaded: dict[str, str]):
    test = open_page("compare", groups="1", a_like="nothing like this", b="oakland-demo")
    assert not test.exception and "Choose prompts for both sides" in text_of(test)


def test_from_the_difference_to_both_graphs_and_one_selection_in_both(page: Page, loaded: dict[str, str]):
    page.goto("/compare?a=dallas-demo&b=oakland-demo")
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible(timeout=90_000)
    page.get_by_role("radio", name="Side by side").or_(page.get_by_text("Side by side", exact=True)).first.click()
    expect(page).to_have_url(re.compile("view=side"))
    graphs = page.locator(".ag.compact[data-ready]")
    expect(graphs).to_have_count(2, timeout=30_000)
    select = "(root, id) => root.view.select(root.view.graph.rowOf.get(id))"
    chosen = "root => root.view.state.sel"
    graphs.nth(0).evaluate(select, "1_4_3")
    assert graphs.nth(1).evaluate(chosen) == "1_4_3"
    graphs.nth(0).evaluate(select, "E_13_2")  # Dallas, which the other one lacks
    expect(graphs.nth(1).locator(".remark")).to_have_text("“Dallas” is not in this graph")
    assert graphs.nth(1).evaluate(chosen) is None
    expect(graphs.nth(0).locator(".rail")).to_be_hidden()
    page.get_by_role("link", name="Open in graph").first.click()
    expect(page.locator(".ag:not(.compact)[data-ready]")).to_be_visible(timeout=60_000)
