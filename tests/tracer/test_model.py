"""Adapters check themselves, hooks never stay, and a model that cannot be traced is refused in one sentence."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tracer.small import (
    ARCHITECTURES,
    N_LAYERS,
    PROMPT,
    Dictionary,
    write_dictionary,
    write_model,
    write_mxfp4,
)
from tracer.adapter import Layout
from tracer.architectures import Gemma2Adapter, LlamaAdapter
from tracer.errors import DictionaryError, SettingError, UnsupportedModelError
from tracer.loading import load
from tracer.model import load_model
from tracer.selfcheck import check_adapter


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture
def llama(tmp_path):
    return write_model(tmp_path / "tiny-llama", "llama")


def hooks_of(adapter):
    modules = adapter.model.modules()
    return [hook for m in modules for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_passes_its_adapters_check(folder):
    adapter = load_model(folder)
    assert (adapter.name, adapter.n_layers) == (folder.name, N_LAYERS)
    checks = check_adapter(adapter)
    assert len(checks) == 6 and all(check.passed for check in checks)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_number_formats_pass_too(folder, dtype):
    assert load_model(folder, dtype=dtype).dtype == getattr(torch, dtype)


def test_the_weights_on_disk_may_be_bf16(llama):
    change_weights(llama, lambda weights: weights.update({k: v.bfloat16() for k, v in weights.items()}))
    assert load_model(llama).dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gpt_oss_is_read_as_published_with_experts_in_mxfp4(tmp_path, dtype):
    """By truth: the same numbers in full give the same logits to the last bit."""
    packed, plain = (load_model(folder, dtype=dtype) for folder in write_mxfp4(tmp_path / "packed", tmp_path / "plain"))
    assert {weight.dtype for weight in packed.model.parameters()} == {getattr(torch, dtype)}
    seen, expected = (adapter.observe(torch.tensor(PROMPT)).logits_PV for adapter in (packed, plain))
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("switch", [{"sliding_window": 2}, {"attn_logit_softcapping": None}, {"head_dim": 8}])
def test_every_switch_of_gemma_2_passes(tmp_path, switch):
    load_model(write_model(tmp_path / "gemma", "gemma2", **switch))


def test_norm_weights_read_the_wrong_way_are_noticed(tmp_path):
    """Gemma 2 stores norm weights minus one; an adapter that forgets it is caught by the replay."""

    class Forgetful(Gemma2Adapter):
        layout = replace(Gemma2Adapter.layout, norm_offset=0.0)

    good = load_model(write_model(tmp_path / "gemma", "gemma2"))
    with pytest.raises(UnsupportedModelError, match=r"Forgetful fails its check that the frozen linear map .*off by"):
        check_adapter(Forgetful(good.model, None, good.name, good.folder))


def test_a_forgotten_post_norm_is_noticed(tmp_path):
    class Forgetful(Gemma2Adapter):
        layout = replace(Gemma2Adapter.layout, attention_post_norm=None)

    good = load_model(write_model(tmp_path / "gemma", "gemma2"))
    with pytest.raises(UnsupportedModelError, match="the frozen linear map"):
        check_adapter(Forgetful(good.model, None, good.name, good.folder))


def test_weights_of_another_shape_are_noticed(llama):
    class Wide(LlamaAdapter):
        def value_GED(self, block):
            return super().value_GED(block)[:1]

    good = load_model(llama)
    with pytest.raises(UnsupportedModelError, match=r"value_GED \(1, 12, 32\) for \(2, 12, 32\)"):
        check_adapter(Wide(good.model, None, good.name, good.folder))


def test_logits_from_a_position_on_are_those_of_the_whole_prompt(llama):
    adapter = load_model(llama)
    whole, kept = (adapter.observe(torch.tensor(PROMPT), first) for first in (0, len(PROMPT) - 2))
    assert len(kept.logits_PV) == 2
    for position in range(len(PROMPT) - 2, len(PROMPT)):
        assert torch.allclose(kept.logits_V(position), whole.logits_V(position), atol=1e-5)


def test_a_pattern_that_does_not_sum_to_one_is_noticed(llama):
    class Leaking(LlamaAdapter):
        def observe(self, token_P):
            forward = super().observe(token_P)
            forward.pattern_LHPP.mul_(0.9)
            return forward

    good = load_model(llama)
    with pytest.raises(UnsupportedModelError, match="attention rows sum to 1"):
        check_adapter(Leaking(good.model, None, good.name, good.folder))


def test_a_part_that_is_not_there_is_named(llama):
    class Elsewhere(LlamaAdapter):
        layout = Layout(mlp="feed_forward")

    good = load_model(llama)
    with pytest.raises(UnsupportedModelError, match="no module 'feed_forward'; Elsewhere expects it"):
        Elsewhere(good.model, None, good.name, good.folder).observe(torch.tensor(PROMPT))
    assert not hooks_of(good)


def test_no_hook_stays_behind(llama):
    adapter = load_model(llama)
    adapter.observe(torch.tensor(PROMPT))
    assert not hooks_of(adapter)


def test_no_hook_stays_behind_when_the_model_fails(llama, monkeypatch):
    def fail(*_):
        raise IndexError("in the middle of the model")

    adapter = load_model(llama)
    monkeypatch.setattr(adapter.blocks[-1].get_submodule("mlp"), "forward", fail)
    with pytest.raises(IndexError):
        adapter.observe(torch.tensor(PROMPT))
    assert not hooks_of(adapter)


def test_the_model_without_eager_attention_is_told_so(llama):
    adapter = load_model(llama)
    adapter.model.set_attn_implementation("sdpa")
    with pytest.raises(UnsupportedModelError, match=r"no pattern.*eager"):
        adapter.observe(torch.tensor(PROMPT))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "no/such/model", ""])
def test_a_folder_that_is_not_there(name):
    with pytest.raises(UnsupportedModelError, match="no such folder; expected a Hugging Face model folder"):
        load_model(name)


def test_a_hub_name_that_cannot_be_fetched():
    with pytest.raises(UnsupportedModelError, match=r"no-one/no-such-model: its configuration cannot be read \("):
        load_model("no-one/no-such-model")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"no config\.json in this folder"):
        load_model(tmp_path)


def test_an_architecture_without_adapter_is_told_what_one_provides(llama):
    change_config(llama, model_type="bloom", architectures=["BloomForCausalLM"])
    with pytest.raises(UnsupportedModelError, match=r"'bloom' has no adapter; there are adapters for llama.*Layout"):
        load_model(llama)


def test_nan_in_the_weights(llama):
    change_weights(llama, lambda weights: weights["model.layers.1.mlp.up_proj.weight"].fill_(float("nan")))
    with pytest.raises(UnsupportedModelError, match=r"NaN or infinity in model\.layers\.1\.mlp\.up_proj"):
        load_model(llama)


def test_missing_weights_are_not_made_up(llama):
    change_weights(llama, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(UnsupportedModelError, match=r"1 weights are missing.*up_proj"):
        load_model(llama)


def test_weights_that_the_configuration_has_no_place_for(llama):
    change_config(llama, num_hidden_layers=N_LAYERS - 1)
    with pytest.raises(
        UnsupportedModelError, match=rf"weights of blocks have no place .* 'model\.layers\.{N_LAYERS - 1}\."
    ):
        load_model(llama)


@pytest.mark.parametrize(
    "extra", ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.attention.masked_bias", "lm_head.more"]
)
def test_buffers_of_older_checkpoints_are_passed_over(llama, extra):
    change_weights(llama, lambda weights: weights.update({extra: torch.ones(2)}))
    load_model(llama)


@pytest.mark.parametrize("told", [{"num_attention_heads": 3}, {"num_hidden_layers": "3"}, {"hidden_size": -1}])
def test_an_impossible_configuration(llama, told):
    change_config(llama, **told)
    with pytest.raises(UnsupportedModelError, match=r"tiny-llama: its (configuration|weights) cannot be read \("):
        load_model(llama)


def test_nothing_but_our_sentence_is_printed_of_weights_that_do_not_fit(llama, capfd):
    change_config(llama, num_hidden_layers=N_LAYERS + 1)
    with pytest.raises(UnsupportedModelError, match="weights are missing"):
        load_model(llama)
    assert capfd.readouterr() == ("", "")


def test_a_stray_description_makes_no_tokenizer(llama):
    (llama / "tokenizer_config.json").write_text("{}")
    assert load_model(llama).tokenizer is None


def test_weights_of_another_configuration(llama):
    change_config(llama, intermediate_size=64)
    with pytest.raises(UnsupportedModelError, match="weights cannot be read"):
        load_model(llama)


def test_a_dictionary_of_another_size_is_refused_before_weights_are_read(llama, tmp_path):
    dictionary = write_dictionary(tmp_path / "plt", Dictionary())
    change_config(llama, num_hidden_layers=N_LAYERS + 1)
    (llama / "model.safetensors").write_bytes(b"unread")
    with pytest.raises(DictionaryError, match=rf"for a model of {N_LAYERS} layers .*tiny-llama has {N_LAYERS + 1}"):
        load(llama, dictionary)


def test_a_dictionary_that_reads_elsewhere_is_refused_before_weights_are_read(llama, tmp_path):
    dictionary = write_dictionary(tmp_path / "plt", Dictionary(read_hook="hook_resid_pre"))
    (llama / "model.safetensors").write_bytes(b"unread")
    with pytest.raises(DictionaryError, match="tiny-llama has no MLP that reads there: its MLPs read after attention"):
        load(llama, dictionary)


def test_the_steps_of_loading_are_told_up_to_the_one_that_fails(llama, tmp_path):
    told = []
    dictionary = write_dictionary(tmp_path / "plt", Dictionary())
    load(llama, dictionary, progress=lambda *step: told.append(step))
    assert told == [(step, 3, "loading the model") for step in range(4)]
    told.clear()
    (llama / "model.safetensors").write_bytes(b"")
    with pytest.raises(UnsupportedModelError, match="its weights cannot be read"):
        load(llama, dictionary, progress=lambda *step: told.append(step))
    assert [step[0] for step in told] == [0, 1]


def test_a_damaged_file(llama):
    path = llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnsupportedModelError, match="weights cannot be read"):
        load_model(llama)


@pytest.mark.parametrize("device", ["gpu", "cuda:7", "tpu", "meta"])
def test_a_device_that_is_not_there(llama, device):
    if device.startswith("cuda") and torch.cuda.device_count() > 7:
        pytest.skip("this machine has eight GPUs")
    with pytest.raises(SettingError, match=f"device '{device}' cannot be used here.*Use device='auto'"):
        load_model(llama, device=device)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Cannot allocate memory (os error 12)"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
@pytest.mark.parametrize(("dtype", "remedy"), [("float32", "Set dtype=bfloat16, which"), ("bfloat16", "Use another")])
def test_a_model_that_does_not_fit_into_memory_is_told_so(llama, monkeypatch, error, dtype, remedy):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tracer.model.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(SettingError, match=rf"^the memory of cpu did not .* {llama} in {dtype}; .* GB are .* {remedy}"):
        load_model(llama, device="cpu", dtype=dtype)


def test_an_unknown_number_format(llama):
    with pytest.raises(SettingError, match="dtype is 'int8'; expected one of float32"):
        load_model(llama, dtype="int8")
