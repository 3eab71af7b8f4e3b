"""load_transcoders: a feature dictionary whose weights are read from disk when they are needed, row by row.

Per-layer transcoders (PLT) lie in `layer_{i}.safetensors`: W_enc (F, D), b_enc, W_dec (F, D), b_dec, for JumpReLU
`activation_function.threshold`, and where there is a linear bypass W_skip, applied as x @ W_skip.T.
Cross-layer transcoders (CLT) lie in `W_enc_{i}.safetensors` (W_enc_i, b_enc_i, b_dec_i, threshold_i, and W_skip_i,
applied as x @ W_skip_i) and `W_dec_{i}.safetensors` (W_dec_i, (F, L - i, D): features of layer i write to i and above).
`config.yaml` names the places they read and write; these are the formats of circuit-tracer 0.5.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tracer.adapter import READ_HOOKS, WRITE_HOOKS
from tracer.errors import DictionaryError
from tracer.model import find_folder

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file, known by its shape and read on demand."""

    path: Path
    key: str
    shape: tuple[int, ...]

    def read(self, rows: Tensor | None = None) -> Tensor:
        """The tensor, or only these rows of it; the rest of the file is not read."""
        with safe_open(self.path, framework="pt") as file:
            if rows is None:
                return file.get_tensor(self.key)
            once, where = rows.cpu().unique(return_inverse=True)  # a feature may be active at many positions
            return file.get_slice(self.key)[once.tolist()][where]


@dataclass(frozen=True)
class TranscoderLayer:
    """The features that read at one layer."""

    encoder: StoredTensor
    encoder_bias: StoredTensor
    decoder: StoredTensor
    bias: StoredTensor
    threshold: StoredTensor | None
    """JumpReLU's threshold of each feature; None: the features are ReLU."""
    skip: StoredTensor | None
    skip_transposed: bool
    """Whether the bypass is applied as x @ W_skip.T (PLT) and not x @ W_skip (CLT)."""

    @property
    def n_features(self) -> int:
        return self.encoder.shape[0]


@dataclass(frozen=True)
class TranscoderSet:
    """A feature dictionary for all layers of one model."""

    name: str
    """Folder name or hub name."""
    folder: Path
    """Where its files lie."""
    scan: str | None
    """Name under which the dictionary is published, where its config.yaml tells one."""
    read_hook: str
    """Where features read, in TransformerLens's names."""
    write_hook: str
    """Where features write, in TransformerLens's names."""
    cross_layer: bool
    """Whether a feature writes to all later layers too."""
    layers: tuple[TranscoderLayer, ...]

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def d_model(self) -> int:
        return self.layers[0].encoder.shape[1]

    @property
    def files(self) -> list[Path]:
        """Every file the dictionary is read from."""
        stored = [t for layer in self.layers for t in vars(layer).values() if isinstance(t, StoredTensor)]
        return sorted({tensor.path for tensor in stored} | {self.folder / CONFIG_FILE})

    def pre_activations(self, layer: int, read_PD: Tensor) -> Tensor:
        """(P, F) what the features of a layer see before their activation function."""
        part = self.layers[layer]
        weight_FD, bias_F = part.encoder.read().to(read_PD), part.encoder_bias.read().to(read_PD)
        pre_PF = read_PD @ weight_FD.T + bias_F
        if not torch.isfinite(pre_PF).all():
            raise DictionaryError(
                f"{self.name}: pre-activations of layer {layer} hold NaN or infinity; expected finite numbers. "
                "The encoder's weights are damaged: fetch the dictionary again."
            )
        return pre_PF

    def activations(self, layer: int, read_PD: Tensor) -> Tensor:
        """(P, F) values of the features of a layer."""
        pre_PF, threshold = self.pre_activations(layer, read_PD), self.layers[layer].threshold
        if threshold is None:
            return torch.relu(pre_PF)
        return pre_PF * (pre_PF > threshold.read().to(pre_PF))

    def encoder_rows(self, layer: int, index_A: Tensor) -> Tensor:
        """(A, D) read vectors of these features."""
        return self.layers[layer].encoder.read(index_A) if len(index_A) else torch.empty(0, self.d_model)

    def decoder_rows(self, layer: int, index_A: Tensor) -> Tensor:
        """(A, n, D) write vectors of these features, for this layer and, in a CLT, each layer above it."""
        n_out = self.n_layers - layer if self.cross_layer else 1
        rows = self.layers[layer].decoder.read(index_A) if len(index_A) else torch.empty(0, n_out, self.d_model)
        if not torch.isfinite(rows).all():
            raise DictionaryError(
                f"{self.name}: decoder rows of layer {layer} hold NaN or infinity; expected finite numbers. "
                "The weights are damaged: fetch the dictionary again."
            )
        return rows.view(len(index_A), n_out, self.d_model)

    def bias_LD(self) -> Tensor:
        """Decoder biases."""
        return torch.stack([layer.bias.read() for layer in self.layers])

    def skip_DD(self, layer: int) -> Tensor | None:
        """The linear bypass of a layer, to be applied as read @ skip; None where there is none."""
        part = self.layers[layer]
        if part.skip is None:
            return None
        return part.skip.read().T if part.skip_transposed else part.skip.read()


def load_transcoders(folder_or_name: str | os.PathLike[str]) -> TranscoderSet:
    """The dictionary in this folder, or of this name on the hub; only headers are read now.

    Raises:
        DictionaryError: There is none, a file or tensor is missing, has another shape, or a hook is not known.
    """
    source = find_folder(folder_or_name, CONFIG_FILE, "a dictionary folder", DictionaryError)
    folder = Path(source) if os.path.isdir(source) else _fetch(source)
    config = _read_config(folder)
    cross_layer = any(folder.glob("W_enc_*.safetensors"))
    layers = _cross_layers(folder) if cross_layer else _own_layers(folder, config)
    scan = config.get("scan")
    dictionary = TranscoderSet(
        name=folder.name if os.path.isdir(source) else source,
        folder=folder,
        scan=scan if isinstance(scan, str) else None,
        read_hook=_hook(folder, config, "feature_input_hook", READ_HOOKS),
        write_hook=_hook(folder, config, "feature_output_hook", WRITE_HOOKS),
        cross_layer=cross_layer,
        layers=layers,
    )
    _check_shapes(dictionary)
    return dictionary


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download  # only a hub name needs it

    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.yaml", "*.csv"]))
    except Exception as error:  # the hub's client raises a dozen kinds, some not its own
        raise DictionaryError(
            f"{name!r}: neither a folder here nor a dictionary on the hub ({' '.join(str(error).split())[:200]}); "
            "expected one of these. Check the name and the connection."
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DictionaryError(
            f"{folder.name}/{CONFIG_FILE} cannot be read ({reason}); expected YAML with feature_input_hook and "
            "feature_output_hook. Fetch the dictionary again."
        ) from None
    if not isinstance(config, dict):
        raise DictionaryError(
            f"{folder.name}/{CONFIG_FILE} holds a {type(config).__name__}; expected keys such as feature_input_hook. "
            "Fetch the dictionary again."
        )
    return config


def _hook(folder: Path, config: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    hook = config.get(key)
    if hook not in known:
        raise DictionaryError(
            f"{folder.name}/{CONFIG_FILE}: {key} is {hook!r}; expected one of {', '.join(known)}. "
            "Dictionaries that read or write elsewhere cannot be traced."
        )
    return hook


def _own_layers(folder: Path, config: Mapping[str, Any]) -> tuple[TranscoderLayer, ...]:
    files = config.get("transcoders") or _numbered(folder, "layer_")
    if not isinstance(files, list) or not files:
        raise DictionaryError(
            f"{folder.name}: no layer_0.safetensors and no W_enc_0.safetensors; expected the files of a per-layer or "
            "a cross-layer dictionary. Give the folder that holds them."
        )
    return tuple(_own_layer(folder / str(name)) for name in files)


def _own_layer(path: Path) -> TranscoderLayer:
    tensors = _headers(path)
    return TranscoderLayer(
        encoder=_need(tensors, "W_enc", path),
        encoder_bias=_need(tensors, "b_enc", path),
        decoder=_need(tensors, "W_dec", path),
        bias=_need(tensors, "b_dec", path),
        threshold=tensors.get("activation_function.threshold"),
        skip=tensors.get("W_skip"),
        skip_transposed=True,
    )


def _cross_layers(folder: Path) -> tuple[TranscoderLayer, ...]:
    layers = []
    for i, name in enumerate(_numbered(folder, "W_enc_")):
        encoder, decoder = folder / name, folder / f"W_dec_{i}.safetensors"
        tensors = _headers(encoder)
        layers.append(
            TranscoderLayer(
                encoder=_need(tensors, f"W_enc_{i}", encoder),
                encoder_bias=_need(tensors, f"b_enc_{i}", encoder),
                decoder=_need(_headers(decoder), f"W_dec_{i}", decoder),
                bias=_need(tensors, f"b_dec_{i}", encoder),
                threshold=tensors.get(f"threshold_{i}"),
                skip=tensors.get(f"W_skip_{i}"),
                skip_transposed=False,
            )
        )
    return tuple(layers)


def _numbered(folder: Path, prefix: str) -> list[str]:
    """File names prefix0, prefix1, ... up to the largest number there; a gap is noticed when the file is opened."""
    numbers = [int(m[1]) for p in folder.iterdir() if (m := re.fullmatch(rf"{prefix}(\d+)\.safetensors", p.name))]
    return [f"{prefix}{i}.safetensors" for i in range(max(numbers) + 1)] if numbers else []


def _headers(path: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: StoredTensor(path, key, tuple(file.get_slice(key).get_shape())) for key in file.keys()}  # noqa: SIM118  not a dict
    except (OSError, SafetensorError) as error:
        raise DictionaryError(
            f"{path.parent.name}/{path.name} cannot be read ({' '.join(str(error).split())[:200]}); expected a "
            "safetensors file. Fetch the dictionary again."
        ) from None


def _need(tensors: Mapping[str, StoredTensor], key: str, path: Path) -> StoredTensor:
    if key not in tensors:
        raise DictionaryError(
            f"{path.parent.name}/{path.name} has no tensor {key!r}, it has {', '.join(tensors) or 'none'}; expected "
            "the tensors of circuit-tracer's format. Convert the dictionary."
        )
    return tensors[key]


def _check_shapes(dictionary: TranscoderSet) -> None:
    d_model = dictionary.d_model
    for i, layer in enumerate(dictionary.layers):
        n = layer.n_features
        decoder = (n, dictionary.n_layers - i, d_model) if dictionary.cross_layer else (n, d_model)
        expected = {
            "encoder": (n, d_model),
            "encoder_bias": (n,),
            "decoder": decoder,
            "bias": (d_model,),
            "threshold": (n,),
            "skip": (d_model, d_model),
        }
        for name, shape in expected.items():
            stored: StoredTensor | None = getattr(layer, name)
            if stored is not None and stored.shape != shape:
                raise DictionaryError(
                    f"{dictionary.name}/{stored.path.name}: {stored.key} has the shape {stored.shape}; expected "
                    f"{shape} beside {layer.encoder.key} of {layer.encoder.shape}. Convert the dictionary."
                )
