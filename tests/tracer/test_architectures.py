"""Every architecture: its frozen map is autograd's, its dictionaries see what its modules see, slips are noticed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tests.tracer.oracle import input_gradient
from tests.tracer.small import ARCHITECTURES, PROMPT, Dictionary, write_dictionary, write_model
from tests.tracer.test_effects import check_replay, check_rows
from tracer.adapter import READ_HOOKS
from tracer.architectures import ADAPTERS, Gpt2Adapter, GptNeoxAdapter, GptOssAdapter, LlamaAdapter, Olmo2Adapter
from tracer.errors import DictionaryError, UnsupportedModelError
from tracer.frozen import FrozenNorm
from tracer.model import load_model
from tracer.selfcheck import check_adapter

TOKENS = torch.tensor(PROMPT)
KINDS = {
    "plt-skip-inner": Dictionary(skip=True, write_hook="mlp.hook_out"),
    "clt": Dictionary(cross_layer=True, read_hook="hook_mlp_in"),
}
NEW = [name for name in ARCHITECTURES if name not in ("llama", "gemma2", "qwen3")]  # these: test_effects
PLACES = [(architecture, kind) for architecture in NEW for kind in KINDS]
PLACES += [("gpt2", "normalized"), ("gpt_neox", "normalized"), ("gpt_oss", "normalized"), ("mistral", "normalized")]
KINDS["normalized"] = Dictionary(threshold=False, read_hook="ln2.hook_normalized")


@pytest.fixture(scope="module", params=PLACES, ids=["-".join(place) for place in PLACES])
def model(request, tmp_path_factory):
    architecture, kind = request.param
    folder = tmp_path_factory.mktemp(architecture)
    return tracer.load(
        write_model(folder / "model", architecture), write_dictionary(folder / "dictionary", KINDS[kind])
    )


@pytest.fixture(scope="module")
def local(model):
    return model.linearise(TOKENS)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def adapter(request, tmp_path_factory):
    return load_model(write_model(tmp_path_factory.mktemp("models") / request.param, request.param))


def small(tmp_path, architecture, **changes):
    return load_model(write_model(tmp_path / architecture, architecture, **changes))


def passing(adapter, module_name, what):
    """(L, P, D) what goes into ("in") or comes out of ("out") this module of each block, by hooks of our own."""
    seen = []

    def hear(module, args, output):
        value = args[0] if what == "in" else output
        seen.append((value[0] if isinstance(value, tuple) else value)[0])

    handles = [block.get_submodule(module_name).register_forward_hook(hear) for block in adapter.blocks]
    adapter.model(TOKENS[None].to(adapter.device), use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack(seen)


def test_there_is_a_small_model_of_every_architecture():
    assert {name.removesuffix("-serial") for name in ARCHITECTURES} == set(ADAPTERS)


def test_direct_effects_equal_autograd_through_the_real_model(model, local):
    check_rows(model, local, TOKENS, keep_first_position=True)


def test_the_replay_of_features_and_errors_is_the_model(model, local):
    check_replay(model, local)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_changed_input_goes_through_the_frozen_map_as_through_the_frozen_model(model, local, seed):
    """Truth: any change of the token embeddings moves any direction of the logits as autograd's gradient says."""
    random = torch.Generator().manual_seed(seed)
    change_PD = torch.randn(local.token_PD.shape, generator=random).to(local.token_PD)
    vector_V = torch.randn(len(model.adapter.unembed_VD), generator=random).to(local.token_PD)
    written_LPD = local.written_LPD()
    before, after = (
        local.frozen.replay(x_PD, written_LPD)[1][-1] for x_PD in (local.token_PD, local.token_PD + change_PD)
    )
    moved = float(vector_V @ model.adapter.unembed_VD @ (after - before))
    expected_PD = input_gradient(model, TOKENS, vector_V) * change_PD
    assert moved == pytest.approx(float(expected_PD.sum()), abs=2e-5 * float(expected_PD.abs().sum()))


def test_dictionaries_read_what_the_modules_see(adapter):
    forward, layout = adapter.observe(TOKENS), adapter.layout
    bare = adapter.read_LPD(forward, "hook_mlp_in")
    assert torch.equal(bare, passing(adapter, layout.mlp_norm or layout.mlp, "in"))
    assert torch.equal(bare, adapter.read_LPD(forward, "hook_resid_pre" if adapter.parallel else "hook_resid_mid"))
    if adapter.parallel:
        assert torch.equal(bare, forward.resid_pre_LPD)
    seen = passing(adapter, layout.mlp, "in")
    assert torch.allclose(adapter.read_LPD(forward, "mlp.hook_in"), seen, rtol=1e-4, atol=1e-5)


def test_dictionaries_reconstruct_what_the_modules_write(adapter):
    forward, layout = adapter.observe(TOKENS), adapter.layout
    inner = adapter.written_LPD(forward, "mlp.hook_out")
    assert torch.equal(inner, passing(adapter, layout.mlp, "out"))
    outer = passing(adapter, layout.mlp_post_norm or layout.mlp, "out")
    assert torch.allclose(adapter.written_LPD(forward, "hook_mlp_out"), outer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [("llama", "post_attention_layernorm"), ("gpt2", "ln_2"), ("gpt_neox", "post_attention_layernorm")],
)
def test_hook_normalized_is_before_the_weight_and_the_bias_of_the_norm(tmp_path, architecture, norm):
    adapter = small(tmp_path, architecture)
    forward = adapter.observe(TOKENS)
    scaled, whole = (adapter.read_LPD(forward, hook) for hook in ("ln2.hook_normalized", "mlp.hook_in"))
    parts = [dict(block.get_submodule(norm).named_parameters()) for block in adapter.blocks]
    again = [x_PD * part["weight"] + part.get("bias", 0) for part, x_PD in zip(parts, scaled, strict=True)]
    assert torch.allclose(torch.stack(again), whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(scaled, whole, atol=0.1)


@pytest.mark.parametrize(
    ("architecture", "hook", "reason"),
    [
        ("gpt_neox", "hook_resid_mid", "its blocks are parallel, the MLP reads hook_resid_pre"),
        ("gpt_neox-serial", "hook_resid_pre", "its MLPs read after attention, at hook_resid_mid"),
        ("llama", "hook_resid_pre", "its MLPs read after attention, at hook_resid_mid"),
        ("olmo2", "ln2.hook_normalized", "its MLPs read the residual stream without a norm, at hook_resid_mid"),
    ],
)
def test_a_place_that_the_architecture_does_not_have_is_refused(tmp_path, architecture, hook, reason):
    dictionary = write_dictionary(tmp_path / "dictionary", Dictionary(read_hook=hook))
    with pytest.raises(DictionaryError, match=f"reads at {hook}; {architecture} has no MLP that reads there: {reason}"):
        tracer.load(write_model(tmp_path / architecture, architecture), dictionary)


def test_every_place_that_is_not_refused_can_be_read(adapter):
    forward, read = adapter.observe(TOKENS), []
    for hook in READ_HOOKS:
        try:
            adapter.check_read_hook(hook, adapter.name, adapter.parallel)
        except DictionaryError:
            continue
        read.append(adapter.read_LPD(forward, hook).shape)
        adapter.freeze(forward, hook, "hook_mlp_out")
    assert len(read) in (3, 4) and set(read) == {forward.resid_mid_LPD.shape}


def test_position_embeddings_are_apart_from_tokens(tmp_path):
    adapter = small(tmp_path, "gpt2")
    forward, body = adapter.observe(TOKENS), adapter.model.transformer
    assert torch.equal(forward.position_PD, body.wpe.weight[: len(TOKENS)])
    assert torch.allclose(forward.token_PD, body.wte.weight[TOKENS], atol=1e-6)
    assert float(forward.position_PD.abs().min()) > 0
    frozen = adapter.freeze(forward, "hook_mlp_in", "hook_mlp_out")
    assert torch.equal(frozen.position_PD, forward.position_PD)


def test_models_with_rotary_positions_add_none_to_the_tokens(adapter):
    forward = adapter.observe(TOKENS)
    if adapter.layout.position is None:
        assert not forward.position_PD.any() and torch.equal(forward.token_PD, forward.resid_pre_LPD[0])


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text", "gemma3", "mistral", "qwen2", "gpt_oss"])
def test_windows_are_shorter_than_the_prompt(tmp_path, architecture):
    """So that what these tests show is shown of windows: some layer cannot see the first token from the last."""
    far_L = small(tmp_path, architecture).observe(TOKENS).pattern_LHPP[:, :, -1, 0].amax(-1)
    assert (far_L == 0).any()
    assert (far_L > 0).any() or architecture == "mistral"  # whose window holds in every layer


def test_sinks_take_a_part_of_attention(tmp_path):
    sum_LHP = small(tmp_path, "gpt_oss").observe(TOKENS).pattern_LHPP.sum(-1)
    assert 0 < sum_LHP.min() < sum_LHP.max() < 1


@pytest.mark.parametrize(
    ("architecture", "switch"),
    [
        ("llama", {"attention_bias": False}),
        ("llama", {"num_key_value_heads": 1}),
        ("gemma3_text", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
        ("gemma3_text", {"attention_bias": False, "tie_word_embeddings": False}),
        ("gemma3_text", {"layer_types": ["full_attention"] * 3}),
        ("mistral", {"sliding_window": None, "tie_word_embeddings": True}),
        ("qwen2", {"layer_types": ["full_attention"] * 3, "tie_word_embeddings": False}),
        ("qwen3", {"attention_bias": True, "tie_word_embeddings": False}),
        ("olmo2", {"attention_bias": False, "num_key_value_heads": 4, "tie_word_embeddings": True}),
        ("gpt_oss", {"attention_bias": False, "layer_types": ["full_attention"] * 3}),
        ("gpt_oss", {"num_experts_per_tok": 1, "tie_word_embeddings": True}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}),
        ("gpt2", {"scale_attn_weights": False, "tie_word_embeddings": False, "n_inner": 40}),
        ("gpt_neox", {"attention_bias": False, "tie_word_embeddings": True}),
        ("gpt_neox", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}}),
        ("gpt_neox-serial", {"attention_bias": False}),
    ],
)
def test_every_switch_of_an_architecture_passes(tmp_path, architecture, switch):
    adapter = small(tmp_path, architecture, **switch)
    config = adapter.model.config.get_text_config()
    assert {name: getattr(config, name) for name in switch}.items() >= {
        name: value for name, value in switch.items() if name != "rope_parameters"
    }.items()


def forgetting(kind, **layout):
    return type("Forgetful", (kind,), {"layout": replace(kind.layout, **layout)})


class Keys(Gpt2Adapter):
    def values(self, fused):
        return super().values(fused.roll(self.d_model, 0))  # keys where values should be


class NotInterleaved(GptNeoxAdapter):
    def values(self, fused):
        return fused[2 * self.d_model :].reshape(self.n_heads, self.d_head, *fused.shape[1:])


class NotParallel(GptNeoxAdapter):
    def __post_init__(self):
        super().__post_init__()
        self.parallel = False


class NoBiasOfNorms(Gpt2Adapter):
    def _norm(self, parent, name, x_PD):
        return replace(super()._norm(parent, name, x_PD), bias_D=None)


class NoMean(Gpt2Adapter):
    def _norm(self, parent, name, x_PD):
        return replace(super()._norm(parent, name, x_PD), centred=False)


@pytest.mark.parametrize(
    ("architecture", "slip", "check"),
    [
        ("gpt2", Keys, "the frozen linear map"),
        ("gpt2", NoBiasOfNorms, "the frozen linear map"),
        ("gpt2", NoMean, "the frozen linear map"),
        ("gpt2", forgetting(Gpt2Adapter, transposed=False), "weights have the shapes|the frozen linear map"),
        ("gpt_neox", NotInterleaved, "the frozen linear map"),
        ("gpt_neox", NotParallel, "the frozen linear map gives what the model's MLPs read"),
        ("llama", forgetting(LlamaAdapter, mlp_norm=None), "the frozen linear map gives what the model's MLPs read"),
        ("olmo2", forgetting(Olmo2Adapter, mlp_post_norm=None), "the frozen linear map"),
        ("gpt_oss", forgetting(GptOssAdapter, sinks=False), "attention rows sum to 1"),
    ],
)
def test_a_slip_of_an_adapter_is_noticed(tmp_path, architecture, slip, check):
    good = small(tmp_path, architecture)
    with pytest.raises(UnsupportedModelError, match=f"{slip.__name__} fails its check that ({check})"):
        check_adapter(slip(good.model, None, good.name, good.folder))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), centred=st.booleans(), scaled=st.booleans(), biased=st.booleans())
def test_pulling_back_is_the_transpose_of_a_frozen_norm(seed, centred, scaled, biased):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    norm = FrozenNorm(draw(3, 5) if scaled else None, centred, draw(5) if biased else None)
    x_PD, change_PD, grad_PBD = draw(3, 5), draw(3, 5), draw(3, 2, 5)
    moved_PD = norm(x_PD + change_PD) - norm(x_PD)
    assert torch.allclose(
        torch.einsum("pbd,pd->pb", grad_PBD, moved_PD), torch.einsum("pbd,pd->pb", norm.pull(grad_PBD), change_PD)
    )
    for position in range(3):
        position_B = torch.full((2,), position)
        assert torch.equal(norm.pull_at(position_B, grad_PBD[position]), norm.pull(grad_PBD)[position])


def test_a_frozen_layer_norm_is_torchs(tmp_path):
    """By hand: at the input it was frozen at, the frozen norm gives what the module gives."""
    adapter = small(tmp_path, "gpt2")
    forward = adapter.observe(TOKENS)
    final = adapter.freeze(forward, "hook_mlp_in", "hook_mlp_out").final
    assert final.centred and not final.diagonal
    assert torch.allclose(
        final(forward.resid_final_PD), adapter.model.transformer.ln_f(forward.resid_final_PD), atol=1e-5
    )
