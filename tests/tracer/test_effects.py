"""Direct effects: equal to autograd's, and true when a feature is changed."""

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tests.tracer.oracle import autograd_effects
from tests.tracer.small import N_LAYERS, PROMPT, Dictionary, write_dictionary, write_model
from tracer.batches import CPU, GPU, MAX_WASTE, Room, batch_sizes
from tracer.effects import DirectEffects, middle_of

CASES = {
    "llama-plt": ("llama", Dictionary()),
    "llama-plt-relu-skip": ("llama", Dictionary(threshold=False, skip=True, read_hook="ln2.hook_normalized")),
    "llama-clt": ("llama", Dictionary(cross_layer=True, read_hook="hook_resid_mid")),
    "gemma2-plt": ("gemma2", Dictionary(read_hook="ln2.hook_normalized")),
    "gemma2-plt-skip-inner": ("gemma2", Dictionary(skip=True, write_hook="mlp.hook_out")),
    "gemma2-clt": ("gemma2", Dictionary(cross_layer=True, read_hook="hook_resid_mid")),
    "gemma2-clt-skip-inner": ("gemma2", Dictionary(cross_layer=True, skip=True, write_hook="mlp.hook_out")),
    "qwen3-plt": ("qwen3", Dictionary(threshold=False)),
}
TOKENS = torch.tensor(PROMPT)


@pytest.fixture(scope="module", params=list(CASES.values()), ids=list(CASES))
def model(request, tmp_path_factory):
    architecture, kind = request.param
    folder = tmp_path_factory.mktemp(architecture)
    return tracer.load(write_model(folder / "model", architecture), write_dictionary(folder / "dictionary", kind))


@pytest.fixture(scope="module")
def local(model):
    return model.linearise(TOKENS)


@pytest.fixture(scope="module")
def edges(model, local):
    """(A + V, S) effects on features and raw logits."""
    return torch.cat([feature_rows(local), output_rows(local, model.adapter.unembed_VD)])


def all_rows(effects: DirectEffects, targets) -> torch.Tensor:
    effect_BS = targets.read_BD.new_full((len(targets), effects.n_sources), torch.nan)
    for rows, batch_BS in effects.rows(targets):
        effect_BS[rows] = batch_BS
    return effect_BS


def feature_rows(local, batch_size: int = 16, middle: int = 0) -> torch.Tensor:
    effects = DirectEffects(local, batch_size, middle=middle)
    return all_rows(effects, effects.of_features(torch.arange(len(local.features), device=local.token_PD.device)))


def output_rows(local, vector_KD, batch_size: int = 16, middle: int = 0) -> torch.Tensor:
    effects = DirectEffects(local, batch_size, middle=middle)
    return all_rows(
        effects, effects.of_outputs(vector_KD, torch.full((len(vector_KD),), local.n_pos - 1, device=vector_KD.device))
    )


def pre_activations(model, local, read_LPD) -> torch.Tensor:
    """(A,) of the active features, from what the dictionary reads."""
    features = local.features
    layers = (model.transcoders.pre_activations(layer, read_PD) for layer, read_PD in enumerate(read_LPD))
    return torch.stack(list(layers))[features.layer_A, features.position_A, features.index_A]


def check_rows(model, local, token_P, keep_first_position: bool) -> None:
    """All rows of this prompt are those that autograd gives."""
    expected = autograd_effects(model, token_P, keep_first_position)
    ours = torch.cat([feature_rows(local), output_rows(local, model.adapter.unembed_VD)])
    assert 100 < len(local.features) < 1000 and ours.shape == expected.shape
    assert (ours - expected).norm() / expected.norm() < 2e-6
    assert (ours - expected).abs().max() < 1e-5 * max(1, float(expected.abs().max()))


def check_replay(model, local) -> None:
    """The frozen replacement model gives the model's own logits and the features' own activations."""
    read_LPD, final_PD = local.frozen.replay(local.token_PD, local.written_LPD())
    logits_PV = model.adapter.logits(final_PD)
    assert torch.allclose(logits_PV, local.forward.logits_PV, atol=1e-4 * float(logits_PV.abs().max()))
    active_A = pre_activations(model, local, read_LPD)
    assert torch.allclose(active_A, local.features.activation_A, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("keep_first_position", [True, False])
def test_explicit_rows_equal_autograd_through_the_real_model(model, keep_first_position):
    local = model.linearise(TOKENS, keep_first_position)
    check_rows(model, local, TOKENS, keep_first_position)


def test_the_frozen_replacement_model_computes_what_the_model_computes(model, local):
    check_replay(model, local)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_adding_to_a_feature_moves_every_target_by_exactly_the_edge(model, local, edges, data):
    """Truth: what an edge says is what happens when the source's contribution is added `delta` times more."""
    source = data.draw(st.integers(0, len(local.features) - 1), label="source")
    delta = data.draw(st.floats(-3, 3).filter(lambda x: abs(x) > 0.1), label="delta")
    before = local.frozen.replay(local.token_PD, local.written_LPD())
    after = local.frozen.replay(local.token_PD, local.written_LPD() + delta * local.contribution_LPD(source))
    moved_A = pre_activations(model, local, after[0]) - pre_activations(model, local, before[0])
    moved_V = model.adapter.unembed_VD @ (after[1] - before[1])[-1]
    edge_A, edge_V = edges[: len(moved_A), source], edges[len(moved_A) :, source]
    scale = max(1.0, float(local.features.activation_A.max()))
    assert torch.allclose(moved_A, delta * edge_A, rtol=1e-4, atol=2e-5 * scale)
    assert torch.allclose(moved_V, delta * edge_V, rtol=1e-4, atol=2e-5 * scale)


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_doubling_a_token_or_an_error_moves_every_target_by_exactly_the_edge(model, local, edges, data):
    n, n_pos = len(local.features), local.n_pos
    position = data.draw(st.integers(0, n_pos - 1), label="position")
    layer = data.draw(st.integers(-1, local.n_layers - 1), label="layer, -1 for the token")
    token_PD, written_LPD = local.token_PD.clone(), local.written_LPD()
    before_V = model.adapter.unembed_VD @ local.frozen.replay(token_PD, written_LPD)[1][-1]
    if layer < 0:
        token_PD[position] *= 2
        column = n + local.n_layers * n_pos + position
    else:
        written_LPD[layer, position] += local.error_LPD[layer, position]
        column = n + layer * n_pos + position
    after_V = model.adapter.unembed_VD @ local.frozen.replay(token_PD, written_LPD)[1][-1]
    edge_V = edges[n:, column]
    assert torch.allclose(after_V - before_V, edge_V, rtol=1e-4, atol=1e-4 * float(before_V.abs().max()))


def test_rows_do_not_depend_on_the_batch_size(local):
    whole = feature_rows(local, batch_size=10_000)
    for batch_size in (3, 50):
        assert torch.allclose(feature_rows(local, batch_size), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("middle", range(1, N_LAYERS))
def test_rows_that_meet_in_the_middle_are_those_that_are_pulled_to_the_bottom(model, local, middle):
    if middle_of(local, 10**9) == 0:
        pytest.skip("blocks with a bypass are not carried through")
    for batch_size in (16, 300):
        assert close(feature_rows(local, batch_size, middle), feature_rows(local))
        vector_KD = model.adapter.unembed_VD
        assert close(output_rows(local, vector_KD, batch_size, middle), output_rows(local, vector_KD))


def test_sources_and_targets_meet_in_the_middle_only_where_many_are_traced(model, local):
    assert middle_of(local, 1) == 0
    bypass = any(layer.skip_DD is not None for layer in local.frozen.layers)
    assert middle_of(local, len(local.features)) == (0 if bypass else N_LAYERS // 2)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_long_prompts_take_other_ways_to_the_same_rows(model, local, monkeypatch):
    """Nothing folded, nothing kept, as few rows at once as there can be: what happens when memory is short."""
    expected = [feature_rows(local), output_rows(local, model.adapter.unembed_VD)]
    monkeypatch.setattr("tracer.effects.FOLDED_POSITIONS", 0)
    monkeypatch.setattr("tracer.effects.room_of", lambda _: Room(0, 0, 0, 0))
    ours = [feature_rows(local), output_rows(local, model.adapter.unembed_VD)]
    for one, other in zip(ours, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("zeros", [1, 2, 9])
def test_positions_met_together_give_the_same_rows(model, local, monkeypatch, zeros):
    """As on a GPU, however many zeros that may add."""
    alone = [feature_rows(local), output_rows(local, model.adapter.unembed_VD)]
    monkeypatch.setattr("tracer.effects.room_of", lambda _: GPU)
    monkeypatch.setattr("tracer.effects.MOST_PADDING", zeros)
    together = [feature_rows(local), output_rows(local, model.adapter.unembed_VD)]
    for one, other in zip(alone, together, strict=True):
        assert close(one, other)


@settings(max_examples=30, deadline=None)
@given(position_B=st.lists(st.integers(0, 200), min_size=1, max_size=300).map(sorted), batch_size=st.integers(1, 400))
def test_batches_hold_all_rows_and_keep_to_their_limits(position_B, batch_size):
    sizes = batch_sizes(position_B, batch_size, bytes_a_row=1)
    assert sum(sizes) == len(position_B) and min(sizes) >= 1 and max(sizes) <= batch_size
    ends = list(accumulate(sizes))
    for start, end in pairwise([0, *ends]):
        rows = position_B[start:end]
        whole, useful = len(rows) * (rows[-1] + 1), sum(rows) + len(rows)
        # what ends a batch is noticed at the row that would waste too much, and not before products are large enough
        assert useful >= (1 - MAX_WASTE) * whole or (len(rows) - 1) * rows[-2] < CPU.enough_rows


def test_nothing_acts_backwards(local):
    """No effect from the same or a higher layer on a feature, nor from a later position."""
    features, effect_AS = local.features, feature_rows(local)
    among_AA = effect_AS[:, : len(features)]
    not_above = features.layer_A[None] >= features.layer_A[:, None]
    later = features.position_A[None] > features.position_A[:, None]
    assert (among_AA[not_above | later] == 0).all()
    assert (among_AA != 0).any()
