"""The peer's numbers: what circuit-tracer 0.5.0 computes on the fixtures in ../shared/parity, we compute."""

from pathlib import Path

import numpy as np
import pytest

import tracer
from tracer import TraceConfig
from tracer.influence import prune
from tracer.schema import NodeKind

PARITY = Path(__file__).parents[3] / "shared" / "parity"
FIXTURES = ["gemma2-tiny/plt", "gemma2-tiny/clt", "qwen3-tiny/plt"]

pytestmark = pytest.mark.skipif(
    not PARITY.is_dir(),
    reason="no ../shared/parity beside this clone; test_effects.py proves the same against autograd",
)


@pytest.fixture(scope="module", params=FIXTURES)
def traced(request):
    """(expected arrays, our graph) of one fixture."""
    name, kind = request.param.split("/")
    expected = np.load(PARITY / name / f"expected.{kind}.npz")
    model = tracer.load(PARITY / name / "model", PARITY / name / kind)
    return expected, tracer.attribute(expected["input_tokens"], model, TraceConfig.like("circuit-tracer"))


def dense(graph, value_E, dtype):
    matrix_NN = np.zeros((len(graph.nodes), len(graph.nodes)), dtype)
    matrix_NN[graph.edges.target, graph.edges.source] = value_E
    return matrix_NN


def test_nodes_are_the_same_in_the_same_order(traced):
    expected, graph = traced
    features = graph.nodes[graph.slice_of(NodeKind.FEATURE)]
    assert (features[["layer", "position", "index"]].to_numpy() == expected["active_features"]).all()
    assert np.allclose(features["activation"], expected["activation_values"], rtol=1e-5, atol=1e-5)
    kinds = [list(NodeKind)[code].value for code in expected["node_kind"]]
    assert (graph.nodes["kind"] == kinds).all()
    outputs = graph.nodes[graph.slice_of(NodeKind.LOGIT)]
    assert (outputs["index"].to_numpy() == expected["logit_tokens"]).all()
    assert np.allclose(outputs["probability"], expected["logit_probs"], rtol=0, atol=1e-5)  # as for the matrix


def test_direct_effects_are_the_same(traced):
    expected, graph = traced
    ours_NN, theirs_NN = dense(graph, graph.edges.effect, np.float32), expected["adjacency"]
    assert np.abs(ours_NN - theirs_NN).max() <= 1e-5
    assert np.linalg.norm(ours_NN - theirs_NN) <= 2e-6 * np.linalg.norm(theirs_NN)


def test_the_pruned_graph_is_the_same(traced):
    expected, graph = traced
    assert (graph.nodes["kept"].to_numpy() == expected["node_mask"]).all()
    edge_mask = np.unpackbits(expected["edge_mask"], axis=1)[:, : len(graph.nodes)].astype(bool)
    assert (dense(graph, graph.edges.kept, bool) == edge_mask).all()


def test_influence_and_scores_are_the_same(traced):
    expected, graph = traced
    before_outputs = graph.slice_of(NodeKind.LOGIT).start
    ours_N = graph.nodes["influence"].to_numpy()
    assert np.allclose(ours_N[:before_outputs], expected["node_influence"][:before_outputs], rtol=1e-4, atol=1e-6)
    scores = (graph.metadata.replacement_score, graph.metadata.completeness_score)
    assert scores == pytest.approx(expected["scores"], abs=1e-6)


def test_cumulative_influence_is_the_same(traced):
    expected, graph = traced
    edges, nodes = graph.edges, graph.nodes
    weight_N = np.nan_to_num(nodes["probability"].to_numpy(np.float64))
    pruning = prune(edges.source, edges.target, edges.effect, nodes["kind"].to_numpy(), weight_N, keep_errors=False)
    ranked = np.flatnonzero(pruning.influence_N > 0)  # nodes without influence share a rank
    ours_R, theirs_R = pruning.cumulative_N[ranked], expected["influence"][ranked]
    assert np.allclose(np.sort(ours_R), np.sort(theirs_R), atol=1e-5)
    influence_R = pruning.influence_N[ranked]
    nearest_R = np.abs(influence_R[:, None] - influence_R + np.diag(np.full(len(ranked), np.inf))).min(1)
    apart = nearest_R > 1e-4 * influence_R  # of two as good as equal another device may put the other first
    assert apart.mean() > 0.8 and np.allclose(ours_R[apart], theirs_R[apart], atol=1e-5)
