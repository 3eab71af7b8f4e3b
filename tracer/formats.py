"""read_layers: the layers of a feature dictionary, in whichever of the published layouts it is kept.

Layouts (each file name holds the number of its layer; all may lie in a folder with circuit-tracer's config.yaml):
    W_enc_3.safetensors, W_dec_3.safetensors    circuit-tracer, cross-layer: W_dec (F, L - 3, D)
    layer_3.safetensors                         circuit-tracer, per layer
    params_layer_3.safetensors                  Gemma Scope 2, cross-layer: w_dec (F, L, D), targets below are unused
    layer_3_width_16k_…/params.safetensors      Gemma Scope 2, per layer
    layer_3/width_16k/…/params.npz              Gemma Scope
    …/sae_weights.safetensors                   SAELens; the number is in the cfg.json beside it
    layers.3.mlp/sae.safetensors                sparsify, TopK
config.yaml may instead list the files of a per-layer set, layer by layer, under `transcoders`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from tracer.errors import DictionaryError
from tracer.published import Place
from tracer.stored import StoredTensor, stored_tensors
from tracer.transcoder_layer import Activation, TranscoderLayer


@dataclass(frozen=True)
class Names:
    """What a layout calls the tensors of a layer, and how they lie; {} stands for the number of the layer."""

    encoder: str = "W_enc"
    encoder_bias: str = "b_enc"
    decoder: str = "W_dec"
    bias: str = "b_dec"
    threshold: str = "threshold"
    skip: str = "W_skip"
    encoder_by_input: bool = True
    """Whether the encoder is (D, F), one row for each input, and not one row for each feature."""
    skip_by_input: bool = False
    """Whether the bypass is applied as x @ skip, and not as x @ skip.T."""
    signed: bool = False
    """Whether its JumpReLU and TopK let negative values pass."""
    needed: tuple[str, ...] = ()
    """Of threshold and skip, those that are always there."""

    def of(self, part: str, layer: int) -> str:
        """The name of a part of this layer."""
        return getattr(self, part).format(layer)


PLT = Names(threshold="activation_function.threshold", encoder_by_input=False, signed=True)
CLT = Names(
    *("W_enc_{}", "b_enc_{}", "W_dec_{}", "b_dec_{}", "threshold_{}", "W_skip_{}"),
    encoder_by_input=False,
    skip_by_input=True,
    signed=True,
)
GEMMA_SCOPE = Names(signed=True, needed=("threshold",))
GEMMA_SCOPE_2 = Names(
    encoder="w_enc",
    decoder="w_dec",
    skip="affine_skip_connection",
    skip_by_input=True,
    signed=True,
    needed=("threshold",),
)
SAELENS = Names()
SPARSIFY = Names(encoder="encoder.weight", encoder_bias="encoder.bias", encoder_by_input=False)


@dataclass(frozen=True)
class Layout:
    """A way to lay a dictionary out in files."""

    what: str
    weights: str
    """Pattern of the path of a layer's file inside the dictionary; the group is the number of the layer, if told."""
    names: Names
    cross_layer: bool = False
    decoder: str | None = None
    """File of the decoder, where it is another one; {} stands for the number of the layer."""
    about: str | None = None
    """The file that describes a layer, beside its weights."""


LAYOUTS = (
    Layout("circuit-tracer, cross-layer", r"W_enc_(\d+)\.safetensors", CLT, True, "W_dec_{}.safetensors"),
    Layout("circuit-tracer, per layer", r"layer_(\d+)\.safetensors", PLT),
    Layout("Gemma Scope 2, cross-layer", r"params_layer_(\d+)\.safetensors", GEMMA_SCOPE_2, True, about="config.json"),
    Layout("Gemma Scope 2", r"layer_(\d+)(?:_[^/]*)?/params\.safetensors", GEMMA_SCOPE_2, about="config.json"),
    Layout("Gemma Scope", r"layer_(\d+)/(?:[^/]+/)*params\.npz", GEMMA_SCOPE),
    Layout("SAELens", r"(?:.*/)?sae_weights\.safetensors", SAELENS, about="cfg.json"),
    Layout("sparsify", r"(?:[^/]*\.)?(?:layers|h)\.(\d+)\.mlp/sae\.safetensors", SPARSIFY, about="cfg.json"),
)
PARTS = ("encoder", "encoder_bias", "decoder", "bias", "threshold", "skip")
SAELENS_KINDS = {  # and what they have beside encoder and decoder
    "transcoder": (),
    "skip_transcoder": ("skip",),
    "jumprelu_transcoder": ("threshold",),
    "jumprelu_skip_transcoder": ("threshold", "skip"),
}
HOOKS_OF_HF = {  # modules whose output Gemma Scope 2 names, in TransformerLens's names
    "pre_feedforward_layernorm.output": "mlp.hook_in",
    "post_feedforward_layernorm.output": "hook_mlp_out",
}


@dataclass(frozen=True)
class Found:
    """The layers of a dictionary, and what their own descriptions tell."""

    folder: Path
    """Where its configuration lies."""
    layers: tuple[TranscoderLayer, ...]
    cross_layer: bool
    about: tuple[Path, ...] = ()
    """Files that describe layers."""
    read_hook: str | None = None
    write_hook: str | None = None
    model_name: str | None = None


def find_layout(names: Sequence[str]) -> Layout | None:
    """The first layout that some of these paths follow."""
    followed = (layout for layout in LAYOUTS if any(re.fullmatch(layout.weights, name) for name in names))
    return next(followed, None)


def read_layers(place: Place, layout: Layout, config: Mapping[str, Any], beside: Sequence[str]) -> Found:
    """The layers that are kept in this layout; of weights only headers are read.

    Args:
        beside: Paths of other files to fetch with them.

    Raises:
        DictionaryError: A layer, file or tensor is missing, or features fire or lie in a way that is not known.
    """
    weights = [name for name in place.names if re.fullmatch(layout.weights, name)]
    abouts = {name: _beside(name, layout.about) for name in weights if layout.about}
    there = sorted({*abouts.values()}.intersection(place.names))
    folder = place.fetch(there) if there else None
    told = [_described(place, layout, name, folder) for name in weights]
    by_layer: dict[int, int] = {}
    for row, about in enumerate(told):
        if by_layer.setdefault(about.layer, row) != row:
            raise DictionaryError(
                f"{place.name}: both {weights[by_layer[about.layer]]} and {weights[row]} are of layer {about.layer}; "
                "expected one of each layer. List the files to use in a config.yaml under `transcoders`."
            )
    missing = [layer for layer in range(max(by_layer) + 1) if layer not in by_layer]
    if missing:
        raise DictionaryError(
            f"{place.name} has no file of layer {missing[0]}, but of layer {max(by_layer)} ({layout.what}); expected "
            "one of each layer. Fetch the dictionary again."
        )
    rows = [by_layer[layer] for layer in range(len(by_layer))]
    k, first = _top_k(place.name, config), told[rows[0]]
    decoders = [layout.decoder.format(layer) for layer in range(len(rows))] if layout.decoder else []
    folder = place.fetch([*(weights[row] for row in rows), *(n for n in decoders if n in place.names), *beside])
    layers = []
    for layer, row in enumerate(rows):
        path, decoder = folder / weights[row], folder / decoders[layer] if decoders else None
        names = _names_in(path) if layout.names is PLT else layout.names
        names = replace(names, needed=(*names.needed, *told[row].needed))
        layers.append(_layer(layer, path, names, k or told[row].k, layout.cross_layer, decoder))
    return Found(
        folder,
        tuple(layers),
        layout.cross_layer,
        tuple(folder / name for name in there),
        *_common(place.name, [(told[row].read_hook, told[row].write_hook) for row in rows]),
        first.model_name,
    )


def read_listed(folder: Path, paths: Sequence[Path], cross_layer: bool, config: Mapping[str, Any]) -> Found:
    """The layers in these files, one a layer, each with the tensor names of a layout."""
    k = _top_k(folder.name, config)
    # some lists of cross-layer sets name their last file twice, because circuit-tracer leaves the last one out
    once = [path for row, path in enumerate(paths) if not (cross_layer and row and path == paths[row - 1])]
    return Found(folder, tuple(_layer(i, p, _names_in(p), k, cross_layer) for i, p in enumerate(once)), cross_layer)


def _names_in(path: Path) -> Names:
    if path.suffix == ".npz":
        return GEMMA_SCOPE
    if path.name == "sae_weights.safetensors":
        return SAELENS
    return GEMMA_SCOPE_2 if "w_enc" in stored_tensors(path) else PLT


def _layer(
    layer: int, path: Path, names: Names, k: int | None, cross_layer: bool, decoder_path: Path | None = None
) -> TranscoderLayer:
    tensors, decoders = stored_tensors(path), stored_tensors(decoder_path or path)
    encoder, bias, encoder_bias = (
        _need(tensors, names.of(p, layer), path) for p in ("encoder", "bias", "encoder_bias")
    )
    decoder = _need(decoders, names.of("decoder", layer), decoder_path or path)
    for part in names.needed:
        _need(tensors, names.of(part, layer), path)
    _check_known(tensors, names, layer, path)
    threshold, skip = (tensors.get(names.of(part, layer)) for part in ("threshold", "skip"))
    if cross_layer and names.decoder == GEMMA_SCOPE_2.decoder and len(decoder.shape) == 3:
        decoder = decoder.after(layer)
    signed = names.signed and (k is not None or threshold is not None)  # ReLU holds negative values back everywhere
    return TranscoderLayer(
        encoder=_seen(encoder, names.encoder_by_input),
        encoder_bias=encoder_bias,
        decoder=decoder,
        bias=bias,
        activation=Activation(threshold, k, signed),
        skip=None if skip is None else _seen(skip, not names.skip_by_input),
    )


def _check_known(tensors: Mapping[str, StoredTensor], names: Names, layer: int, path: Path) -> None:
    """A tensor that nobody uses may be one that changes what features compute."""
    known = [names.of(part, layer) for part in PARTS]
    unknown = set(tensors).difference(known)
    if unknown:
        raise DictionaryError(
            f"{path.parent.name}/{path.name} has a tensor {min(unknown)!r}; expected no others than "
            f"{', '.join(known)}, since it may change what features compute. Convert the dictionary."
        )


def _seen(tensor: StoredTensor, exchanged: bool) -> StoredTensor:
    if len(tensor.shape) != 2:
        raise DictionaryError(
            f"{tensor.where} has the shape {tensor.shape}; expected two axes, features and width. "
            "Convert the dictionary."
        )
    return tensor.T if exchanged else tensor


def _need(tensors: Mapping[str, StoredTensor], key: str, path: Path) -> StoredTensor:
    if key not in tensors:
        raise DictionaryError(
            f"{path.parent.name}/{path.name} has no tensor {key!r}, it has {', '.join(tensors) or 'none'}; expected "
            f"the tensors of one of these layouts: {'; '.join(layout.what for layout in LAYOUTS)}. "
            "Convert the dictionary."
        )
    return tensors[key]


def _top_k(where: str, config: Mapping[str, Any]) -> int | None:
    """k, where config.yaml says that features are TopK."""
    activation, k = config.get("activation"), config.get("k")
    match activation:
        case None | "relu" | "jumprelu" | "jump_relu" | "batchtopk" | "batch_topk":
            return None  # whether there is a threshold is told by the weights
        case "topk" if _is_count(k):
            return k
        case "topk":
            seen = f"activation is topk and k is {k!r}; expected k, the number of features that fire for a token"
        case _:
            seen = f"activation is {activation!r}; expected relu, jumprelu, topk or batchtopk"
    raise DictionaryError(f"{where}/config.yaml: {seen}. Correct it.")


def _is_count(k: object) -> TypeGuard[int]:
    return isinstance(k, int) and not isinstance(k, bool) and k > 0


@dataclass(frozen=True)
class _Description:
    """What the path of a layer's weights and the file beside them tell."""

    layer: int
    k: int | None = None
    read_hook: str | None = None
    write_hook: str | None = None
    model_name: str | None = None
    needed: tuple[str, ...] = ()
    """Parts that the weights must have, as in `Names`."""


def _described(place: Place, layout: Layout, name: str, folder: Path | None) -> _Description:
    match = re.fullmatch(layout.weights, name)
    assert match is not None, name
    layer = int(match[1]) if match.re.groups else -1
    path = folder / _beside(name, layout.about) if folder and layout.about else None
    if path is None or not path.is_file():
        if layout.about == "cfg.json":
            raise DictionaryError(f"{place.name}: there is no cfg.json beside {name}; expected one. Fetch it too.")
        return _Description(layer)
    about = _read_json(path)
    if layout.names is SAELENS:
        return _saelens(path, about)
    if layout.names is SPARSIFY:
        return _sparsify(path, layer, about)
    read, write = (_hook_of_hf(about.get(key)) for key in ("hf_hook_point_in", "hf_hook_point_out"))
    model = str(about.get("model_name") or "").replace("gemma-v3", "gemma-3") or None
    return _Description(layer, None, read, write, model, ("skip",) if about.get("affine_connection") else ())


def _saelens(path: Path, about: Mapping[str, Any]) -> _Description:
    where = f"{path.parent.name}/{path.name}"
    wanted: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("architecture", about.get("architecture"), tuple(sorted(SAELENS_KINDS))),
        ("apply_b_dec_to_input", about.get("apply_b_dec_to_input", False), (False,)),
        ("normalize_activations", about.get("normalize_activations", "none"), ("none", None)),
        ("reshape_activations", about.get("reshape_activations", "none"), ("none", None)),
        ("activation_fn", about.get("activation_fn", about.get("activation_fn_str", "relu")), ("relu", None)),
    ]
    for key, seen, known in wanted:
        if seen not in known:
            raise DictionaryError(
                f"{where}: {key} is {seen!r}; expected {' or '.join(map(str, known[:4]))}. Only transcoders whose "
                "features are linear in what they read, up to their activation, can be traced."
            )
    metadata = about.get("metadata")
    more = {**about, **(metadata if isinstance(metadata, dict) else {})}
    read, write = (re.fullmatch(r"blocks\.(\d+)\.(.+)", str(more.get(key))) for key in ("hook_name", "hook_name_out"))
    if read is None or write is None or read[1] != write[1]:
        raise DictionaryError(
            f"{where}: it reads at {more.get('hook_name')!r} and writes at {more.get('hook_name_out')!r}; expected two "
            "hooks of one block, such as blocks.3.mlp.hook_in and blocks.3.hook_mlp_out. Correct hook_name and "
            "hook_name_out."
        )
    kind = SAELENS_KINDS[about["architecture"]]
    return _Description(int(read[1]), None, read[2], write[2], more.get("model_name"), kind)


def _sparsify(path: Path, layer: int, about: Mapping[str, Any]) -> _Description:
    k = about.get("k")
    ok = about.get("transcode") is True and about.get("activation", "topk") == "topk" and _is_count(k)
    extra = [key for key in ("embed_skip", "gram_lookup", "signed") if about.get(key)]
    if not ok or extra:
        seen = {key: about.get(key) for key in ("transcode", "activation", "k", *extra)}
        raise DictionaryError(
            f"{path.parent.name}/{path.name} says {seen}; expected transcode true, activation topk, a number k and "
            "nothing added to the output but a linear bypass. Other kinds cannot be traced."
        )
    needed = ("skip",) if about.get("skip_connection") else ()
    return _Description(layer, k, "mlp.hook_in", "mlp.hook_out", None, needed)


def _hook_of_hf(point: object) -> str | None:
    match = re.search(r"layers\.\d+\.(\w+\.output)$", str(point))
    return HOOKS_OF_HF.get(match[1]) if match else None


def _common(where: str, hooks: Sequence[tuple[str | None, str | None]]) -> tuple[str | None, str | None]:
    if len(set(hooks)) > 1:
        raise DictionaryError(
            f"{where}: its layers read and write at different places ({sorted(set(hooks), key=str)}); expected "
            "the same in each layer. Such a set cannot be traced."
        )
    return hooks[0]


def _beside(name: str, other: str | None) -> str:
    return (Path(name).parent / (other or "")).as_posix()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DictionaryError(
            f"{path.parent.name}/{path.name} cannot be read ({reason}); expected JSON. Fetch the dictionary again."
        ) from None
    if not isinstance(about, dict):
        raise DictionaryError(
            f"{path.parent.name}/{path.name} holds a {type(about).__name__}; expected an object. Fetch it again."
        )
    return about
