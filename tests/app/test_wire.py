"""The bytes that the browser gets say exactly what the graph says."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as some

from app.wire import pack_graph, unpack_graph
from circuits.supernodes import supernodes_by_hand, with_supernodes
from tests.app.graphs import capital_graph
from tracer.graph import AttributionGraph


def test_a_packed_graph_holds_columns_and_edges_of_the_graph():
    graph = capital_graph()
    header, columns = unpack_graph(pack_graph(graph))
    assert header["node_id"] == graph.nodes["node_id"].tolist()
    assert header["label_note"][0] == "F1 0.98, n=212"
    assert header["tokens"] == list(graph.metadata.tokens)
    assert header["kind"] == [0, 0, 0, 0, 1, 2, 2, 2, 2, 3, 3]
    for name in ("source", "target", "effect", "share"):
        np.testing.assert_array_equal(columns[name], getattr(graph.edges, name))


def test_pins_and_supernodes_travel_along_and_say_which_are_by_hand():
    graph = capital_graph()
    [made] = supernodes_by_hand(graph, {"places": ["0_7_2", "1_4_3"]})
    [header, _] = unpack_graph(pack_graph(with_supernodes(graph, [made, replace(made, name="x", method="other")])))
    assert header["supernodes"] == [
        {"name": "places", "members": ["0_7_2", "1_4_3"], "by_hand": True},
        {"name": "x", "members": ["0_7_2", "1_4_3"], "by_hand": False},
    ]
    assert header["pins"] == []


def test_shares_of_a_pruned_graph_stay_shares_of_all_inputs():
    graph = capital_graph()
    header, columns = unpack_graph(pack_graph(graph.pruned(), graph.graph_id))
    into = columns["target"] == header["node_id"].index("2_5_3")
    assert header["graph_id"] == graph.graph_id
    assert columns["share"][into].sum() < 0.9, "the dropped links are missing from the sum"


def test_values_that_are_not_there_become_null_and_never_nan():
    header, _ = unpack_graph(pack_graph(capital_graph()))
    assert header["activation"][4] is None
    assert b"NaN" not in pack_graph(capital_graph())


def test_many_nodes_get_wide_indices():
    graph = capital_graph()
    assert unpack_graph(pack_graph(graph))[0]["index"] == "<u2"
    big = _padded(graph, 70_000)
    header, columns = unpack_graph(pack_graph(big))
    assert header["index"] == "<u4"
    np.testing.assert_array_equal(columns["target"], big.edges.target)


@settings(max_examples=40, deadline=None)
@given(some.text(some.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_label_comes_through_and_arrays_stay_aligned(label: str):
    graph = capital_graph()
    nodes = graph.nodes.assign(label=label)
    packed = pack_graph(AttributionGraph(nodes, graph.edges, graph.metadata))
    header, columns = unpack_graph(packed)
    assert header["label"] == [label] * len(nodes)
    assert (len(packed) - sum(column.nbytes for column in columns.values())) % 4 == 0


def _padded(graph: AttributionGraph, n: int) -> AttributionGraph:
    """The graph with many more outputs, none of them linked."""
    import pandas as pd

    extra = pd.DataFrame([graph.nodes.iloc[-1]] * (n - len(graph.nodes)))
    extra["node_id"] = [f"4_{100 + at}_3" for at in range(len(extra))]
    return AttributionGraph(pd.concat([graph.nodes, extra], ignore_index=True), graph.edges, graph.metadata)
