"""All links of one node, pruned away or not, with what the browser needs to name their other ends."""

import pytest

from app.neighbours import links_of
from tests.app.graphs import capital_graph
from tracer.errors import GraphFormatError

GRAPH = capital_graph()


def ends(side: dict) -> list[str]:
    return [link["node_id"] for link in side["links"]]


def test_links_that_pruning_dropped_are_among_them_largest_first_with_signed_shares():
    found = links_of(GRAPH, "2_5_3")
    assert ends(found["inputs"]) == ["1_4_3", "1_-1_3", "1_9_2", "E_13_2"]
    assert [round(link["share"], 3) for link in found["inputs"]["links"]] == [0.667, -0.167, 0.133, 0.033]
    assert ends(found["outputs"]) == ["4_21_3", "4_22_3"]
    assert sum(abs(link["share"]) for link in found["inputs"]["links"]) == pytest.approx(1)


def test_the_other_end_is_described_as_the_columns_of_a_graph_are():
    link = links_of(GRAPH, "2_5_3")["inputs"]["links"][2]
    about = {name: link[name] for name in ("kind", "layer", "position", "label", "dictionary_index", "effect")}
    assert about == {
        "kind": 0, "layer": 1, "position": 2, "label": "", "dictionary_index": 9, "effect": pytest.approx(0.4)
    }  # fmt: skip


def test_of_very_many_the_largest_come_with_the_number_of_all():
    found = links_of(GRAPH, "2_5_3", most=2)["inputs"]
    assert (found["n"], ends(found)) == (4, ["1_4_3", "1_-1_3"])


def test_a_node_without_links_on_one_side_has_an_empty_list():
    assert links_of(GRAPH, "E_13_2")["inputs"] == {"n": 0, "links": []}


def test_a_node_that_is_not_there_is_refused():
    with pytest.raises(GraphFormatError, match="no node"):
        links_of(GRAPH, "9_9_9")
