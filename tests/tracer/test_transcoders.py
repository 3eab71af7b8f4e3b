"""Dictionaries: read from disk row by row, and refused before any work when they do not fit."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tracer.small import D_MODEL, N_FEATURES, N_LAYERS, Dictionary, write_dictionary, write_model
from tracer.errors import DictionaryError
from tracer.model import load_model
from tracer.replacement import ReplacementModel
from tracer.transcoders import load_transcoders


@pytest.fixture
def plt(tmp_path):
    return write_dictionary(tmp_path / "plt", Dictionary())


@pytest.fixture
def clt(tmp_path):
    return write_dictionary(tmp_path / "clt", Dictionary(cross_layer=True))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return load_model(write_model(tmp_path_factory.mktemp("models") / "tiny", "llama"))


def change(path, edit):
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def test_a_per_layer_set_has_one_output_a_feature(plt):
    dictionary = load_transcoders(plt)
    assert (dictionary.n_layers, dictionary.d_model, dictionary.cross_layer) == (N_LAYERS, D_MODEL, False)
    stored = load_file(plt / "layer_1.safetensors")
    rows = torch.tensor([7, 3, 7])
    assert torch.equal(dictionary.decoder_rows(1, rows), stored["W_dec"][rows][:, None])
    assert torch.equal(dictionary.encoder_rows(1, rows), stored["W_enc"][rows])


def test_a_cross_layer_feature_writes_to_its_layer_and_all_above(clt):
    dictionary = load_transcoders(clt)
    assert [dictionary.decoder_rows(layer, torch.tensor([5])).shape for layer in range(N_LAYERS)] == [
        (1, N_LAYERS - layer, D_MODEL) for layer in range(N_LAYERS)
    ]
    stored = load_file(clt / "W_dec_0.safetensors")["W_dec_0"]
    assert torch.equal(load_transcoders(clt).decoder_rows(0, torch.tensor([5]))[0], stored[5])


def test_jump_relu_lets_pass_only_what_is_above_the_threshold(plt):
    def edit(tensors):
        tensors["W_enc"] = torch.eye(N_FEATURES, D_MODEL)
        tensors["b_enc"].zero_()
        tensors["activation_function.threshold"].fill_(0.5)

    change(plt / "layer_0.safetensors", edit)
    read_PD = torch.zeros(1, D_MODEL)
    read_PD[0, :3] = torch.tensor([0.5, 0.75, -1.0])
    assert load_transcoders(plt).activations(0, read_PD)[0, :3].tolist() == [0, 0.75, 0]


def test_without_threshold_features_are_relu(tmp_path):
    dictionary = load_transcoders(write_dictionary(tmp_path / "relu", Dictionary(threshold=False)))
    read_PD = torch.randn(4, D_MODEL)
    assert torch.equal(dictionary.activations(0, read_PD), dictionary.pre_activations(0, read_PD).clamp(min=0))


@pytest.mark.parametrize(
    ("cross_layer", "part"), [(False, "threshold"), (True, "threshold"), (False, "W_skip"), (True, "W_skip")]
)
def test_what_some_layers_have_all_must_have(tmp_path, cross_layer, part):
    folder = write_dictionary(tmp_path / "set", Dictionary(cross_layer=cross_layer, skip=True))
    name = "W_enc_1" if cross_layer else "layer_1"
    change(folder / f"{name}.safetensors", lambda tensors: tensors.pop(next(key for key in tensors if part in key)))
    with pytest.raises(DictionaryError, match=r"layer 0 has .* and layer 1 has none; expected them in all"):
        load_transcoders(folder)


@pytest.mark.parametrize(
    ("threshold", "told", "message"),
    [
        (True, {"activation": "relu"}, "activation is relu, and the layers have thresholds"),
        (False, {"k": 7}, "k is 7 and activation is None, and there are no thresholds; expected topk beside k"),
        (False, {"activation": "topk", "k": True}, "activation is topk and k is True; expected k, the number of"),
        (False, {"activation": "topk", "k": 0}, "activation is topk and k is 0; expected k, the number of"),
    ],
)
def test_an_activation_that_the_weights_contradict_is_refused(tmp_path, threshold, told, message):
    folder = write_dictionary(tmp_path / "set", Dictionary(threshold=threshold))
    config = json.loads((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(json.dumps(config | told))
    with pytest.raises(DictionaryError, match=message):
        load_transcoders(folder)


def test_what_k_was_in_training_does_not_matter_where_thresholds_decide(tmp_path):
    folder = write_dictionary(tmp_path / "set", Dictionary())
    config = json.loads((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(json.dumps(config | {"k": 7}))
    assert load_transcoders(folder).layers[0].activation.k is None


@pytest.mark.parametrize("cross_layer", [False, True])
def test_the_bypass_is_stored_in_opposite_orientation_by_the_two_formats(tmp_path, cross_layer):
    folder = write_dictionary(tmp_path / "skip", Dictionary(cross_layer=cross_layer, skip=True))
    name, key = ("W_enc_1", "W_skip_1") if cross_layer else ("layer_1", "W_skip")
    stored = load_file(folder / f"{name}.safetensors")[key]
    skip_DD = load_transcoders(folder).skip_DD(1)
    assert skip_DD is not None and torch.equal(skip_DD, stored if cross_layer else stored.T)


def test_bf16_on_disk_is_computed_in_the_models_format(tmp_path, adapter):
    folder = write_dictionary(tmp_path / "half", Dictionary(dtype=torch.bfloat16))
    local = ReplacementModel(adapter, load_transcoders(folder)).linearise(torch.tensor([2, 7, 9]))
    assert local.features.activation_A.dtype == local.error_LPD.dtype == torch.float32


def test_only_headers_are_read_at_load(plt, monkeypatch):
    monkeypatch.setattr("tracer.transcoders.StoredTensor.read", lambda *_: pytest.fail("a tensor was read"))
    load_transcoders(plt)


def test_its_files_are_known(plt, clt):
    assert [path.name for path in load_transcoders(plt).files] == [
        "config.yaml",
        *(f"layer_{i}.safetensors" for i in range(3)),
    ]
    assert len(load_transcoders(clt).files) == 1 + 2 * N_LAYERS


def test_its_published_name_is_taken_from_the_configuration(plt, adapter):
    assert ReplacementModel(adapter, load_transcoders(plt)).source_set == "tiny/plt"
    config = json.loads((plt / "config.yaml").read_text())
    (plt / "config.yaml").write_text(json.dumps(config | {"scan": "gemma-2-2b/all"}))
    assert ReplacementModel(adapter, load_transcoders(plt)).source_set == "gemma-2-2b/all"


@pytest.mark.parametrize("size", [{"n_layers": N_LAYERS - 1}, {"d_model": D_MODEL * 2}])
def test_a_dictionary_of_another_model_is_refused(tmp_path, adapter, size):
    other = load_transcoders(write_dictionary(tmp_path / "other", Dictionary(), **size))
    with pytest.raises(
        DictionaryError, match=r"is for a model of .* tiny has 3 layers and width 32\. Give the dictionary"
    ):
        ReplacementModel(adapter, other)


@pytest.mark.parametrize("key", ["feature_input_hook", "feature_output_hook"])
def test_a_hook_that_is_not_known_is_refused(plt, key):
    config = json.loads((plt / "config.yaml").read_text())
    (plt / "config.yaml").write_text(json.dumps(config | {key: "attn.hook_z"}))
    with pytest.raises(DictionaryError, match=f"{key} is 'attn.hook_z'; expected one of .*hook"):
        load_transcoders(plt)


def test_a_missing_tensor_is_named(plt):
    change(plt / "layer_1.safetensors", lambda tensors: tensors.pop("b_dec"))
    with pytest.raises(DictionaryError, match=r"plt/layer_1\.safetensors has no tensor 'b_dec', it has .*W_enc"):
        load_transcoders(plt)


def test_a_tensor_of_another_shape_is_named(plt):
    change(plt / "layer_2.safetensors", lambda tensors: tensors.update(b_enc=torch.zeros(5)))
    with pytest.raises(DictionaryError, match=r"layer_2\.safetensors: b_enc has the shape \(5,\); expected \(48,\)"):
        load_transcoders(plt)


def test_a_missing_layer_is_noticed(clt):
    (clt / "W_enc_1.safetensors").unlink()
    with pytest.raises(DictionaryError, match=r"clt has no file of layer 1, but of layer 2"):
        load_transcoders(clt)


def test_a_cut_file_is_noticed(plt):
    path = plt / "layer_0.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DictionaryError, match=r"layer_0\.safetensors cannot be read.*Fetch the dictionary again"):
        load_transcoders(plt)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "{unclosed"])
def test_a_broken_configuration_is_refused(plt, text):
    (plt / "config.yaml").write_text(text)
    with pytest.raises(DictionaryError, match=r"plt/config\.yaml"):
        load_transcoders(plt)


def test_an_empty_folder_and_no_folder(tmp_path):
    with pytest.raises(DictionaryError, match=r"no layer_0\.safetensors, .* expected a dictionary folder"):
        load_transcoders(tmp_path)
    with pytest.raises(DictionaryError, match="no such folder"):
        load_transcoders(tmp_path / "nowhere")
    with pytest.raises(DictionaryError, match="neither a folder here nor a dictionary on the hub"):
        load_transcoders("no-one/no-such-dictionary")


@pytest.mark.parametrize(
    ("key", "part"),
    [("W_enc", "pre-activations"), ("W_dec", "decoder rows"), ("b_dec", "biases"), ("W_skip", "the linear bypass")],
)
def test_nan_in_a_dictionary_is_noticed(tmp_path, adapter, key, part):
    folder = write_dictionary(tmp_path / "plt", Dictionary(skip=True))
    change(folder / "layer_1.safetensors", lambda tensors: tensors[key].fill_(float("nan")))
    with pytest.raises(DictionaryError, match=rf"plt: {part} of layer 1 hold NaN .*{key} in layer_1\.safetensors"):
        ReplacementModel(adapter, load_transcoders(folder)).linearise(torch.tensor([2, 5, 7, 30]))


def test_nan_in_thresholds_is_noticed_though_nothing_would_fire(plt):
    change(plt / "layer_1.safetensors", lambda t: t["activation_function.threshold"][3:4].fill_(float("nan")))
    with pytest.raises(DictionaryError, match=r"plt/layer_1\.safetensors: activation_function\.threshold holds NaN"):
        load_transcoders(plt).activations(1, torch.randn(2, D_MODEL))


def named(folder, model_name):
    config = json.loads((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(json.dumps(config | {"model_name": model_name}))
    return load_transcoders(folder)


def test_a_dictionary_of_another_model_by_name_is_refused(plt, adapter):
    dictionary = named(plt, "google/gemma-2-2b")
    other = replace(adapter, name="meta-llama/Llama-3.2-1B")
    with pytest.raises(
        DictionaryError,
        match=r"on google/gemma-2-2b, the model is meta-llama/Llama-3\.2-1B; .*mntss/transcoder",
    ):
        ReplacementModel(other, dictionary)


@pytest.mark.parametrize("name", ["google/gemma-2-2b", "google/Gemma-2-2b-it", "unsloth/gemma-2-2b", "my-tuned-model"])
def test_mirrors_fine_tuned_models_and_folders_are_not_refused(plt, adapter, name):
    ReplacementModel(replace(adapter, name=name), named(plt, "google/gemma-2-2b"))
