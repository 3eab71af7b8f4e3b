"""ReplacementModel: a model with a feature dictionary, and its local form on one prompt, linear and exact.

On the prompt it was made for, the local replacement model computes what the model computes: features, errors (what the
dictionary misses) and biases add up to the real output of each MLP, while attention patterns and norm scales are fixed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tracer.adapter import Adapter, Forward
from tracer.errors import UnsupportedModelError
from tracer.frozen import FrozenModel
from tracer.transcoders import TranscoderSet

Progress = Callable[[int, int, str], None]
"""Told (done, total, what) as work goes on."""


@dataclass(frozen=True)
class Features:
    """Active features, sorted by layer, position, index."""

    layer_A: Tensor
    position_A: Tensor
    index_A: Tensor
    """Entry in the dictionary of its layer."""
    activation_A: Tensor
    encoder_AD: Tensor
    """What each reads, in the space of the dictionary's inputs."""
    bias_A: Tensor
    """Encoder bias of each."""

    def __len__(self) -> int:
        return len(self.layer_A)


@dataclass(frozen=True)
class Writes:
    """What active features write into the MLP output of one layer."""

    row_W: Tensor
    """Which feature, as a row of `Features`."""
    vector_WD: Tensor
    """Decoder vector times activation, in the space of the dictionary's outputs."""


@dataclass(frozen=True)
class LocalReplacement:
    """The linear model of one prompt: its sources and the fixed maps between them."""

    forward: Forward
    frozen: FrozenModel
    features: Features
    writes: tuple[Writes, ...]
    """By layer written to."""
    error_LPD: Tensor
    """What the dictionary misses of each MLP output."""
    base_LPD: Tensor
    """What no node writes: decoder biases, and all of position 0 where that is left out."""
    first_kept: bool
    """Whether features and errors of position 0 are nodes."""

    @property
    def n_layers(self) -> int:
        return len(self.writes)

    @property
    def n_pos(self) -> int:
        return len(self.forward.token_P)

    @property
    def token_PD(self) -> Tensor:
        """Token embeddings as they enter the first block, without position embeddings."""
        return self.forward.token_PD

    def written_LPD(self) -> Tensor:
        """All that is written into MLP outputs on this prompt, without the linear bypass."""
        written_LPD = self.base_LPD + self.error_LPD
        for layer, writes in enumerate(self.writes):
            written_LPD[layer].index_add_(0, self.features.position_A[writes.row_W], writes.vector_WD)
        return written_LPD

    def contribution_LPD(self, row: int) -> Tensor:
        """What one active feature writes into MLP outputs."""
        added_LPD = torch.zeros_like(self.base_LPD)
        for layer, writes in enumerate(self.writes):
            added_LPD[layer, self.features.position_A[row]] = writes.vector_WD[writes.row_W == row].sum(0)
        return added_LPD


@dataclass(frozen=True)
class ReplacementModel:
    """A model and a feature dictionary that fits it; made by `tracer.load`."""

    adapter: Adapter
    transcoders: TranscoderSet

    def __post_init__(self) -> None:
        self.transcoders.check_fits(self.adapter.name, self.adapter.n_layers, self.adapter.d_model)
        self.adapter.check_read_hook(self.transcoders.read_hook)

    @property
    def source_set(self) -> str:
        """Name of the dictionary among all: its published name, or `model/dictionary`."""
        return self.transcoders.scan or f"{self.adapter.name}/{self.transcoders.name}"

    @torch.no_grad()
    def linearise(
        self, token_P: Tensor, keep_first_position: bool = True, progress: Progress | None = None
    ) -> LocalReplacement:
        """The local replacement model of these tokens.

        Args:
            token_P: Token ids, checked already.
            keep_first_position: Whether features and errors of position 0 are sources.

        Raises:
            UnsupportedModelError: The model computes NaN on these tokens.
            DictionaryError: The dictionary's weights are damaged.
        """
        adapter, transcoders = self.adapter, self.transcoders
        forward = adapter.observe(token_P)
        _check_finite(adapter, forward)
        read_LPD = adapter.read_LPD(forward, transcoders.read_hook)
        skips = [_moved(transcoders.skip_DD(layer), read_LPD) for layer in range(adapter.n_layers)]
        frozen = adapter.freeze(forward, transcoders.read_hook, transcoders.write_hook, skips)
        features = _encode(transcoders, read_LPD, 0 if keep_first_position else 1, progress)
        writes = _decode(transcoders, features)
        target_LPD = adapter.written_LPD(forward, transcoders.write_hook) - _bypass(read_LPD, skips)
        base_LPD = transcoders.bias_LD().to(read_LPD)[:, None].repeat(1, len(token_P), 1)
        if not keep_first_position:
            base_LPD[:, 0] = target_LPD[:, 0]
        local = LocalReplacement(
            forward, frozen, features, writes, torch.zeros_like(base_LPD), base_LPD, keep_first_position
        )
        return replace(local, error_LPD=target_LPD - local.written_LPD())


def _encode(transcoders: TranscoderSet, read_LPD: Tensor, first: int, progress: Progress | None) -> Features:
    found: list[tuple[Tensor, ...]] = []
    for layer, read_PD in enumerate(read_LPD):
        value_PF = transcoders.activations(layer, read_PD)
        value_PF[:first] = 0
        position_A, index_A = value_PF.nonzero(as_tuple=True)
        encoder_AD = transcoders.encoder_rows(layer, index_A).to(read_PD)
        bias_A = transcoders.layers[layer].encoder_bias.read().to(read_PD)[index_A]
        layer_A = torch.full_like(index_A, layer)
        found.append((layer_A, position_A, index_A, value_PF[position_A, index_A], encoder_AD, bias_A))
        if progress:
            progress(layer + 1, len(read_LPD), "layers encoded")
    return Features(*(torch.cat(column) for column in zip(*found, strict=True)))


def _decode(transcoders: TranscoderSet, features: Features) -> tuple[Writes, ...]:
    rows: list[list[Tensor]] = [[] for _ in range(transcoders.n_layers)]
    vectors: list[list[Tensor]] = [[] for _ in range(transcoders.n_layers)]
    for layer in range(transcoders.n_layers):
        row_A = (features.layer_A == layer).nonzero()[:, 0]
        decoder_AnD = transcoders.decoder_rows(layer, features.index_A[row_A]).to(features.encoder_AD)
        scaled_AnD = decoder_AnD * features.activation_A[row_A, None, None]
        for step in range(scaled_AnD.shape[1]):
            rows[layer + step].append(row_A)
            vectors[layer + step].append(scaled_AnD[:, step])
    return tuple(Writes(torch.cat(r), torch.cat(v)) for r, v in zip(rows, vectors, strict=True))


def _bypass(read_LPD: Tensor, skips: list[Tensor | None]) -> Tensor:
    parts = (torch.zeros_like(x) if skip is None else x @ skip for x, skip in zip(read_LPD, skips, strict=True))
    return torch.stack(list(parts))


def _moved(tensor: Tensor | None, like: Tensor) -> Tensor | None:
    return None if tensor is None else tensor.to(like)


def _check_finite(adapter: Adapter, forward: Forward) -> None:
    if not torch.isfinite(forward.logits_PV).all():
        raise UnsupportedModelError(
            f"{adapter.name} computes NaN or infinity on this prompt in {adapter.dtype}; expected finite logits. "
            "Load it with dtype='float32'."
        )
