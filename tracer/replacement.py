"""ReplacementModel: a model with a feature dictionary, and its local form on one prompt, linear and exact.

On the prompt it was made for, the local replacement model computes what the model computes: features, errors (what the
dictionary misses) and biases add up to the real output of each MLP, while attention patterns and norm scales are fixed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from tracer.adapter import Adapter, Forward
from tracer.errors import UnsupportedModelError
from tracer.frozen import FrozenModel
from tracer.transcoders import TranscoderSet

Progress = Callable[[int, int, str], None]
"""Told (done, total, what) as work goes on."""
CHUNK = 2**13  # features whose vectors are laid out at once where all would not fit
ENCODED = 512  # positions whose pre-activations, one for each entry of a dictionary, are there at once


@dataclass(frozen=True)
class Vectors:
    """A vector each for many features: the entry of a table that it shares with others, times a number."""

    table_UD: Tensor
    entry_A: Tensor
    scale_A: Tensor | None = None
    """None: all are 1."""

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        vector_RD = self.table_UD.index_select(0, self.entry_A[rows])
        return vector_RD if self.scale_A is None else vector_RD.mul_(self.scale_A[rows, None])

    @classmethod
    def together(cls, parts: Sequence["Vectors"]) -> "Vectors":
        """Those of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        starts = accumulate((len(part.table_UD) for part in parts), initial=0)
        entry_A = torch.cat([part.entry_A + start for part, start in zip(parts, starts, strict=False)])
        scales = [part.scale_A for part in parts if part.scale_A is not None]
        return cls(torch.cat([part.table_UD for part in parts]), entry_A, torch.cat(scales) if scales else None)


@dataclass(frozen=True)
class Features:
    """Active features, sorted by layer, position, index."""

    layer_A: Tensor
    position_A: Tensor
    index_A: Tensor
    """Entry in the dictionary of its layer."""
    activation_A: Tensor
    bias_A: Tensor
    """Encoder bias of each."""
    encoder: Vectors
    """What each reads, in the space of the dictionary's inputs."""

    @property
    def encoder_AD(self) -> Tensor:
        """The encoder vectors of all; large on long prompts."""
        return self.encoder[:]

    def read_A(self, read_LPD: Tensor, first_layer: int = 0) -> Tensor:
        """(A,) what each reads of these inputs of the layers from the first on, without its bias; below it, zero."""
        value_A = torch.zeros_like(self.activation_A)
        for rows in (self.layer_A >= first_layer).nonzero()[:, 0].split(CHUNK):
            read_RD = read_LPD[self.layer_A[rows] - first_layer, self.position_A[rows]]
            value_A[rows] = (read_RD * self.encoder[rows]).sum(-1)
        return value_A

    def __len__(self) -> int:
        return len(self.layer_A)


@dataclass(frozen=True)
class Writes:
    """What active features write into the MLP output of one layer."""

    row_W: Tensor
    """Which feature, as a row of `Features`."""
    vectors: Vectors
    """Decoder vector times activation, in the space of the dictionary's outputs."""

    def __len__(self) -> int:
        return len(self.row_W)


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
            for part_W in torch.arange(len(writes), device=writes.row_W.device).split(CHUNK):
                position_W = self.features.position_A[writes.row_W[part_W]]
                _add_at(written_LPD[layer], position_W, writes.vectors[part_W])
        return written_LPD

    def contribution_LPD(self, row: int) -> Tensor:
        """What one active feature writes into MLP outputs."""
        added_LPD = torch.zeros_like(self.base_LPD)
        for layer, writes in enumerate(self.writes):
            added_LPD[layer, self.features.position_A[row]] = writes.vectors[writes.row_W == row].sum(0)
        return added_LPD


@dataclass(frozen=True)
class ReplacementModel:
    """A model and a feature dictionary that fits it; made by `tracer.load`."""

    adapter: Adapter
    transcoders: TranscoderSet

    def __post_init__(self) -> None:
        self.transcoders.check_fits(self.adapter.name, self.adapter.n_layers, self.adapter.d_model)
        self.adapter.check_read_hook(self.transcoders.read_hook, self.adapter.name, self.adapter.parallel)

    def __repr__(self) -> str:
        size = f"{self.adapter.n_layers} layers of width {self.adapter.d_model}, on {self.adapter.device}"
        return f"<ReplacementModel {self.adapter.name!r} with {self.transcoders.name!r}: {size}>"

    @property
    def source_set(self) -> str:
        """Name of the dictionary among all: its published name, or `model/dictionary`."""
        return self.transcoders.scan or f"{self.adapter.name}/{self.transcoders.name}"

    @torch.no_grad()
    def linearise(
        self,
        token_P: Tensor,
        keep_first_position: bool = True,
        progress: Progress | None = None,
        *,
        logits_from: int = 0,
    ) -> LocalReplacement:
        """The local replacement model of these tokens.

        Args:
            token_P: Token ids, checked already.
            keep_first_position: Whether features and errors of position 0 are sources.
            logits_from: The first position whose logits are wanted.

        Raises:
            UnsupportedModelError: The model computes NaN on these tokens.
            DictionaryError: The dictionary's weights are damaged.
        """
        adapter, transcoders = self.adapter, self.transcoders
        forward = adapter.observe(token_P, logits_from)
        _check_finite(adapter, forward)
        read_LPD = adapter.read_LPD(forward, transcoders.read_hook)
        skips = [_moved(transcoders.skip_DD(layer), read_LPD) for layer in range(adapter.n_layers)]
        target_LPD = _without_bypass(adapter.written_LPD(forward, transcoders.write_hook), read_LPD, skips)
        frozen = adapter.freeze(forward, transcoders.read_hook, transcoders.write_hook, skips, reuse=True)
        forward = _lean(forward)
        features = _encode(transcoders, read_LPD, 0 if keep_first_position else 1, progress)
        del read_LPD  # on long prompts every stream counts
        writes = _decode(transcoders, features)
        base_LPD = transcoders.bias_LD().to(target_LPD)[:, None].repeat(1, len(token_P), 1)
        if not keep_first_position:
            base_LPD[:, 0] = target_LPD[:, 0]
        local = LocalReplacement(
            forward, frozen, features, writes, torch.zeros_like(base_LPD), base_LPD, keep_first_position
        )
        return replace(local, error_LPD=target_LPD - local.written_LPD())


def _add_at(sum_PD: Tensor, position_W: Tensor, vector_WD: Tensor) -> None:
    """Add each vector at its position, in an order that is always the same: sums of other orders have other bits."""
    if sum_PD.device.type == "cpu":
        sum_PD.index_add_(0, position_W, vector_WD)
    else:  # on a GPU it is index_add_ whose order changes, and on a CPU this one's
        sum_PD.index_put_((position_W,), vector_WD, accumulate=True)


def _lean(forward: Forward) -> Forward:
    """Without what the frozen map was made from; its patterns are the frozen ones now."""
    nothing_LPD = forward.mlp_LPD.new_empty(0)
    return replace(
        forward,
        pattern_LHPP=nothing_LPD,
        attention_LPD=nothing_LPD,
        resid_mid_LPD=nothing_LPD,
        mlp_LPD=nothing_LPD,
        resid_pre_LPD=forward.resid_pre_LPD[:1].clone(),
    )


def _encode(transcoders: TranscoderSet, read_LPD: Tensor, first: int, progress: Progress | None) -> Features:
    found: list[tuple[Tensor, ...]] = []
    unique: list[Tensor] = []
    n_unique = 0
    for layer, read_PD in enumerate(read_LPD):
        position_A, index_A, value_A = _active(transcoders, layer, read_PD, first)
        index_U, entry_A = index_A.unique(return_inverse=True)
        bias_A = transcoders.layers[layer].encoder_bias.read().to(read_PD)[index_A]
        found.append((torch.full_like(index_A, layer), position_A, index_A, value_A, bias_A, entry_A + n_unique))
        unique.append(index_U)
        n_unique += len(index_U)
        if progress:
            progress(layer + 1, len(read_LPD), "layers encoded")
    table_UD, start = read_LPD.new_empty(n_unique, read_LPD.shape[-1]), 0
    for layer, index_U in enumerate(unique):  # into their places: put together later, all would be there twice
        table_UD[start : start + len(index_U)] = transcoders.encoder_rows(layer, index_U).to(read_LPD)
        start += len(index_U)
    *columns, entry_A = (torch.cat(column) for column in zip(*found, strict=True))
    return Features(*columns, encoder=Vectors(table_UD, entry_A))


def _active(transcoders: TranscoderSet, layer: int, read_PD: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """Position, index and value of the features that are active from the first position on, in order."""
    parts = []
    for start in range(0, len(read_PD), ENCODED):
        value_PF = transcoders.activations(layer, read_PD[start : start + ENCODED])
        value_PF[: max(first - start, 0)] = 0
        position_A, index_A = value_PF.nonzero(as_tuple=True)
        parts.append((position_A + start, index_A, value_PF[position_A, index_A]))
    position_A, index_A, value_A = (torch.cat(column) for column in zip(*parts, strict=True))
    return position_A, index_A, value_A


def _decode(transcoders: TranscoderSet, features: Features) -> tuple[Writes, ...]:
    rows: list[list[Tensor]] = [[] for _ in range(transcoders.n_layers)]
    vectors: list[list[Vectors]] = [[] for _ in range(transcoders.n_layers)]
    for layer in range(transcoders.n_layers):
        row_A = (features.layer_A == layer).nonzero()[:, 0]
        index_U, entry_A = features.index_A[row_A].unique(return_inverse=True)
        decoder_UnD = transcoders.decoder_rows(layer, index_U).to(features.encoder.table_UD)
        for step, table_UD in enumerate(decoder_UnD.unbind(1)):
            rows[layer + step].append(row_A)
            vectors[layer + step].append(Vectors(table_UD, entry_A, features.activation_A[row_A]))
    return tuple(Writes(torch.cat(r), Vectors.together(v)) for r, v in zip(rows, vectors, strict=True))


def _without_bypass(written_LPD: Tensor, read_LPD: Tensor, skips: list[Tensor | None]) -> Tensor:
    if all(skip is None for skip in skips):
        return written_LPD
    written_LPD = written_LPD.clone()
    for written_PD, read_PD, skip in zip(written_LPD, read_LPD, skips, strict=True):
        if skip is not None:
            written_PD -= read_PD @ skip
    return written_LPD


def _moved(tensor: Tensor | None, like: Tensor) -> Tensor | None:
    return None if tensor is None else tensor.to(like)


def _check_finite(adapter: Adapter, forward: Forward) -> None:
    if not (torch.isfinite(forward.logits_PV).all() and torch.isfinite(forward.resid_final_PD).all()):
        raise UnsupportedModelError(
            f"{adapter.name} computes NaN or infinity on this prompt in {adapter.dtype}; expected finite logits. "
            "Load it with dtype='float32'."
        )
