"""The report on a model and its dictionary: every check is there, those that fail too, with numbers."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tracer.small import (
    ARCHITECTURES,
    D_MODEL,
    N_FEATURES,
    Dictionary,
    write_dictionary,
    write_model,
    write_tokenizer,
)
from tracer.check import check, run_checks
from tracer.model import load_model, open_model
from tracer.selfcheck import check_tokens
from tracer.transcoders import load_transcoders

KIND = Dictionary(threshold=False, skip=True)


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "tiny", "gemma2")


def by_name(checks):
    return {check.name: check for check in checks}


def explaining(folder, adapter, share):
    """A dictionary whose bypass leaves sqrt(1 - share) of each output's distance to the mean output as error."""
    write_dictionary(folder, KIND)
    forward = adapter.observe(check_tokens(adapter))
    read_LPD = adapter.read_LPD(forward, KIND.read_hook)
    for layer, written_PD in enumerate(adapter.written_LPD(forward, KIND.write_hook)):
        path = folder / f"layer_{layer}.safetensors"
        mean_D = written_PD[1:].mean(0)
        wanted_PD = mean_D + (1 - (1 - share) ** 0.5) * (written_PD - mean_D)
        skip_DD = torch.linalg.lstsq(read_LPD[layer].double(), wanted_PD.double()).solution.float()
        silent = {"W_enc": torch.zeros(N_FEATURES, D_MODEL), "b_enc": -torch.ones(N_FEATURES)}
        change = {"W_skip": skip_DD.T.contiguous(), "b_dec": torch.zeros(D_MODEL)}
        save_file(load_file(path) | silent | change, path)
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_passes_every_check(tmp_path, architecture):
    checks = check(str(write_model(tmp_path / "tiny", architecture)))
    assert len(checks) == 6 and all(check.passed for check in checks)


def test_a_text_of_which_a_tokenizer_leaves_one_token_gives_way_to_tokens_that_have_a_variance(tmp_path):
    folder = write_tokenizer(write_model(tmp_path / "tiny", "qwen2"), add_bos=True)  # read as Qwen's, it drops words
    assert len(load_model(str(folder)).tokenizer("the capital of Texas").input_ids) == 1
    seen = check(str(folder), str(write_dictionary(tmp_path / "dictionary", KIND)))[-1].seen
    assert "nan" not in seen and "tokens drawn from the vocabulary" in seen


@pytest.mark.parametrize("share", [0.75, 1.0])
def test_the_explained_share_is_by_hand(tmp_path, folder, share):
    dictionary = explaining(tmp_path / "dictionary", open_model(folder), share)
    checks = check(str(folder), str(dictionary), device="cpu", dtype="float32")
    assert len(checks) == 9 and all(check.passed for check in checks)
    assert checks[-1].seen.startswith(f"{share:.1%} of the variance, mean over layers, with 0 features")
    assert "8 tokens drawn from the vocabulary" in checks[-1].seen


def test_a_dictionary_that_explains_nothing_is_reported(tmp_path, folder):
    """A random one adds more than it explains; that the replay holds all the same is what errors are for."""
    checks = run_checks(load_model(folder), load_transcoders(write_dictionary(tmp_path / "dictionary", Dictionary())))
    *others, explains = checks
    assert all(check.passed for check in others)
    assert not explains.passed and explains.seen.startswith("-")


def test_a_dictionary_of_another_model_is_reported(tmp_path, folder):
    dictionary = load_transcoders(write_dictionary(tmp_path / "dictionary", Dictionary(), d_model=16))
    *others, fits = run_checks(load_model(folder), dictionary)
    assert len(others) == 6 and all(check.passed for check in others)
    assert not fits.passed and "width 16; tiny has 3 layers and width 32" in fits.seen


def test_a_place_the_model_does_not_have_is_reported(tmp_path, folder):
    dictionary = load_transcoders(write_dictionary(tmp_path / "dictionary", Dictionary(read_hook="hook_resid_pre")))
    fits = run_checks(load_model(folder), dictionary)[-1]
    assert not fits.passed and "reads at hook_resid_pre" in fits.seen


def test_a_damaged_model_gets_the_whole_report(tmp_path, folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    checks = by_name(check(str(folder)))
    assert len(checks) == 6
    assert "up_proj" in checks["all weights are finite numbers"].seen
    assert not checks["all weights are finite numbers"].passed
    assert not checks["the frozen linear map gives the model's own logits"].passed
    assert checks["weights have the shapes the configuration gives"].passed


def test_a_check_that_cannot_be_made_has_failed(tmp_path):
    adapter = open_model(write_model(tmp_path / "tiny", "llama"))
    adapter.model.set_attn_implementation("sdpa")
    checks = by_name(run_checks(adapter))
    assert "no pattern" in checks["the frozen linear map gives the model's own logits"].seen
    assert [name for name, check in checks.items() if check.passed] == [
        "all weights are finite numbers",
        "weights have the shapes the configuration gives",
    ]


def test_a_text_is_used_where_the_model_can_read_it(tmp_path, folder):
    words = ["Fact:", "the", "capital", "of", "the", "state", "containing", "Dallas", "is", "Austin"]
    write_tokenizer(folder, True, ("<pad>", "<eos>", "<bos>", "<unk>", *dict.fromkeys(words)))
    dictionary = write_dictionary(tmp_path / "dictionary", KIND)
    assert "on 'Fact: the capital" in check(str(folder), str(dictionary))[-1].seen
