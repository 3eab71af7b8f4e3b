"""Layouts of published dictionaries: the same random dictionary, written in each, is read as the same dictionary."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tracer.small import D_MODEL, N_FEATURES, N_LAYERS, write_model
from tracer import stored
from tracer.errors import DictionaryError
from tracer.model import load_model
from tracer.replacement import ReplacementModel
from tracer.stored import stored_tensors
from tracer.transcoders import load_transcoders

HOOKS = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}


@dataclass(frozen=True)
class Drawn:
    """A random dictionary, as tensors: encoders (F, D), decoders (F, n, D), a bypass to be applied as x @ skip."""

    cross_layer: bool = False
    with_skip: bool = True
    layers: list[dict[str, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = torch.Generator().manual_seed(5)
        for i in range(N_LAYERS):
            n_out = N_LAYERS - i if self.cross_layer else 1
            shapes = {
                "encoder": (N_FEATURES, D_MODEL),
                "encoder_bias": (N_FEATURES,),
                "decoder": (N_FEATURES, n_out, D_MODEL),
                "bias": (D_MODEL,),
                "threshold": (N_FEATURES,),
                "skip": (D_MODEL, D_MODEL),
            }
            layer = {name: 0.3 * torch.randn(*shape, generator=random) for name, shape in shapes.items()}
            layer["threshold"] = layer["threshold"].abs()
            self.layers.append(layer if self.with_skip else layer | {"skip": torch.zeros(0, 0)})

    def activations(self, layer: int, x_PD: Tensor) -> Tensor:
        part = self.layers[layer]
        pre_PF = x_PD @ part["encoder"].T + part["encoder_bias"]
        return pre_PF * (pre_PF > part["threshold"])


def write(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items() if value.numel()}, path)


def write_config(folder: Path, **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(HOOKS | more))  # JSON is YAML
    return folder


def circuit_tracer_plt(folder: Path, drawn: Drawn, **more) -> Path:
    for i, part in enumerate(drawn.layers):
        tensors = {"W_enc": part["encoder"], "b_enc": part["encoder_bias"], "W_dec": part["decoder"][:, 0]}
        tensors |= {"b_dec": part["bias"], "W_skip": part["skip"].T}
        tensors |= {"activation_function.threshold": part["threshold"]} if "activation" not in more else {}
        write(folder / f"layer_{i}.safetensors", tensors)
    return write_config(folder, model_kind="transcoder_set", **more)


def circuit_tracer_clt(folder: Path, drawn: Drawn) -> Path:
    for i, part in enumerate(drawn.layers):
        tensors = {f"W_enc_{i}": part["encoder"], f"b_enc_{i}": part["encoder_bias"], f"b_dec_{i}": part["bias"]}
        tensors |= {f"threshold_{i}": part["threshold"], f"W_skip_{i}": part["skip"]}
        write(folder / f"W_enc_{i}.safetensors", tensors)
        write(folder / f"W_dec_{i}.safetensors", {f"W_dec_{i}": part["decoder"]})
    return write_config(folder, model_kind="cross_layer_transcoder")


def gemma_scope(folder: Path, drawn: Drawn) -> Path:
    for i, part in enumerate(drawn.layers):
        path = folder / f"layer_{i}" / "width_16k" / f"average_l0_{76 - i}" / "params.npz"
        path.parent.mkdir(parents=True)
        tensors = {"W_enc": part["encoder"].T.contiguous(), "W_dec": part["decoder"][:, 0].contiguous()}
        tensors |= {"b_enc": part["encoder_bias"], "b_dec": part["bias"], "threshold": part["threshold"]}
        np.savez(path, **{name: value.numpy() for name, value in tensors.items()})  # type: ignore[arg-type]
    return write_config(folder)


def gemma_scope_2_tensors(part: dict[str, Tensor], decoder: Tensor) -> dict[str, Tensor]:
    tensors = {"w_enc": part["encoder"].T, "b_enc": part["encoder_bias"], "w_dec": decoder, "b_dec": part["bias"]}
    return tensors | {"threshold": part["threshold"], "affine_skip_connection": part["skip"]}


def gemma_scope_2_plt(folder: Path, drawn: Drawn) -> Path:
    for i, part in enumerate(drawn.layers):
        place = folder / f"layer_{i}_width_16k_l0_small_affine"
        write(place / "params.safetensors", gemma_scope_2_tensors(part, part["decoder"][:, 0]))
        points = {
            "hf_hook_point_in": f"model.layers.{i}.pre_feedforward_layernorm.output",
            "hf_hook_point_out": f"model.layers.{i}.post_feedforward_layernorm.output",
        }
        about = {"architecture": "jump_relu", "model_name": "gemma-v3-1b-pt", "affine_connection": True}
        (place / "config.json").write_text(json.dumps(about | points))
    return folder


def gemma_scope_2_clt(folder: Path, drawn: Drawn) -> Path:
    for i, part in enumerate(drawn.layers):
        unused = torch.full((N_FEATURES, i, D_MODEL), 99.0)  # targets below the feature
        write(
            folder / f"params_layer_{i}.safetensors",
            gemma_scope_2_tensors(part, torch.cat([unused, part["decoder"]], 1)),
        )
    return write_config(folder)


def saelens(folder: Path, drawn: Drawn) -> Path:
    for i, part in enumerate(drawn.layers):
        place = folder / f"blocks.{i}.mlp.hook_in"
        tensors = {"W_enc": part["encoder"].T, "b_enc": part["encoder_bias"], "W_dec": part["decoder"][:, 0]}
        tensors |= {"b_dec": part["bias"], "threshold": part["threshold"], "W_skip": part["skip"].T}
        write(place / "sae_weights.safetensors", tensors)
        about = {
            "d_in": D_MODEL,
            "d_sae": N_FEATURES,
            "d_out": D_MODEL,
            "dtype": "float32",
            "apply_b_dec_to_input": False,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "architecture": "jumprelu_skip_transcoder" if drawn.with_skip else "jumprelu_transcoder",
            "metadata": {
                "model_name": "tiny",
                "hook_name": f"blocks.{i}.mlp.hook_in",
                "hook_name_out": f"blocks.{i}.hook_mlp_out",
            },
        }
        (place / "cfg.json").write_text(json.dumps(about))
    return folder


def sparsify(folder: Path, drawn: Drawn, k: int, **more) -> Path:
    for i, part in enumerate(drawn.layers):
        place = folder / f"layers.{i}.mlp"
        tensors = {"encoder.weight": part["encoder"], "encoder.bias": part["encoder_bias"]}
        tensors |= {"W_dec": part["decoder"][:, 0], "b_dec": part["bias"], "W_skip": part["skip"].T}
        write(place / "sae.safetensors", tensors)
        about = {"d_in": D_MODEL, "num_latents": N_FEATURES, "k": k, "activation": "topk", "transcode": True}
        (place / "cfg.json").write_text(json.dumps(about | {"skip_connection": drawn.with_skip} | more))
    return folder


LAYOUTS = [
    (circuit_tracer_plt, Drawn()),
    (circuit_tracer_clt, Drawn(cross_layer=True)),
    (gemma_scope, Drawn(with_skip=False)),
    (gemma_scope_2_plt, Drawn()),
    (gemma_scope_2_clt, Drawn(cross_layer=True)),
    (saelens, Drawn()),
    (saelens, Drawn(with_skip=False)),
]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return load_model(write_model(tmp_path_factory.mktemp("models") / "tiny", "gemma2"))


@pytest.mark.parametrize(("layout", "drawn"), LAYOUTS)
def test_every_layout_gives_the_tensors_that_were_drawn(tmp_path, layout, drawn):
    dictionary = load_transcoders(layout(tmp_path / "some-dictionary", drawn))
    assert (dictionary.n_layers, dictionary.d_model) == (N_LAYERS, D_MODEL)
    assert (dictionary.read_hook, dictionary.write_hook) == ("mlp.hook_in", "hook_mlp_out")
    assert dictionary.cross_layer == drawn.cross_layer and dictionary.name == "some-dictionary"
    x_PD, index_A = torch.randn(5, D_MODEL), torch.tensor([7, 3, 7, 40, 8])
    for i, part in enumerate(drawn.layers):
        torch.testing.assert_close(dictionary.activations(i, x_PD), drawn.activations(i, x_PD))
        assert torch.equal(dictionary.encoder_rows(i, index_A), part["encoder"][index_A])
        assert torch.equal(dictionary.decoder_rows(i, index_A), part["decoder"][index_A])
        assert torch.equal(dictionary.bias_LD()[i], part["bias"])
        skip_DD = dictionary.skip_DD(i)
        assert torch.equal(skip_DD, part["skip"]) if skip_DD is not None else not drawn.with_skip


@pytest.mark.parametrize("cross_layer", [False, True])
def test_a_model_sees_the_same_features_errors_and_writes_through_every_layout(tmp_path, adapter, cross_layer):
    drawn = Drawn(cross_layer=cross_layer)
    layouts = [layout for layout, kind in LAYOUTS if kind.cross_layer == cross_layer and kind.with_skip]
    tokens = torch.tensor([2, 7, 9, 30])
    first, *others = (
        ReplacementModel(adapter, load_transcoders(layout(tmp_path / layout.__name__, drawn))).linearise(tokens)
        for layout in layouts
    )
    assert len(first.features) > 20
    for other in others:
        assert torch.equal(first.features.index_A, other.features.index_A)
        torch.testing.assert_close(first.features.activation_A, other.features.activation_A)
        torch.testing.assert_close(first.error_LPD, other.error_LPD, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(first.written_LPD(), other.written_LPD(), atol=1e-5, rtol=1e-5)


def test_top_k_of_circuit_tracer_keeps_k_and_their_sign(tmp_path):
    drawn, x_PD = Drawn(), torch.randn(6, D_MODEL)
    folder = circuit_tracer_plt(tmp_path / "topk", drawn, activation="topk", k=40)
    value_PF = load_transcoders(folder).activations(1, x_PD)
    pre_PF = x_PD @ drawn.layers[1]["encoder"].T + drawn.layers[1]["encoder_bias"]
    lowest_P = pre_PF.sort(dim=-1, descending=True).values[:, 39]
    expected_PF = torch.where(pre_PF >= lowest_P[:, None], pre_PF, 0)
    assert ((value_PF != 0).sum(-1) == 40).all() and (value_PF < 0).any()
    torch.testing.assert_close(value_PF, expected_PF)


def test_top_k_of_sparsify_keeps_k_of_those_above_zero(tmp_path):
    drawn, x_PD = Drawn(), torch.randn(6, D_MODEL)
    dictionary = load_transcoders(sparsify(tmp_path / "skip-transcoder", drawn, k=40))
    value_PF = dictionary.activations(1, x_PD)
    pre_PF = (x_PD @ drawn.layers[1]["encoder"].T + drawn.layers[1]["encoder_bias"]).relu()
    top = pre_PF.topk(40)
    torch.testing.assert_close(value_PF, torch.zeros_like(pre_PF).scatter(-1, top.indices, top.values))
    assert (dictionary.read_hook, dictionary.write_hook) == ("mlp.hook_in", "mlp.hook_out")
    skip_DD = dictionary.skip_DD(2)
    assert skip_DD is not None and torch.equal(skip_DD, drawn.layers[2]["skip"])


@pytest.mark.parametrize("shape", [(), (1,)])
def test_batch_top_k_fires_above_its_one_threshold(tmp_path, shape):
    drawn, x_PD = Drawn(), torch.randn(6, D_MODEL)
    folder = circuit_tracer_plt(tmp_path / "batchtopk", drawn, activation="batchtopk")
    with pytest.raises(DictionaryError, match="its activation is batchtopk, and layer 0 stores no threshold"):
        load_transcoders(folder)
    for path in folder.glob("layer_*"):
        save_file(load_file(path) | {"activation_function.threshold": torch.full(shape, 0.4)}, path)
    pre_PF = x_PD @ drawn.layers[0]["encoder"].T + drawn.layers[0]["encoder_bias"]
    expected_PF = torch.where(pre_PF > 0.4, pre_PF, 0)
    torch.testing.assert_close(load_transcoders(folder).activations(0, x_PD), expected_PF)


@pytest.mark.parametrize(("layout", "passes"), [(circuit_tracer_plt, True), (saelens, False)])
def test_below_a_negative_threshold_layouts_differ_as_their_libraries_do(tmp_path, layout, passes):
    drawn = Drawn()
    drawn.layers[0]["threshold"].fill_(-0.5)
    value_PF = load_transcoders(layout(tmp_path / "negative", drawn)).activations(0, torch.randn(9, D_MODEL))
    assert bool((value_PF < 0).any()) == passes and float(value_PF.min()) > -0.5


def test_a_list_of_files_gives_the_order_of_layers_in_any_tensor_names(tmp_path):
    drawn = Drawn(with_skip=False)
    folder = circuit_tracer_plt(tmp_path / "mixed", drawn)
    gemma_scope(folder / "npz", drawn)
    gemma_scope_2_plt(folder / "two", drawn)
    listed = [
        "npz/layer_0/width_16k/average_l0_76/params.npz",
        "two/layer_1_width_16k_l0_small_affine/params.safetensors",
        "layer_2.safetensors",
    ]
    dictionary = load_transcoders(write_config(folder, transcoders=listed))
    x_PD = torch.randn(5, D_MODEL)
    for i in range(N_LAYERS):
        torch.testing.assert_close(dictionary.activations(i, x_PD), drawn.activations(i, x_PD))
    assert [path.relative_to(folder).as_posix() for path in dictionary.files] == sorted(["config.yaml", *listed])


def test_a_cross_layer_list_that_repeats_its_last_file_has_one_layer_less(tmp_path):
    folder = gemma_scope_2_clt(tmp_path / "clt", Drawn(cross_layer=True))
    listed = [f"params_layer_{i}.safetensors" for i in (0, 1, 2, 2)]
    write_config(folder, model_kind="cross_layer_transcoder", transcoders=listed)
    assert load_transcoders(folder).n_layers == N_LAYERS


def test_where_a_layer_has_two_candidates_one_must_be_chosen(tmp_path):
    folder = gemma_scope(tmp_path / "scope", Drawn(with_skip=False))
    twin = folder / "layer_1" / "width_16k" / "average_l0_9"
    twin.mkdir()
    (twin / "params.npz").write_bytes((folder / "layer_1/width_16k/average_l0_75/params.npz").read_bytes())
    with pytest.raises(DictionaryError, match=r"both layer_1/\S+l0_75/params\.npz and layer_1/\S+l0_9/params\.npz are"):
        load_transcoders(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "gated"}, "architecture is 'gated'; expected jumprelu_skip_transcoder or"),
        ({"apply_b_dec_to_input": True}, "apply_b_dec_to_input is True; expected False"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is 'layer_norm'; expected none"),
        ({"activation_fn": "tanh-relu"}, "activation_fn is 'tanh-relu'; expected relu"),
        ({"metadata": {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.2.hook_mlp_out"}}, "two hooks of"),
        ({"metadata": {"hook_name": "blocks.1.hook_z", "hook_name_out": "blocks.1.hook_mlp_out"}}, "different places"),
    ],
)
def test_a_saelens_transcoder_that_computes_otherwise_is_refused(tmp_path, change, message):
    folder = saelens(tmp_path / "sae", Drawn())
    path = folder / "blocks.1.mlp.hook_in" / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DictionaryError, match=message):
        load_transcoders(folder)


@pytest.mark.parametrize(
    ("layout", "file", "missing"),
    [
        (saelens, "blocks.1.mlp.hook_in/sae_weights.safetensors", "threshold"),
        (saelens, "blocks.1.mlp.hook_in/sae_weights.safetensors", "W_skip"),
        (gemma_scope_2_plt, "layer_1_width_16k_l0_small_affine/params.safetensors", "threshold"),
        (gemma_scope_2_plt, "layer_1_width_16k_l0_small_affine/params.safetensors", "affine_skip_connection"),
    ],
)
def test_what_a_layout_promises_must_be_there(tmp_path, layout, file, missing):
    path = layout(tmp_path / "promised", Drawn()) / file
    save_file({name: value for name, value in load_file(path).items() if name != missing}, path)
    with pytest.raises(DictionaryError, match=f"{file} has no tensor '{missing}'"):
        load_transcoders(tmp_path / "promised")


def test_a_tensor_that_nobody_would_use_is_refused(tmp_path):
    path = circuit_tracer_plt(tmp_path / "odd", Drawn()) / "layer_1.safetensors"
    save_file(load_file(path) | {"log_thresholds": torch.zeros(N_FEATURES)}, path)
    with pytest.raises(DictionaryError, match=r"odd/layer_1\.safetensors has a tensor 'log_thresholds'; expected no"):
        load_transcoders(tmp_path / "odd")


@pytest.mark.parametrize("change", [{"transcode": False}, {"activation": "groupmax"}, {"embed_skip": True}])
def test_a_sparse_coder_that_computes_otherwise_is_refused(tmp_path, change):
    with pytest.raises(DictionaryError, match=f"layers.0.mlp/cfg.json says .*{next(iter(change))}"):
        load_transcoders(sparsify(tmp_path / "coder", Drawn(), k=5, **change))


@pytest.mark.parametrize("k", [None, 0, "many"])
def test_top_k_without_a_number_is_refused(tmp_path, k):
    with pytest.raises(DictionaryError, match=re.escape(f"activation is topk and k is {k!r}")):
        load_transcoders(circuit_tracer_plt(tmp_path / "topk", Drawn(), activation="topk", k=k))


def test_more_than_all_features_cannot_fire(tmp_path):
    with pytest.raises(DictionaryError, match=f"k is 1000 for {N_FEATURES} features"):
        load_transcoders(circuit_tracer_plt(tmp_path / "topk", Drawn(), activation="topk", k=1000))


def test_a_compressed_archive_is_refused(tmp_path):
    folder = gemma_scope(tmp_path / "scope", Drawn(with_skip=False))
    path = folder / "layer_1/width_16k/average_l0_75/params.npz"
    np.savez_compressed(path, **dict(np.load(path)))
    with pytest.raises(DictionaryError, match=r"params\.npz: W_enc is compressed; .*Save it again with numpy\.savez\."):
        load_transcoders(folder)


def test_gemma_scope_2_names_its_model(tmp_path):
    dictionary = load_transcoders(gemma_scope_2_plt(tmp_path / "two", Drawn()))
    assert dictionary.model_name == "gemma-3-1b-pt"


# Rows on disk


@st.composite
def kept_tensors(draw):
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=3)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]))
    return torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))).to(dtype)


@given(kept_tensors(), st.data())
def test_rows_read_are_the_rows_kept(tmp_path_factory, kept, data):
    path = tmp_path_factory.mktemp("rows") / "kept.safetensors"
    save_file({"before": torch.zeros(3, dtype=torch.int8).to(kept.dtype), "kept": kept}, path)
    seen, expected = stored_tensors(path)["kept"], kept
    if kept.ndim == 2 and data.draw(st.booleans(), "transposed"):
        seen, expected = seen.T, kept.T
    elif first := data.draw(st.integers(0, kept.shape[1] - 1), "first"):
        seen, expected = seen.after(first), kept[:, first:]
    rows = data.draw(st.lists(st.integers(0, expected.shape[0] - 1), max_size=12), "rows")
    index_A = torch.tensor(rows, dtype=torch.long)
    assert torch.equal(seen.read(index_A), expected[index_A])
    assert torch.equal(seen.read(), expected)


@given(kept_tensors().filter(lambda kept: kept.ndim == 2), st.booleans(), st.integers(1, 60))
def test_a_product_in_blocks_is_the_product(tmp_path_factory, kept, transposed, n_bytes):
    path = tmp_path_factory.mktemp("product") / "kept.safetensors"
    save_file({"kept": kept}, path)
    seen, expected = stored_tensors(path)["kept"], kept.double()
    if transposed:
        seen, expected = seen.T, expected.T
    x_PD = torch.randn(4, expected.shape[1], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "BLOCK_BYTES", n_bytes)
        patch.setattr(stored, "MIN_INNER_ROWS", 1)
        torch.testing.assert_close(seen.product(x_PD), x_PD @ expected.T)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_archive_may_keep_arrays_column_by_column(tmp_path, order):
    kept = np.asarray(np.random.default_rng(3).normal(size=(5, 7)).astype("float32"), order=order)
    np.savez(tmp_path / "kept.npz", kept=kept, one=kept[0])
    seen = stored_tensors(tmp_path / "kept.npz")
    assert torch.equal(seen["kept"].read(), torch.from_numpy(kept.copy("C")))
    assert torch.equal(seen["kept"].read(torch.tensor([4, 1])), torch.from_numpy(kept[[4, 1]].copy("C")))
    assert torch.equal(seen["one"].read(), torch.from_numpy(kept[0].copy()))


def bytes_read_by_this_process() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])  # rchar: of read calls, not of memory maps


@pytest.fixture
def counted(monkeypatch):
    """How many bytes each read of weights asked for."""
    sizes: list[int] = []
    really = stored.read_into

    def count(file, start, out):
        sizes.append(out.nbytes)
        really(file, start, out)

    monkeypatch.setattr(stored, "read_into", count)
    return sizes


@pytest.mark.parametrize("layout", [circuit_tracer_clt, gemma_scope_2_clt])
def test_of_decoders_only_active_rows_are_read(tmp_path, counted, layout):
    dictionary = load_transcoders(layout(tmp_path / "clt", Drawn(cross_layer=True)))
    assert not counted  # headers are no weights
    before = bytes_read_by_this_process() if Path("/proc/self/io").exists() else None
    dictionary.decoder_rows(1, torch.tensor([9, 3, 9, 4]))
    row = (N_LAYERS - 1) * D_MODEL * 4
    assert sum(counted) == 3 * row  # each row once, however often it is active
    if before is not None:
        assert 3 * row <= bytes_read_by_this_process() - before < 4 * row  # and this process read nothing else
    assert len(counted) == (2 if layout is circuit_tracer_clt else 3)  # neighbours at once, where they touch


def test_of_encoders_a_prompt_reads_everything_once_in_blocks_and_attribution_only_active_rows(
    tmp_path, counted, monkeypatch
):
    dictionary = load_transcoders(circuit_tracer_plt(tmp_path / "plt", Drawn()))
    monkeypatch.setattr(stored, "BLOCK_BYTES", 32 * D_MODEL * 4)
    dictionary.activations(0, torch.randn(5, D_MODEL))
    whole = N_FEATURES * D_MODEL * 4
    assert sum(counted) == whole + 2 * N_FEATURES * 4  # with biases and thresholds
    assert max(counted) == 32 * D_MODEL * 4 < whole
    counted.clear()
    dictionary.encoder_rows(0, torch.tensor([4, 11]))
    assert counted == [D_MODEL * 4, D_MODEL * 4]


def test_a_layout_by_inputs_is_read_in_blocks_too(tmp_path, counted, monkeypatch):
    dictionary = load_transcoders(saelens(tmp_path / "sae", Drawn()))
    monkeypatch.setattr(stored, "BLOCK_BYTES", 8 * N_FEATURES * 4)
    monkeypatch.setattr(stored, "MIN_INNER_ROWS", 8)
    dictionary.encoder_rows(0, torch.tensor([4, 11]))
    assert set(counted) == {8 * N_FEATURES * 4} and len(counted) == D_MODEL // 8


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 900))
def test_damaged_files_are_refused_or_read_but_never_crash(tmp_path_factory, suffix, changes, length):
    path = tmp_path_factory.mktemp("damaged") / f"params.{suffix}"
    if suffix == "npz":
        np.savez(path, W_enc=np.ones((4, 3), "float32"), b_enc=np.ones(3, "float32"))
    else:
        save_file({"W_enc": torch.ones(4, 3), "b_enc": torch.ones(3)}, path)
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(content[: length or None])
    try:
        for tensor in stored_tensors(path).values():
            tensor.read()
    except DictionaryError as error:
        assert path.name in str(error)
