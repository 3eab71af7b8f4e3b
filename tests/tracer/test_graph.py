"""AttributionGraph: checked when built, the same after a round trip, and never half there."""

import dataclasses
import json
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph, GraphMetadata, read_metadata
from tracer.schema import EDGE_COLUMNS, NODE_COLUMNS, NodeKind, node_id, parse_kind

FEATURE, ERROR, TOKEN, LOGIT, BIAS = NodeKind
ABOUT = GraphMetadata("demo", "a b", ("a", "b"), "model", "set", n_layers=2)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


def small_nodes(**columns):
    table = {
        "node_id": ["0_7_1", "0_-1_1", "E_5_1", "3_9_1"],
        "kind": [FEATURE, ERROR, TOKEN, LOGIT],
        "layer": [0, 0, -1, 2],
        "position": [1, 1, 1, 1],
        "index": [7, -1, 5, 9],
    }
    return pd.DataFrame(table | columns)


def small_graph(**about):
    source, target, effect = np.array([2, 0, 1]), np.array([0, 3, 3]), np.array([2.0, -3.0, 1.0])
    return AttributionGraph.build(small_nodes(), source, target, effect, dataclasses.replace(ABOUT, **about))


@st.composite
def graphs(draw):
    """A graph with any labels and numbers the schema allows, and edges from lower to higher layers."""
    n_layers = draw(st.integers(1, 4))
    spots = st.tuples(st.integers(0, n_layers - 1), st.integers(0, 5), st.integers(0, 2**40))
    features = sorted(draw(st.sets(spots, max_size=6)))
    rows = [(FEATURE, *spot) for spot in features]
    rows += [(ERROR, layer, 0, -1) for layer in range(n_layers)]
    rows += [(TOKEN, -1, 0, 11), (LOGIT, n_layers, 0, 3)]
    nodes = pd.DataFrame(rows, columns=["kind", "layer", "position", "index"])
    nodes["node_id"] = [node_id(*row, n_layers=n_layers) for row in rows]
    nodes["label"] = [draw(TEXT) for _ in rows]
    number = st.floats(width=32, allow_nan=True, allow_infinity=False)
    nodes["activation"] = np.array([draw(number) for _ in rows], np.float32)
    nodes["kept"] = [draw(st.booleans()) for _ in rows]
    layer = nodes["layer"].to_numpy()
    pairs = [(s, t) for s in range(len(rows)) for t in range(len(rows)) if layer[s] < layer[t]]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True))
    source, target = np.array(chosen, int).reshape(-1, 2).T
    finite = st.floats(-100, 100, width=32)
    effect = np.array([draw(finite) for _ in chosen], np.float32)
    about = dataclasses.replace(
        ABOUT, n_layers=n_layers, prompt=draw(TEXT), tokens=(draw(TEXT),), roles={"city": draw(TEXT)},
        provenance={"seed": None, "config": {"x": [1, 2.5, "a"]}},
    )  # fmt: skip
    return AttributionGraph.build(nodes, source, target, effect, about)


@settings(deadline=None, max_examples=40)
@given(graph=graphs())
def test_a_saved_graph_comes_back_the_same(tmp_path_factory, graph):
    folder = str(tmp_path_factory.mktemp("graph"))
    graph.save(folder)
    again = AttributionGraph.load(folder)
    pd.testing.assert_frame_equal(again.nodes, graph.nodes)
    for name, column in EDGE_COLUMNS.items():
        ours, theirs = getattr(again.edges, name), getattr(graph.edges, name)
        assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype == column.dtype
    assert again.metadata == graph.metadata
    assert again.graph_id == graph.graph_id


@settings(deadline=None)
@given(graph=graphs())
def test_shares_into_a_node_sum_to_one(graph):
    total_N = np.bincount(graph.edges.target, weights=graph.edges.share, minlength=len(graph.nodes))
    size_N = np.bincount(graph.edges.target, weights=np.abs(graph.edges.effect), minlength=len(graph.nodes))
    assert np.allclose(total_N[size_N > 1e-8], 1, atol=1e-5)


@given(spot=st.tuples(*[st.integers(0, 10**6)] * 3), other=st.tuples(*[st.integers(0, 10**6)] * 3), kinds=st.data())
def test_node_ids_are_injective(spot, other, kinds):
    n_layers = 10**6 + 1  # no layer of a feature reaches the one that logits are written with
    ids = {}
    for kind in NodeKind:
        for layer, position, index in (spot, other):
            where = {TOKEN: (-1, position, index), ERROR: (layer, position, -1), LOGIT: (n_layers, position, index)}
            where[BIAS] = (layer, -1, index)
            node = (kind, *where.get(kind, (layer, position, index)))
            ids.setdefault(node_id(*node, n_layers=n_layers), set()).add(node)
    assert all(len(nodes) == 1 for nodes in ids.values())


@settings(deadline=None)
@given(graph=graphs())
def test_the_pruned_graph_keeps_effects_and_shares(graph):
    pruned = graph.pruned()
    assert pruned.nodes["node_id"].tolist() == graph.nodes["node_id"][graph.nodes["kept"]].tolist()

    def edges(of):
        ids = of.nodes["node_id"].to_numpy()
        return set(zip(ids[of.edges.source], ids[of.edges.target], of.edges.effect, of.edges.share, strict=True))

    assert edges(pruned) <= edges(graph)
    assert not pruned.metadata.complete


def test_the_order_in_which_edges_are_given_does_not_matter():
    graph = small_graph()
    mixed = AttributionGraph.build(
        small_nodes(), np.array([1, 2, 0]), np.array([3, 0, 3]), np.array([1.0, 2.0, -3.0]), ABOUT
    )
    assert mixed.graph_id == graph.graph_id


@pytest.mark.parametrize("change", [{"model": "other"}, {"source_set": "other"}, {"target": "log-odds"}])
def test_what_is_computed_decides_the_id(change):
    assert small_graph(**change).graph_id != small_graph().graph_id


def test_names_for_people_and_wall_time_do_not():
    assert small_graph(slug="x", provenance={"wall_s": 1}).graph_id == small_graph().graph_id


def test_an_effect_of_zero_is_no_edge():
    graph = AttributionGraph.build(small_nodes(), np.array([2, 1]), np.array([0, 3]), np.array([0.0, 1.0]), ABOUT)
    assert len(graph.edges) == 1


def test_kinds_stand_together_in_order():
    graph = small_graph()
    assert [graph.slice_of(kind) for kind in NodeKind] == [*(slice(i, i + 1) for i in range(4)), slice(0, 0)]
    assert list(graph.nodes.columns) == list(NODE_COLUMNS)


def test_two_nodes_of_one_id_are_refused():
    with pytest.raises(GraphFormatError, match="node id '0_7_1' names two nodes"):
        nodes = small_nodes(node_id=["0_7_1", "0_7_1", "E_5_1", "3_9_1"])
        AttributionGraph.build(nodes, np.array([2]), np.array([0]), np.array([1.0]), ABOUT)


@pytest.mark.parametrize(("source", "target"), [(3, 0), (0, 1), (0, 0)], ids=["down", "within a layer", "to itself"])
def test_an_edge_that_does_not_go_up_is_refused(source, target):
    with pytest.raises(GraphFormatError, match="expected a strictly higher layer"):
        AttributionGraph.build(small_nodes(), np.array([source]), np.array([target]), np.array([1.0]), ABOUT)


def test_a_bias_acts_within_its_layer_and_nothing_enters_it():
    nodes = pd.concat([small_nodes(), pd.DataFrame([("B_0_0", BIAS, 0, -1, 0)], columns=list(small_nodes().columns))])
    graph = AttributionGraph.build(nodes, np.array([4]), np.array([0]), np.array([1.0]), ABOUT)
    assert len(graph.edges) == 1
    with pytest.raises(GraphFormatError, match="an edge enters the bias B_0_0; expected none"):
        AttributionGraph.build(nodes, np.array([2]), np.array([4]), np.array([1.0]), ABOUT)
    nodes["layer"] = [0, 0, -1, 2, 1]
    with pytest.raises(GraphFormatError, match="expected a strictly higher layer"):
        AttributionGraph.build(nodes, np.array([4]), np.array([0]), np.array([1.0]), ABOUT)


def test_a_graph_saved_before_there_were_remainders_is_read(tmp_path):
    small_graph().save(str(tmp_path))
    path = tmp_path / "nodes.parquet"
    pd.read_parquet(path).drop(columns="remainder").to_parquet(path)
    again = AttributionGraph.load(str(tmp_path))
    assert again.graph_id == small_graph().graph_id and np.isnan(again.nodes["remainder"]).all()


def test_a_graph_saved_with_another_compression_is_read(tmp_path):
    small_graph().save(str(tmp_path))
    for name in ("nodes.parquet", "edges.parquet"):
        pd.read_parquet(tmp_path / name).to_parquet(tmp_path / name, compression="zstd")
    assert AttributionGraph.load(str(tmp_path)).content_hash == small_graph().content_hash
    outline = AttributionGraph.outline(str(tmp_path)).with_edges(str(tmp_path))
    assert np.array_equal(outline.edges.effect, small_graph().edges.effect)


@pytest.mark.parametrize("row", [-1, 4])
def test_an_edge_to_no_node_is_refused(row):
    with pytest.raises(GraphFormatError, match=f"an edge ends at row {row}; the graph has 4 nodes"):
        AttributionGraph.build(small_nodes(), np.array([row]), np.array([3]), np.array([1.0]), ABOUT)


def test_an_effect_that_is_no_number_is_refused():
    with pytest.raises(GraphFormatError, match=r"effect of E_5_1 on 0_7_1 is nan; expected a finite number"):
        AttributionGraph.build(small_nodes(), np.array([2]), np.array([0]), np.array([np.nan]), ABOUT)


def test_nodes_out_of_order_and_unknown_kinds_are_refused():
    nothing = np.array([], int)
    with pytest.raises(GraphFormatError, match="not in the order feature, error, token, logit, bias"):
        AttributionGraph.build(small_nodes().iloc[::-1], nothing, nothing, nothing, ABOUT)
    with pytest.raises(GraphFormatError, match="node kind 'guess' is unknown"):
        AttributionGraph.build(small_nodes(kind=["guess", ERROR, TOKEN, LOGIT]), nothing, nothing, nothing, ABOUT)
    with pytest.raises(GraphFormatError, match="node kind 'guess' is unknown"):
        parse_kind("guess")


def test_a_missing_column_is_named():
    with pytest.raises(GraphFormatError, match="nodes table lacks layer; expected node_id, kind, layer"):
        AttributionGraph.build(small_nodes().drop(columns="layer"), np.array([]), np.array([]), np.array([]), ABOUT)


@pytest.mark.parametrize("stop_at", ["nodes.parquet.part", "edges.parquet.part", "metadata.json.part"])
def test_a_disk_that_fills_up_while_saving_leaves_the_graph_that_was_there(tmp_path, monkeypatch, stop_at):
    import fsspec.implementations.local as local

    folder = tmp_path / "graph"
    small_graph().save(str(folder))
    real_open = local.LocalFileSystem.open

    def full_disk(self, path, mode="rb", *args, **options):
        if "w" in mode and path.endswith(stop_at):
            raise OSError(28, "No space left on device")
        return real_open(self, path, mode, *args, **options)

    monkeypatch.setattr(local.LocalFileSystem, "open", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        small_graph(prompt="another").save(str(folder))
    assert caught.value.filename == str(folder)
    assert AttributionGraph.load(str(folder)).graph_id == small_graph().graph_id
    assert sorted(path.name for path in folder.iterdir()) == ["edges.parquet", "metadata.json", "nodes.parquet"]
    with pytest.raises(OSError, match="No space left"):
        small_graph().save(str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    monkeypatch.undo()
    small_graph(prompt="another").save(str(folder))
    assert AttributionGraph.load(str(folder)).graph_id == small_graph(prompt="another").graph_id


@pytest.mark.parametrize("at", [1, 2, 3])
def test_ctrl_c_between_the_files_that_are_exchanged_comes_after_them(tmp_path, monkeypatch, at):
    import fsspec.implementations.local as local

    small_graph().save(str(tmp_path))
    real_move, moves = local.LocalFileSystem.mv, []

    def interrupted(self, *places, **options):
        moves.append(places)
        if len(moves) == at:
            raise KeyboardInterrupt
        real_move(self, *places, **options)

    monkeypatch.setattr(local.LocalFileSystem, "mv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_graph(prompt="another").save(str(tmp_path))
    assert AttributionGraph.load(str(tmp_path)).graph_id == small_graph(prompt="another").graph_id
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("before", [True, False])
def test_a_graph_whose_writer_is_killed_while_its_files_are_exchanged_is_finished_by_its_reader(
    tmp_path, monkeypatch, at, before
):
    import fsspec.implementations.local as local

    real_move, moves = local.LocalFileSystem.mv, []

    def killed(self, *places, **options):
        moves.append(places)
        if len(moves) >= at:  # nothing that follows is done
            raise SystemExit
        real_move(self, *places, **options)

    if before:
        small_graph().save(str(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(local.LocalFileSystem, "mv", killed)
        small_graph(prompt="another").save(str(tmp_path))
    assert not (tmp_path / "metadata.json").exists()  # none of two halves is seen
    assert AttributionGraph.load(str(tmp_path)).graph_id == small_graph(prompt="another").graph_id
    assert len(list(tmp_path.iterdir())) == 3


def test_a_graph_that_was_not_written_to_its_end_is_none(tmp_path):
    small_graph().save(str(tmp_path))
    text = (tmp_path / "metadata.json").read_text()
    (tmp_path / "metadata.json").unlink()
    (tmp_path / "metadata.json.part").write_text(text[:100])
    with pytest.raises(GraphFormatError, match=r"no metadata\.json there"):
        AttributionGraph.load(str(tmp_path))


@pytest.mark.parametrize("name", ["nodes.parquet", "edges.parquet"])
def test_a_damaged_table_is_noticed(tmp_path, name):
    small_graph().save(str(tmp_path))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(GraphFormatError, match=name):
        AttributionGraph.load(str(tmp_path))


def test_a_missing_table_is_noticed(tmp_path):
    small_graph().save(str(tmp_path))
    (tmp_path / "edges.parquet").unlink()
    with pytest.raises(GraphFormatError, match=r"edges\.parquet"):
        AttributionGraph.load(str(tmp_path))


def test_tables_of_another_graph_are_noticed(tmp_path):
    small_graph().save(str(tmp_path / "a"))
    other = AttributionGraph.build(small_nodes(), np.array([2]), np.array([3]), np.array([9.0]), ABOUT)
    other.save(str(tmp_path / "b"))
    (tmp_path / "b" / "edges.parquet").rename(tmp_path / "a" / "edges.parquet")
    with pytest.raises(GraphFormatError, match=r"content has the hash .* the graph was saved as"):
        AttributionGraph.load(str(tmp_path / "a"))


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_metadata_that_cannot_be_understood_is_refused(tmp_path, text):
    small_graph().save(str(tmp_path))
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(GraphFormatError, match=r"metadata\.json|schema version|metadata or edges"):
        AttributionGraph.load(str(tmp_path))


def test_metadata_is_read_without_the_tables(tmp_path):
    graph = small_graph(roles={"city": "Dallas"})
    graph.save(str(tmp_path))
    (tmp_path / "nodes.parquet").unlink()
    about = read_metadata(str(tmp_path))
    assert (about["graph_id"], about["roles"]) == (graph.graph_id, {"city": "Dallas"})


def test_a_graph_can_be_saved_on_any_file_system():
    graph = small_graph()
    graph.save("memory://graphs/one")
    assert AttributionGraph.load("memory://graphs/one").graph_id == graph.graph_id


def test_saved_metadata_is_readable_by_people(tmp_path):
    small_graph(prompt="Zürich → Bern").save(str(tmp_path))
    text = (tmp_path / "metadata.json").read_text(encoding="utf-8")
    assert "Zürich → Bern" in text and json.loads(text)["model"] == "model"


def test_a_node_is_found_by_its_id():
    assert small_graph().row_of("E_5_1") == 2
    with pytest.raises(GraphFormatError, match=r"has no node '9_9_9'; expected an id such as '0_7_1'"):
        small_graph().row_of("9_9_9")


def test_outputs_weigh_the_same_where_no_file_tells_their_probability():
    assert small_graph().logit_weight_N.tolist() == [0, 0, 0, 1]
    probability = [np.nan, np.nan, np.nan, 0.25]
    nodes = small_nodes(probability=probability)
    graph = AttributionGraph.build(nodes, np.array([2]), np.array([3]), np.array([1.0]), ABOUT)
    assert graph.logit_weight_N.tolist() == [0, 0, 0, 0.25]
    assert set(string.hexdigits) >= set(graph.graph_id) and len(graph.graph_id) == 16
