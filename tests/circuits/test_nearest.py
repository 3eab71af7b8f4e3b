"""Why nothing was found: which waypoint, what is nearest, and where."""

from dataclasses import replace

import pytest

from circuits.nearest import why_nothing
from circuits.pattern import parse_pattern
from tests.circuits.small_graphs import FEATURE, LOGIT, TOKEN, make_graph


def graph_of(state: str, slug: str):
    nodes = [(FEATURE, 1, f"cities of {state}"), (FEATURE, 3, "say it"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    graph = make_graph(nodes, {(2, 0): 1.0, (1, 3): 1.0}, slug)
    groups = [{"label": "capital words", "members": [graph.nodes["node_id"].iloc[1]]}]
    return replace(graph, metadata=replace(graph.metadata, provenance={"supernodes": groups}))


GRAPHS = [graph_of("Texas", "one"), graph_of("Texas", "two"), graph_of("Ohio", "three")]


@pytest.mark.parametrize(
    "text, said",
    [
        ("Dalas -> Austin", "fits waypoint 1, Dalas. Nearest: Dallas (in 3 graphs, such as one, two)"),
        ("Dallas -> Texsa -> Austin", "fits waypoint 2, Texsa. Nearest: Texas (in 2 graphs, such as one, two)"),
        ("Dallas -> Ohoi -> Austin", "Nearest: Ohio (in three). Ask for one of these."),
        ("Dallas -> 1/9 -> Austin", "Nearest: 1/0 (in 3 graphs"),
        ("Dallas -> supernode:capitals -> Austin", "Nearest: supernode:capital words (in 3 graphs"),
        ("Dallas -> Texas@L3 -> Austin", "Without its filter it fits in 2 graphs. Change the filter."),
        ("Dallas -> 77/123456 -> Austin", "Their features are of set."),
        ("Dallas -> qqqqq -> Austin", "Nothing there is like it. Try a wildcard, as in `*qqqqq*`."),
    ],
)
def test_the_waypoint_that_fits_nothing_is_named_with_the_nearest_things(text, said):
    answer = why_nothing(parse_pattern(text), GRAPHS)
    assert answer.startswith("No node of 3 graphs fits waypoint") and said in answer
    shown, carets = answer.split("\n")[1:]
    assert shown.strip() == text and shown[carets.index("^") :].startswith(answer.split(", ")[1].split(". ")[0])


def test_waypoints_that_are_there_but_not_in_this_order_are_told_apart():
    assert "no path visits them in this order in one graph" in why_nothing(parse_pattern("Texas -> Ohio"), GRAPHS)


def test_of_things_equally_alike_the_one_of_more_graphs_is_named_first():
    nodes = [(FEATURE, 1, "Texas"), (FEATURE, 2, "texts"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    one = make_graph(nodes, {(2, 0): 1.0, (0, 1): 1.0, (1, 3): 1.0})
    two = make_graph([nodes[0], *nodes[2:]], {(1, 0): 1.0, (0, 2): 1.0})
    two = replace(two, metadata=replace(two.metadata, slug="other"))
    said = why_nothing(parse_pattern("Dallas -> Texsa -> Austin"), [one, two])
    assert said.index("Texas") < said.index("texts")


def test_without_graphs_the_answer_is_to_get_some():
    assert why_nothing(parse_pattern("a -> b"), []) == "There are no graphs to search. Trace or ingest some."
