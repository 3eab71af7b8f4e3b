"""Published files, which nobody here made: each is read whole, or refused for a reason."""

import csv
from pathlib import Path

import numpy as np
import pytest

from circuits.pattern import parse_pattern
from circuits.search import find_circuit
from ingest.readers import read_graph_file
from tests.ingest.graph_documents import (
    repairs,
)
from tests.ingest.test_readers_refused import read_or_refused
from tracer.errors import GraphFormatError
from tracer.schema import NodeKind

REAL = Path(__file__).parents[2].parent / "shared" / "graphs"
INDEX = REAL / "INDEX.csv"
needs_real_files = pytest.mark.skipif(not INDEX.exists(), reason=f"no {INDEX}; own small files prove the same")


def index() -> list[dict[str, str]]:
    if not INDEX.exists():
        return []
    with INDEX.open() as file:
        return [row for row in csv.DictReader(file) if row["kind"].startswith("graph-json")]


NOT_GRAPHS = {"openmoss-atlas": "no `metadata`", "home-made source_id/target_id": "`metadata.scan` is None"}


@needs_real_files
@pytest.mark.parametrize("row", index(), ids=lambda row: row["path"])
def test_every_real_file_is_read_whole_or_refused_for_a_reason(row):
    if row["schema"] in NOT_GRAPHS:
        with pytest.raises(GraphFormatError, match=NOT_GRAPHS[row["schema"]]):
            read_graph_file(REAL / row["path"])
        return
    graph = read_graph_file(REAL / row["path"])
    columns = {"n_feature": "feature", "n_error": "error", "n_embedding": "token", "n_logit": "logit"}
    kinds = graph.nodes["kind"].tolist()
    assert {name: kinds.count(kind) for name, kind in columns.items()} == {name: int(row[name]) for name in columns}
    left_out = sum(n for name, n in repairs(graph).items() if name.endswith("_links"))
    assert len(graph.edges) == int(row["n_links"]) - left_out
    assert graph.metadata.model == row["model_scan"]
    assert graph.metadata.source_set.rpartition("/")[2] == row["source_set"].replace(":", "/").rpartition("/")[2]
    labels = graph.nodes["label"].to_numpy(object)
    assert np.count_nonzero(labels[graph.slice_of(NodeKind.FEATURE)] != "") == int(row["n_labelled_features"])
    assert np.count_nonzero(labels[graph.slice_of(NodeKind.TOKEN)] == "") == 0


@needs_real_files
@pytest.mark.parametrize("path", sorted(REAL.glob("features/**/*.json")), ids=lambda path: path.name)
def test_no_other_real_file_raises_anything_but_a_refusal(path):
    read_or_refused(path)


@needs_real_files
def test_the_known_walk_of_the_real_dallas_graph_is_its_strongest_path():
    path = next(REAL.glob("raw/*/gemma-fact-dallas-austin*5aafe0c2.json"))
    circuit = find_circuit(parse_pattern("Dallas -> Texas -> Austin"), read_graph_file(path))
    assert circuit is not None
    best = circuit.as_row()["paths"][0]
    assert [each["node_id"] for each in best["nodes"]] == ["E_26865_9", "20_15589_10", "27_22605_10"]
    assert [edge["effect"] for edge in best["edges"]] == pytest.approx([43.26, 5.31], abs=0.005)
    walks = [[circuit.nodes[row].node_id for row in each.rows] for each in circuit.paths]
    assert ["E_26865_9", "16_25_9", "27_22605_10"] in walks
    assert best["strength"] < circuit.flow < 1


@needs_real_files
def test_dallas_texas_austin_is_found_in_the_real_haiku_graph():
    graph = read_graph_file(next(REAL.glob("raw/mkenney2/capital-state-dallas*.json")))
    assert graph.metadata.origin == "anthropic"
    circuit = find_circuit(parse_pattern("Dallas -> *Texas* -> say Austin -> Austin"), graph)
    assert circuit is not None and circuit.flow > 0
    labels = [each["label"] for each in circuit.as_row()["paths"][0]["nodes"]]
    assert (labels[0], labels[-2], labels[-1]) == (" Dallas", "say Austin", "Austin")
    assert any("Texas" in label for label in labels)
    assert find_circuit(parse_pattern("Dallas -> Texas -> Austin"), graph) is not None
