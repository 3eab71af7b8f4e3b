"""`throughline trace` and `export` need no database, and give the peer's arrays for the peer's settings."""

from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from circuits.supernodes import supernodes_of
from ingest.readers import read_graph_file
from tests.app.graphs import capital_graph
from tracer.demo import CLT_DIR, MODEL_DIR
from tracer.graph import AttributionGraph

PARITY = Path(__file__).parents[3] / "shared" / "parity"
FIXTURES = ["gemma2-tiny/plt", "gemma2-tiny/clt", "qwen3-tiny/plt"]
EXACT = ["active_features", "selected_features", "logit_tokens", "node_kind", "node_layer", "node_pos", "input_tokens"]


@pytest.fixture(autouse=True)
def no_database(monkeypatch):
    def refused(*_):
        raise AssertionError("a database was asked for")

    monkeypatch.setattr("ingest.store.open_store", refused)
    monkeypatch.setattr("ingest.server.LocalServer.ensure", refused)


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == 0


@pytest.mark.skipif(not PARITY.is_dir(), reason="no ../shared/parity beside this clone; the case below needs none")
@pytest.mark.parametrize("fixture", FIXTURES)
def test_the_peers_arrays_come_out(fixture, tmp_path):
    name, kind = fixture.split("/")
    expected = np.load(PARITY / name / f"expected.{kind}.npz")
    ids = ",".join(map(str, expected["input_tokens"]))
    where = ["--model", PARITY / name / "model", "--transcoders", PARITY / name / kind]
    run("trace", *where, "--token-ids", ids, "--like", "circuit-tracer", "--out", tmp_path / "g")
    run("export", tmp_path / "g", "--format", "npz", "--out", tmp_path / "g.npz")
    ours = np.load(tmp_path / "g.npz")
    assert set(expected.files) <= set(ours.files)
    for array in expected.files:
        assert ours[array].shape == expected[array].shape and ours[array].dtype == expected[array].dtype, array
    for array in (*EXACT, "node_mask", "edge_mask"):
        assert (ours[array] == expected[array]).all(), array
    off_NN = ours["adjacency"] - expected["adjacency"]
    assert np.abs(off_NN).max() <= 1e-5
    assert np.linalg.norm(off_NN) <= 2e-6 * np.linalg.norm(expected["adjacency"])
    for array in ("activation_values", "logit_probs"):
        assert np.allclose(ours[array], expected[array], rtol=1e-5, atol=1e-5), array
    assert np.allclose(ours["node_influence"], expected["node_influence"], rtol=1e-4, atol=1e-6)
    assert np.allclose(ours["scores"], expected["scores"], rtol=0, atol=1e-6)
    ranked = expected["node_influence"] > 0  # nodes without influence share a rank
    assert np.allclose(ours["influence"][ranked], expected["influence"][ranked], atol=1e-5)


def test_what_was_traced_comes_out_as_arrays_and_as_json(tmp_path):
    where = ["--model", MODEL_DIR, "--transcoders", CLT_DIR]
    run("trace", *where, "Fact: the capital of the state containing Dallas is", "--out", tmp_path / "g")
    run("export", tmp_path / "g", "--out", tmp_path / "g.npz")
    run("export", tmp_path / "g", "--out", tmp_path / "g.json.gz")
    graph, arrays = AttributionGraph.load(str(tmp_path / "g")), np.load(tmp_path / "g.npz")
    assert arrays["adjacency"][graph.edges.target, graph.edges.source].tolist() == graph.edges.effect.tolist()
    assert np.count_nonzero(arrays["adjacency"]) == len(graph.edges)
    shared = arrays["node_influence"][arrays["node_mask"]].sum() / arrays["node_influence"].sum()
    assert shared >= 0.8  # node_threshold, and errors are kept besides
    again = read_graph_file(tmp_path / "g.json.gz")
    assert again.graph_id == graph.pruned().graph_id and again.metadata.provenance["repairs"] == {}
    assert again.nodes["label"].tolist() == graph.pruned().nodes["label"].tolist()


def test_pins_and_groups_are_given_as_in_the_address_of_the_page(tmp_path, capsys):
    capital_graph().save(str(tmp_path / "g"))
    marks = ["--pins", "1_4_3,1_9_2", "--groups", "places:0_7_2,1_4_3;say 100%25:2_5_3,4_21_3"]
    run("export", tmp_path / "g", "--out", tmp_path / "g.json", *marks)
    graph = read_graph_file(tmp_path / "g.json")
    assert graph.metadata.provenance["pins"] == ["1_4_3", "1_9_2"]
    assert [each.name for each in supernodes_of(graph)] == ["places", "say 100%"]
    assert len(graph.nodes) == len(capital_graph().pruned().nodes) + 1, "a pinned node comes though pruning dropped it"
    for name, no_place in (("g.csv", True), ("g.npz", True), ("g.graphml", True), ("g.parquet", False)):
        capsys.readouterr()
        run("export", tmp_path / "g", "--out", tmp_path / name, "--format", name.partition(".")[2], *marks)
        said = " ".join(capsys.readouterr().err.split())
        assert (f"{name.partition('.')[2]} has no place for pins and supernodes" in said) is no_place
    wrong = (
        (["--pins", "9_9_9"], "'9_9_9' is not in graph"),
        (["--groups", "places"], "has no name"),
        (["--groups", "places\udcff:0_7_2"], "bytes that are no text"),
    )
    for marks, said in wrong:
        with pytest.raises(SystemExit) as left:
            main(["export", str(tmp_path / "g"), "--out", str(tmp_path / "no.json"), *marks])
        assert left.value.code == 2 and said in capsys.readouterr().err
        assert not (tmp_path / "no.json").exists()
