"""What is written in other tools' formats holds the same graph, and read again it is the same graph."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import networkx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from app.exporting import with_marks
from ingest.export_formats import format_of
from ingest.graph_json import cumulative_influence, walked_influence
from ingest.load import graph_places
from ingest.readers import read_graph_file
from ingest.writers import write_graph, write_json
from tests.ingest.graph_documents import circuit_tracer
from tests.ingest.made_graphs import make_graph
from tracer.errors import SettingError
from tracer.graph import AttributionGraph, GraphMetadata
from tracer.schema import NodeKind, node_id

GRAPHS = Path(__file__).parents[3] / "shared" / "graphs"
SCHEMA = GRAPHS / "features" / "neuronpedia_schema" / "graph-schema.json"
needs_real_graphs = pytest.mark.skipif(not GRAPHS.is_dir(), reason="no ../shared/graphs beside this clone")
REFUSED = ("OpenMOSS", "SharathSPhD")  # other formats, see test_readers

N_LAYERS = 3
SAME = ["node_id", "kind", "layer", "position", "index", "label", "label_note", "activation", "probability"]
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = WORDS.map(str.strip)
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def graphs(draw) -> AttributionGraph:
    """A small graph of any kinds of nodes, texts, marks and effects, in the order in which the tracer writes."""
    tokens = tuple(draw(st.lists(WORDS, min_size=1, max_size=4)))
    places = st.tuples(st.integers(0, N_LAYERS - 1), st.integers(0, len(tokens) - 1), st.integers(0, 10**12))
    nodes = [(NodeKind.FEATURE, *place, draw(LABELS)) for place in sorted(draw(st.sets(places, max_size=5)))]
    errors = st.tuples(st.integers(0, N_LAYERS - 1), st.integers(0, len(tokens) - 1))
    nodes += [(NodeKind.ERROR, *place, -1, "") for place in sorted(draw(st.sets(errors, max_size=3)))]
    nodes += [(NodeKind.TOKEN, -1, at, draw(st.integers(0, 10**6)), text) for at, text in enumerate(tokens)]
    outputs = sorted(draw(st.sets(st.integers(0, 10**6), min_size=1, max_size=3)))
    nodes += [(NodeKind.LOGIT, N_LAYERS, len(tokens) - 1, index, draw(WORDS)) for index in outputs]
    biases = draw(st.sets(st.tuples(st.integers(0, 2), st.integers(-1, N_LAYERS - 1)), max_size=4))
    nodes += [(NodeKind.BIAS, layer, -1, which, "constant") for which, layer in sorted(biases)]
    table = pd.DataFrame(nodes, columns=["kind", "layer", "position", "index", "label"])
    table["node_id"] = [node_id(kind, layer, position, index, N_LAYERS) for kind, layer, position, index, _ in nodes]
    table["label_note"] = ["measured" if row[0] is NodeKind.FEATURE and row[4] else "" for row in nodes]
    table["activation"] = [draw(NUMBERS) if row[0] is NodeKind.FEATURE else np.nan for row in nodes]
    table["probability"] = [0.25 if row[0] is NodeKind.LOGIT else np.nan for row in nodes]
    layer, bias = table["layer"].to_numpy(), (table["kind"] == NodeKind.BIAS).to_numpy()
    possible = np.argwhere((layer[:, None] - bias[:, None] < layer[None, :]) & ~bias[None, :])
    chosen = draw(st.sets(st.integers(0, len(possible) - 1), max_size=12)) if len(possible) else set()
    source, target = possible[sorted(chosen)].reshape(-1, 2).T
    effect = np.array([draw(NUMBERS) for _ in chosen], np.float32)
    ids = st.sampled_from(table["node_id"].tolist())
    groups = st.builds(lambda label, members: {"label": label, "members": members}, WORDS, st.lists(ids, min_size=1))
    marks = {"pins": draw(st.lists(ids, max_size=3)), "supernodes": draw(st.lists(groups, max_size=2))}
    about = GraphMetadata(
        slug="small", prompt="a prompt", tokens=tokens, model=draw(st.sampled_from(["m", "owner/m"])),
        source_set=draw(st.sampled_from(["m/set", "owner/m/set", "set"])), n_layers=N_LAYERS,
        target=draw(st.sampled_from(["logit", "log-odds"])), replacement_score=0.25, roles={"city": "Dallas"},
        provenance=marks,
    )  # fmt: skip
    return AttributionGraph.build(table, source, target, effect, about)


def assert_same(again: AttributionGraph, graph: AttributionGraph) -> None:
    assert again.graph_id == graph.graph_id
    for name in SAME:
        np.testing.assert_array_equal(again.nodes[name].to_numpy(), graph.nodes[name].to_numpy(), name)  # NaN too
    for name in ("pins", "supernodes"):
        assert again.metadata.provenance[name] == graph.metadata.provenance.get(name, [])
    for name in ("slug", "prompt", "tokens", "model", "source_set", "origin", "target", "roles", "replacement_score"):
        assert getattr(again.metadata, name) == getattr(graph.metadata, name)
    assert again.metadata.provenance["repairs"] == {}


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_json_out_and_in_again_is_the_same_graph(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "small.json"
    write_json(graph, path)
    assert_same(read_graph_file(path), graph)


def real_graphs() -> Iterator[Path]:
    """The smallest graph of each owner but of those whose files are refused, and the one with the most marks."""
    for folder in sorted((GRAPHS / "raw").glob("*")) if GRAPHS.is_dir() else []:
        if folder.name not in REFUSED:
            yield from sorted(folder.rglob("*.json"), key=lambda path: path.stat().st_size)[:1]
    yield from sorted((GRAPHS / "raw").glob("peppinob-ol/*5aafe0c2.json"))


@settings(max_examples=60, deadline=None)
@given(
    graph=graphs(), slug=WORDS, source_set=st.one_of(WORDS.filter(str.strip), st.sampled_from(["../x", "m/../../y"]))
)
def test_a_static_folder_out_and_in_again_is_the_same_graph(graph, slug, source_set, tmp_path_factory):
    about = replace(graph.metadata, slug=slug or "s", source_set=source_set)
    graph = AttributionGraph(graph.nodes, graph.edges, about)
    outer = tmp_path_factory.mktemp("static")
    write_graph(graph, outer / "folder", "anthropic")
    (path,) = graph_places(outer / "folder")
    assert isinstance(path, Path)
    assert_same(read_graph_file(path), graph)
    assert [each.name for each in outer.iterdir()] == ["folder"]
    nodes = json.loads(path.read_text())["nodes"]
    assert len({node["jsNodeId"] for node in nodes}) == len(nodes)


@needs_real_graphs
@pytest.mark.parametrize("path", real_graphs(), ids=lambda path: path.stem[:40])
def test_a_published_graph_in_a_static_folder_and_in_again_is_the_same(path, tmp_path):
    graph = read_graph_file(path)
    write_graph(graph, tmp_path, "anthropic")
    (again,) = graph_places(tmp_path)
    assert_same(read_graph_file(again), graph)  # type: ignore[arg-type]


@needs_real_graphs
@pytest.mark.parametrize("path", real_graphs(), ids=lambda path: path.stem[:40])
def test_a_published_graph_out_and_in_again_is_the_same(path, tmp_path):
    graph = read_graph_file(path)
    again = tmp_path / "again.json"
    write_json(graph, again)
    assert_same(read_graph_file(again), graph)
    before, after = (json.loads(each.read_text()) for each in (path, again))
    errors = list(Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(after))
    assert not errors, errors[0].message
    assert targets(before) in (targets(after), [])  # CRM's marks none
    shown, view = before.get("qParams", {}), after["qParams"]
    assert view["sg_pos"] == shown.get("sg_pos", "")
    assert bool(view["clickedId"]) == bool(shown.get("clickedId"))
    assert view["clickedId"] in ("", *(node["node_id"] for node in after["nodes"]))


def targets(document: dict) -> list[float]:
    """The chances of the outputs that are marked as targets."""
    return [node["token_prob"] for node in document["nodes"] if node.get("is_target_logit")]


VIEW = {"linkType": "input", "clickedId": "1_7_2", "sg_pos": "10 20 30 40"}


def test_how_the_front_end_showed_marks_is_kept_with_these_marks_alone(tmp_path):
    path = tmp_path / "g.json"
    path.write_text(json.dumps(circuit_tracer() | {"qParams": {"pinnedIds": ["1_7_2"], "supernodes": []} | VIEW}))
    graph = read_graph_file(path)
    write_json(graph, path)
    assert json.loads(path.read_text())["qParams"] == {"pinnedIds": ["1_7_2"], "supernodes": []} | VIEW
    write_json(with_marks(graph, ["1_7_2", "0_5_2"], None), path)
    shown = json.loads(path.read_text())["qParams"]
    assert (shown["linkType"], shown["clickedId"], shown["sg_pos"]) == ("both", "", "")


def test_a_node_that_was_clicked_on_and_is_not_there_is_counted(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(circuit_tracer() | {"qParams": {"clickedId": "9_9_9", "sg_pos": [1]}}))
    found = read_graph_file(tmp_path / "g.json").metadata.provenance["repairs"]
    assert (found["unknown_pins"], found["values_of_wrong_kind"]) == (1, 1)


@needs_real_graphs
def test_json_is_valid_by_the_public_schema(tmp_path):
    write_graph(make_graph(1), tmp_path / "g.json", "json")
    content = json.loads((tmp_path / "g.json").read_text())
    assert not list(Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(content))


@needs_real_graphs
def test_json_is_valid_whatever_settings_the_file_had_that_it_was_read_from(tmp_path):
    document = circuit_tracer()
    document["metadata"] |= {"node_threshold": None, "generation_settings": "x", "pruning_settings": {"x": 1}}
    document["metadata"]["info"]["create_time_ms"] = "yesterday"
    (tmp_path / "odd.json").write_text(json.dumps(document))
    graph = read_graph_file(tmp_path / "odd.json")
    write_graph(graph, tmp_path / "g.json", "json")
    write_graph(graph, tmp_path / "static", "anthropic")
    for path in (tmp_path / "g.json", tmp_path / "static" / "graph_data" / "two-hops.json"):
        assert not list(Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(json.loads(path.read_text())))


def test_json_holds_the_pruned_graph_and_on_request_the_whole_one(tmp_path):
    graph = make_graph(1)
    for whole, expected in ((False, graph.pruned()), (True, graph)):
        write_graph(graph, tmp_path / "g.json", "json", whole)
        content = json.loads((tmp_path / "g.json").read_text())
        assert [node["node_id"] for node in content["nodes"]] == expected.nodes["node_id"].tolist()
        assert [link["weight"] for link in content["links"]] == expected.edges.effect.tolist()


def test_json_says_influence_and_features_as_circuit_tracer_does(tmp_path):
    nodes = pd.DataFrame(
        {"node_id": ["1_7_0", "E_5_0", "3_9_0"], "kind": ["feature", "token", "logit"], "layer": [1, -1, 2],
         "position": 0, "index": [7, 5, 9], "label": ["seven", " x", " y"], "activation": [2.0, np.nan, np.nan],
         "influence": [0.25, 0.75, 1.0], "probability": [np.nan, np.nan, 0.5]}
    )  # fmt: skip
    about = GraphMetadata("hand", " x", (" x",), "model", "model/set", n_layers=2)
    write_json(AttributionGraph.build(nodes, [1, 0], [0, 2], [2.0, -1.0], about), tmp_path / "g.json")  # type: ignore[arg-type]
    content = json.loads((tmp_path / "g.json").read_text())
    feature, token, logit = content["nodes"]
    assert feature["feature"] == (1 + 7) * (1 + 7 + 1) // 2 + 7
    assert (token["layer"], token["feature"], token["clerp"]) == ("E", 0, 'Emb: " x"')
    assert (logit["layer"], logit["clerp"], logit["token_prob"]) == ("3", 'Output " y" (p=0.500)', 0.5)
    assert [node["influence"] for node in content["nodes"]] == [1.0, 0.75, None]
    assert content["metadata"]["feature_details"] == {"neuronpedia_source_set": "set"}


def test_viewers_show_every_node_that_pruning_left(tmp_path):
    """They hide nodes whose `influence` is beyond the `node_threshold` of the file."""
    graph = _at_threshold(make_graph(1), 0.8)
    write_graph(graph, tmp_path / "g.json", "json")
    write_graph(graph, tmp_path, "anthropic")
    for file in ("g.json", "graph_data/made-1.json"):
        content = json.loads((tmp_path / file).read_text())
        shares = [node["influence"] for node in content["nodes"] if node["feature_type"] != "logit"]
        assert content["metadata"]["node_threshold"] == 0.8 and max(shares) == 0.8 > min(shares) > 0
    listed = json.loads((tmp_path / "data/graph-metadata.json").read_text())["graphs"]
    assert [entry["node_threshold"] for entry in listed] == [0.8]


@pytest.mark.parametrize("threshold, last", [(0.8, 0.8), (1.0, 1.0), (0.0, 1.0), (None, 1.0), ("0.8", 1.0), (7, 1.0)])
def test_shares_of_a_pruned_graph_end_at_its_threshold_and_those_of_a_whole_one_at_1(threshold, last):
    whole = _at_threshold(make_graph(1), threshold)
    assert cumulative_influence(whole).max() == pytest.approx(1, abs=1e-9)
    share_N = cumulative_influence(whole.pruned())
    assert share_N.max() == last
    features_N, influence_N = whole.pruned().slice_of(NodeKind.FEATURE), walked_influence(whole.pruned())
    order = np.argsort(share_N[features_N], kind="stable")
    assert (np.diff(influence_N[features_N][order]) <= 0).all()


def _at_threshold(graph, threshold):
    config = {"config": {"node_threshold": threshold}}
    about = replace(graph.metadata, provenance=graph.metadata.provenance | config)
    return replace(graph, metadata=about)


def test_a_name_that_ends_in_gz_is_packed_and_the_same_graph_gives_the_same_bytes(tmp_path):
    for name in ("one.json.gz", "two.json.gz", "one.npz", "two.npz"):
        write_graph(make_graph(1), tmp_path / name, "npz" if name.endswith("npz") else "json")
    assert json.loads(gzip.decompress((tmp_path / "one.json.gz").read_bytes()))["metadata"]["slug"] == "made-1"
    for ending in ("json.gz", "npz"):
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_npz_holds_the_dense_matrix_with_targets_as_rows(tmp_path):
    graph = make_graph(5)
    write_graph(graph, tmp_path / "g.npz", "npz")
    arrays = np.load(tmp_path / "g.npz")
    n, edges = len(graph.nodes), graph.edges
    effect_NN, kept_NN = np.zeros((n, n), np.float32), np.zeros((n, n), bool)
    effect_NN[edges.target, edges.source], kept_NN[edges.target, edges.source] = edges.effect, edges.kept
    assert (arrays["adjacency"] == effect_NN).all() and arrays["adjacency"].dtype == np.float32
    assert (arrays["edge_mask"] == np.packbits(kept_NN, axis=1)).all()
    assert (arrays["node_mask"] == graph.nodes["kept"]).all()
    assert [list(NodeKind)[code].value for code in arrays["node_kind"]] == graph.nodes["kind"].tolist()
    assert arrays["scores"][0] == 0.5 and np.isnan(arrays["scores"][1])
    features = graph.nodes[["layer", "position", "index"]].to_numpy()[graph.slice_of(NodeKind.FEATURE)]
    assert (arrays["active_features"][arrays["selected_features"]] == features).all()


def test_graphml_is_read_by_networkx_whatever_labels_hold(tmp_path):
    graph = make_graph(2)
    graph.nodes.loc[0, "label"] = 'a\x00b<&"]]>\ud83d'.encode("utf-8", "ignore").decode() + "𝄞 \r\nעברית\r"
    write_graph(graph, tmp_path / "g.graphml", "graphml", whole=True)
    read = networkx.read_graphml(tmp_path / "g.graphml")
    assert read.nodes[graph.nodes["node_id"][0]]["label"] == 'a�b<&"]]>𝄞 \r\nעברית\r'
    ids, edges = graph.nodes["node_id"].to_numpy(), graph.edges
    effects = {(s, t): e for s, t, e in zip(ids[edges.source], ids[edges.target], edges.effect.tolist(), strict=True)}
    assert {(s, t): np.float32(data["effect"]) for s, t, data in read.edges(data=True)} == effects
    assert read.graph["graph_id"] == graph.graph_id


def test_csv_is_read_by_pandas(tmp_path):
    graph = make_graph(2).pruned()
    graph.nodes.loc[[0, 1, 2], "label"] = ["a\rb", "\r", 'c\r\nd, "e"']
    write_graph(graph, tmp_path / "tables", "csv")
    nodes, edges = (
        pd.read_csv(tmp_path / "tables" / name, keep_default_na=False) for name in ("nodes.csv", "edges.csv")
    )
    assert not nodes["activation"].iloc[graph.slice_of(NodeKind.TOKEN).start]  # none: an empty text
    assert nodes["label"].tolist() == graph.nodes["label"].tolist()
    assert (np.array(edges["effect"], np.float32) == graph.edges.effect).all()
    assert edges["source"].tolist() == graph.nodes["node_id"].to_numpy()[graph.edges.source].tolist()


@pytest.mark.parametrize("format", ["json", "graphml", "npz"])
def test_a_folder_in_the_place_of_a_file_is_named_with_what_to_do(format, tmp_path):
    with pytest.raises(SettingError, match=rf"^{re.escape(str(tmp_path))} is a folder; expected the name of a file"):
        write_graph(make_graph(2), tmp_path, format)
    assert not list(tmp_path.parent.glob("*.part"))


def test_parquet_is_a_saved_graph(tmp_path):
    write_graph(make_graph(2), tmp_path / "g", "parquet")
    assert AttributionGraph.load(str(tmp_path / "g")).graph_id == make_graph(2).graph_id


def test_writing_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "g.json"
    path.write_text("before")
    monkeypatch.setattr("ingest.graph_json._json_nodes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_json(make_graph(1), path)
    assert path.read_text() == "before" and [each.name for each in tmp_path.iterdir()] == ["g.json"]


def full_disk(*_):
    raise OSError(28, "No space left on device")
    yield


def test_a_file_name_without_a_format_is_refused():
    assert format_of(Path("x.NPZ")) == "npz"
    with pytest.raises(SettingError, match="does not say in which format"):
        format_of(Path("x.txt"))
