"""load_transcoders: a feature dictionary whose weights are read from disk when they are needed, row by row.

Per-layer transcoders (PLT) write to the MLP output of their own layer, cross-layer transcoders (CLT) to that of each
layer above as well. `tracer.formats` knows the layouts they are kept in, `tracer.published` the hub.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from tracer.adapter import READ_HOOKS, WRITE_HOOKS
from tracer.errors import DictionaryError
from tracer.formats import Found, find_layout, read_layers, read_listed
from tracer.labels import LABELS_FILE
from tracer.published import Place, fetch_listed, find_place, folders_hint, published, published_for, same_model
from tracer.stored import StoredTensor
from tracer.transcoder_layer import TranscoderLayer

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class TranscoderSet:
    """A feature dictionary for all layers of one model."""

    name: str
    """Folder name or hub name."""
    folder: Path
    """Where its configuration lies, and its labels if it has any."""
    scan: str | None
    """Name under which the dictionary is published, where its config.yaml tells one."""
    read_hook: str
    """Where features read, in TransformerLens's names."""
    write_hook: str
    """Where features write, in TransformerLens's names."""
    cross_layer: bool
    """Whether a feature writes to all later layers too."""
    layers: tuple[TranscoderLayer, ...]
    model_name: str | None = None
    """The model it was trained on, where it tells one."""
    about: tuple[Path, ...] = ()
    """Its files beside weights: configurations."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """The commit of every repository on the hub that its files are from."""

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def d_model(self) -> int:
        return self.layers[0].encoder.shape[1]

    @property
    def files(self) -> list[Path]:
        """Every file the dictionary is read from."""
        return sorted({*self.about}.union(*(layer.files for layer in self.layers)))

    def check_fits(self, model: str, n_layers: int, d_model: int) -> None:
        """Raise DictionaryError if it is of another size than this model, or surely of another model by name.

        A folder's name says nothing of the model in it: a fine-tuned model in a folder is never refused by its name.
        """
        sets = published_for(model)
        hint = f" Published for {model}: {', '.join(sets)}." if sets else ""
        if (self.n_layers, self.d_model) != (n_layers, d_model):
            raise DictionaryError(
                f"dictionary {self.name} is for a model of {self.n_layers} layers and width {self.d_model}; {model} "
                f"has {n_layers} layers and width {d_model}. Give the dictionary that was trained on this model.{hint}"
            )
        if self.model_name and "/" in model and not same_model(self.model_name, model):
            raise DictionaryError(
                f"dictionary {self.name} was trained on {self.model_name}, the model is {model}; expected one and the "
                f"same. Give the dictionary of this model, or, if the model is a form of the other, its folder.{hint}"
            )

    def pre_activations(self, layer: int, read_PD: Tensor) -> Tensor:
        """(P, F) what the features of a layer see before their activation function."""
        part = self.layers[layer]
        pre_PF = part.encoder.product(read_PD).add_(part.encoder_bias.read().to(read_PD))
        return self._finite(pre_PF, layer, "pre-activations", part.encoder)

    def activations(self, layer: int, read_PD: Tensor) -> Tensor:
        """(P, F) values of the features of a layer."""
        return self.layers[layer].activation(self.pre_activations(layer, read_PD))

    def encoder_rows(self, layer: int, index_A: Tensor) -> Tensor:
        """(A, D) read vectors of these features."""
        return self.layers[layer].encoder.read(index_A)

    def decoder_rows(self, layer: int, index_A: Tensor) -> Tensor:
        """(A, n, D) write vectors of these features, for this layer and, in a CLT, each layer above it."""
        n_out = self.n_layers - layer if self.cross_layer else 1
        decoder = self.layers[layer].decoder
        rows = self._finite(decoder.read(index_A), layer, "decoder rows", decoder)
        return rows.view(len(index_A), n_out, self.d_model)

    def bias_LD(self) -> Tensor:
        """Decoder biases."""
        biases = (self._finite(p.bias.read(), i, "biases", p.bias) for i, p in enumerate(self.layers))
        return torch.stack(list(biases))

    def skip_DD(self, layer: int) -> Tensor | None:
        """The linear bypass of a layer, to be applied as read @ skip; None where there is none."""
        skip = self.layers[layer].skip
        return None if skip is None else self._finite(skip.read(), layer, "the linear bypass", skip)

    def _finite(self, tensor: Tensor, layer: int, what: str, stored: StoredTensor) -> Tensor:
        # a sum is several times faster and meets every NaN; only where it overflows is there doubt
        if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            raise DictionaryError(
                f"{self.name}: {what} of layer {layer} hold NaN or infinity ({stored.key} in {stored.path.name}); "
                "expected finite numbers. The weights are damaged: fetch the dictionary again."
            )
        return tensor


def load_transcoders(folder_or_name: str | os.PathLike[str], *, revision: str | None = None) -> TranscoderSet:
    """The dictionary in this folder, or of this name on the hub; of weights only headers are read now.

    Args:
        folder_or_name: A folder; or `owner/name`, `owner/name/folder`, `owner/name@revision`; or `gemma` or `llama`,
            circuit-tracer's names for two of them. Only files of the dictionary are fetched, none while
            HF_HUB_OFFLINE is set.
        revision: Commit, branch or tag on the hub; the default is the newest.

    Raises:
        DictionaryError: There is none, a file or tensor is missing, has another shape, or a hook is not known.
    """
    place = find_place(folder_or_name, revision)
    config = _read_config(place) if CONFIG_FILE in place.names else {}
    found, revisions = _fetch(place, config)
    scan, model_name = config.get("scan"), config.get("model_name") or found.model_name
    dictionary = TranscoderSet(
        name=place.name,
        folder=found.folder,
        scan=scan if isinstance(scan, str) else None,
        read_hook=_hook(place, config, "feature_input_hook", found.read_hook, READ_HOOKS),
        write_hook=_hook(place, config, "feature_output_hook", found.write_hook, WRITE_HOOKS),
        cross_layer=found.cross_layer,
        layers=found.layers,
        model_name=model_name if isinstance(model_name, str) else None,
        about=(*found.about, *([found.folder / CONFIG_FILE] if CONFIG_FILE in place.names else [])),
        revisions=revisions,
    )
    _check_layers(dictionary, config)
    return dictionary


def _fetch(place: Place, config: dict[str, Any]) -> tuple[Found, dict[str, str]]:
    """The layers, and the commits they are of."""
    revisions = {place.hub.repo: place.commit or ""} if place.hub else {}
    beside = [name for name in (CONFIG_FILE, LABELS_FILE) if name in place.names]
    about = published(place.name)
    if about and about.k and config.get("activation") == "topk":
        config.setdefault("k", about.k)
    listed = config.get("transcoders")
    if listed:
        return _fetch_listed(place, config, beside, listed, revisions), revisions
    layout = find_layout(place.names)
    if layout is None:
        raise DictionaryError(
            f"{place.name}: no layer_0.safetensors, W_enc_0.safetensors, params.npz, sae_weights.safetensors or "
            f"the like in this folder; expected a dictionary folder{folders_hint(place.names)}. "
            "Give the folder that holds them."
        )
    return read_layers(place, layout, config, beside), revisions


def _fetch_listed(
    place: Place, config: Mapping[str, Any], beside: list[str], listed: object, revisions: dict[str, str]
) -> Found:
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DictionaryError(
            f"{place.name}/{CONFIG_FILE}: transcoders is {str(listed)[:80]!r}; expected a list of file names or hf:// "
            "addresses, one a layer. Correct it."
        )
    here = [name for name in listed if not name.startswith("hf://")]
    there, commits = fetch_listed([name for name in listed if name.startswith("hf://")])
    revisions.update(commits)
    folder, remote = place.fetch([*here, *beside]), iter(there)
    paths = [next(remote) if name.startswith("hf://") else folder / name for name in listed]
    return read_listed(folder, paths, config.get("model_kind") == "cross_layer_transcoder", config)


def _read_config(place: Place) -> dict[str, Any]:
    try:
        text = (place.fetch([CONFIG_FILE]) / CONFIG_FILE).read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DictionaryError(
            f"{place.name}/{CONFIG_FILE} cannot be read ({reason}); expected YAML with feature_input_hook and "
            "feature_output_hook. Fetch the dictionary again."
        ) from None
    if not isinstance(config, dict):
        raise DictionaryError(
            f"{place.name}/{CONFIG_FILE} holds a {type(config).__name__}; expected keys such as feature_input_hook. "
            "Fetch the dictionary again."
        )
    return config


def _hook(place: Place, config: Mapping[str, Any], key: str, told: str | None, known: tuple[str, ...]) -> str:
    hook = config.get(key, told)
    if hook not in known:
        raise DictionaryError(
            f"{place.name}: {key} is {hook!r}; expected one of {', '.join(known)}. Dictionaries that read or write "
            f"elsewhere cannot be traced; where the files do not tell it, write a {CONFIG_FILE} that does."
        )
    return hook


def _check_layers(dictionary: TranscoderSet, config: Mapping[str, Any]) -> None:
    activation, k = config.get("activation"), config.get("k")
    thresholds = [layer.activation.threshold is not None for layer in dictionary.layers]
    bypasses = [layer.skip is not None for layer in dictionary.layers]
    for part, has in (("thresholds", thresholds), ("a linear bypass", bypasses)):
        if any(has) and not all(has):
            raise DictionaryError(
                f"{dictionary.name}: layer {has.index(True)} has {part} and layer {has.index(False)} has none; "
                "expected them in all layers or in none. Fetch the dictionary again."
            )
    if activation in ("jumprelu", "jump_relu", "batchtopk", "batch_topk") and not thresholds[0]:
        raise DictionaryError(
            f"{dictionary.name}: its activation is {activation}, and layer 0 stores no threshold, "
            "which decides what fires; expected a tensor of thresholds. Convert the dictionary with its threshold."
        )
    if activation == "relu" and thresholds[0]:
        raise DictionaryError(
            f"{dictionary.name}/{CONFIG_FILE}: activation is relu, and the layers have thresholds, of which ReLU knows "
            "nothing; expected jumprelu. Correct it."
        )
    if k is not None and dictionary.layers[0].activation.k is None and not thresholds[0]:
        raise DictionaryError(
            f"{dictionary.name}/{CONFIG_FILE}: k is {k!r} and activation is {activation!r}, and there are no "
            "thresholds; expected topk beside k. Correct it."
        )
    for i, layer in enumerate(dictionary.layers):
        layer.check(i, dictionary.d_model, dictionary.n_layers - i if dictionary.cross_layer else None)
