"""Edges found: all of them, or the largest with what they leave out; in memory or on disk alike."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tests.tracer.small import PROMPT, Dictionary, write_dictionary, write_model
from tracer import TraceConfig
from tracer.influence import influence
from tracer.rows import FoundEdges

ROWS = torch.tensor([[1.0, -4.0, 0.0, 2.0], [0.0, 0.0, 3.0, 0.0]])


def found(most: int | None = None, on_disk: bool = False) -> FoundEdges:
    """Two targets, rows 4 and 5, of four sources."""
    edges = FoundEdges(4, 6, most, on_disk)
    edges.add(np.array([4]), ROWS[:1])
    edges.add(np.array([5]), ROWS[1:])
    return edges


@pytest.mark.parametrize("on_disk", [False, True])
def test_zeros_are_no_edges_and_all_others_are(on_disk):
    source, target, effect = found(on_disk=on_disk).columns()
    assert source.tolist() == [0, 1, 3, 2]
    assert target.tolist() == [4, 4, 4, 5]
    assert effect.tolist() == [1, -4, 2, 3]


def test_of_each_target_the_largest_are_kept_and_the_rest_is_summed():
    edges = found(most=2)
    assert [column.tolist() for column in edges.columns()] == [[1, 3, 2], [4, 4, 5], [-4, 2, 3]]
    assert edges.left_out_N.tolist() == [0, 0, 0, 0, 1, 0]
    assert edges.left_out_size_N.tolist() == [0, 0, 0, 0, 1, 0]
    assert [column.tolist() for column in edges.sums()] == [[0, 0, 0, 0, -1, 3], [0, 0, 0, 0, 7, 3]]


def test_edges_come_in_order_of_targets_and_only_between_nodes():
    """Source 1 is no node of the graph, where source 3 comes after outputs and output 5 before output 4."""
    row_N = np.array([0, -1, 1, 4, 3, 2])
    assert [column.tolist() for column in found().in_rows(row_N)] == [[1, 0, 4], [2, 3, 3], [3, 1, 2]]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), most=st.integers(1, 30))
def test_kept_and_left_out_make_up_every_sum(seed, most):
    effect_BS = torch.randn(5, 20, generator=torch.Generator().manual_seed(seed))
    edges = FoundEdges(20, 25, most)
    edges.add(np.arange(20, 25), effect_BS)
    _, target, effect = edges.columns()
    kept_N = np.bincount(target, effect.astype(np.float64), 25) + edges.left_out_N
    size_N = np.bincount(target, np.abs(effect.astype(np.float64)), 25) + edges.left_out_size_N
    assert np.allclose(kept_N[20:], effect_BS.double().sum(1).numpy(), atol=1e-6)
    assert np.allclose(size_N[20:], effect_BS.double().abs().sum(1).numpy(), atol=1e-6)


def test_a_walk_to_what_was_left_out_ends_there():
    """Of output 4's input 7 the edges from 1 and 3 are known: 4 of 7 and 2 of 7."""
    edges = found(most=2)
    influence_N = influence(*edges.columns(), np.array([0, 0, 0, 0, 1.0, 0]), edges.size_N)
    assert np.allclose(influence_N, [0, 4 / 7, 0, 2 / 7, 0, 0])


def test_where_edges_wait_does_not_change_a_byte_of_them(tmp_path):
    model = tracer.load(write_model(tmp_path / "m", "llama"), write_dictionary(tmp_path / "plt", Dictionary()))
    graphs = [
        tracer.attribute(PROMPT, model, TraceConfig(max_feature_nodes=60, rank_every=20, offload=place))
        for place in ("cpu", "disk")
    ]
    assert graphs[0].graph_id == graphs[1].graph_id
    assert (graphs[0].edges.effect == graphs[1].edges.effect).all()
    assert (graphs[0].edges.source == graphs[1].edges.source).all()


def test_shares_of_a_trace_with_few_edges_are_of_all_inputs(tmp_path):
    model = tracer.load(write_model(tmp_path / "m", "llama"), write_dictionary(tmp_path / "plt", Dictionary()))
    whole = tracer.attribute(PROMPT, model)
    part = tracer.attribute(PROMPT, model, TraceConfig(max_edges_per_node=40))
    assert len(part.edges.effect) < len(whole.edges.effect) / 2
    share = dict(zip(zip(whole.edges.source, whole.edges.target, strict=True), whole.edges.share, strict=True))
    for source, target, value in list(zip(part.edges.source, part.edges.target, part.edges.share, strict=True))[:500]:
        assert value == pytest.approx(share[source, target], rel=1e-5)
