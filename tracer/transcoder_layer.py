"""TranscoderLayer: the features that read at one layer of a model: where their weights lie, and when they fire."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tracer.errors import DictionaryError
from tracer.stored import StoredTensor


@dataclass(frozen=True)
class Activation:
    """When a feature fires, and with what value: its pre-activation, where that passes, else 0.

    ReLU passes what is above 0, JumpReLU what is above the feature's own threshold, TopK the k largest of a token.
    BatchTopK keeps the k largest of each token of a batch on average while it is trained, and what is above one
    threshold ever after; so it is stored, and so it is read here.
    """

    threshold: StoredTensor | None = None
    """Of each feature, or one for all; None: there is none."""
    k: int | None = None
    """How many pre-activations of a token pass at most; None: any number."""
    signed: bool = False
    """Whether negative values pass too: circuit-tracer's JumpReLU and TopK do not hold them back, SAELens's do."""

    def __call__(self, pre_PF: Tensor) -> Tensor:
        """(P, F) values, given pre-activations."""
        passes_PF = torch.ones_like(pre_PF, dtype=torch.bool) if self.k is None else self._largest(pre_PF)
        if self.threshold is not None:
            bar = _thresholds(self.threshold).to(pre_PF)
            passes_PF &= pre_PF > (bar if self.signed else bar.clamp(min=0))
        elif not self.signed:
            passes_PF &= pre_PF > 0
        return torch.where(passes_PF, pre_PF, 0)

    def _largest(self, pre_PF: Tensor) -> Tensor:
        assert self.k is not None
        index_PK = pre_PF.topk(self.k, dim=-1, sorted=False).indices
        return torch.zeros_like(pre_PF, dtype=torch.bool).scatter_(-1, index_PK, True)


def _thresholds(stored: StoredTensor) -> Tensor:
    bar = stored.read().reshape(-1)
    if torch.isnan(bar).any():
        raise DictionaryError(
            f"{stored.where} holds NaN; expected thresholds, which may be infinite. The weights are damaged: fetch the "
            "dictionary again."
        )
    return bar


@dataclass(frozen=True)
class TranscoderLayer:
    """The features that read at one layer."""

    encoder: StoredTensor
    """(F, D)"""
    encoder_bias: StoredTensor
    decoder: StoredTensor
    """(F, D), or (F, n, D) where features write to n layers."""
    bias: StoredTensor
    activation: Activation
    skip: StoredTensor | None
    """The linear bypass, applied as read @ skip; None: there is none."""

    @property
    def n_features(self) -> int:
        return self.encoder.shape[0]

    @property
    def tensors(self) -> Iterator[StoredTensor]:
        """Everything that is stored."""
        for tensor in (self.encoder, self.encoder_bias, self.decoder, self.bias, self.activation.threshold, self.skip):
            if tensor is not None:
                yield tensor

    @property
    def files(self) -> set[Path]:
        return {tensor.path for tensor in self.tensors}

    def check(self, layer: int, d_model: int, n_out: int | None) -> None:
        """Raise DictionaryError unless shapes fit each other; n_out: layers written to, None where that is no axis."""
        n = self.n_features
        expected: list[tuple[StoredTensor | None, tuple[tuple[int, ...], ...]]] = [
            (self.encoder, ((n, d_model),)),
            (self.encoder_bias, ((n,),)),
            (self.decoder, ((n, d_model) if n_out is None else (n, n_out, d_model),)),
            (self.bias, ((d_model,),)),
            (self.activation.threshold, ((n,), (1,), ())),
            (self.skip, ((d_model, d_model),)),
        ]
        for tensor, shapes in expected:
            if tensor is not None and tensor.shape not in shapes:
                raise DictionaryError(
                    f"{tensor.where} has the shape {tensor.shape}; expected {shapes[0]} in layer {layer}, beside "
                    f"{self.encoder.key} of {self.encoder.shape}. Convert the dictionary."
                )
        k = self.activation.k
        if k is not None and not 1 <= k <= n:
            raise DictionaryError(
                f"{self.encoder.where}: k is {k} for {n} features; expected 1 to {n}. Correct k in the configuration."
            )
