"""Ledger: the constant terms of the frozen model, and what each puts into every target.

With them as sources the direct effects on a target sum to its value: the pre-activation of a feature, the logit minus
the mean logit of an output. Each constant is run forward through the frozen model alone, all other constants left out;
a prompt has a few of them and thousands of targets, so this costs as much as a few more rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tracer.frozen import FrozenModel
from tracer.replacement import LocalReplacement
from tracer.schema import BiasIndex


@dataclass(frozen=True)
class Constant:
    """A source that is the same whatever the input is, once attention patterns and norm scales are fixed."""

    index: BiasIndex
    """Which constant."""
    layer: int = -1
    """The block that adds it; -1 for those of no block."""

    @property
    def label(self) -> str:
        """What to call it."""
        return self.index.label + (f" {self.layer}" if self.layer >= 0 else "")


@dataclass(frozen=True)
class Ledger:
    """The constants of one prompt, and their effects."""

    constants: tuple[Constant, ...]
    """In the order of columns."""
    feature_AC: Tensor
    """Effect of each on the pre-activation of every active feature."""
    final_CPD: Tensor
    """What each brings to the final norm's output."""

    def of_outputs(self, vector_KD: Tensor, position_K: Tensor, own_K: Tensor | None = None) -> Tensor:
        """(K, C) effects on directions of the final norm's output; own_K is what the targets hold beside these."""
        effect_KC = torch.einsum("kd,ckd->kc", vector_KD, self.final_CPD[:, position_K])
        if own_K is not None:
            effect_KC[:, self.constants.index(Constant(BiasIndex.OWN))] += own_K
        return effect_KC


@torch.no_grad()
def ledger_of(local: LocalReplacement) -> Ledger:
    """The ledger of a prompt's local replacement model."""
    features = local.features
    constants, columns, finals = [], [], []
    for constant, layer, read_LPD, final_PD in _runs(local):
        constants.append(constant)
        columns.append(features.read_A(read_LPD, layer))
        finals.append(final_PD)
    constants.append(Constant(BiasIndex.OWN))
    columns.append(features.bias_A)
    finals.append(local.frozen.final(torch.zeros_like(local.token_PD)))  # its bias
    return Ledger(tuple(constants), torch.stack(columns, 1), torch.stack(finals))


def _runs(local: LocalReplacement) -> Iterator[tuple[Constant, int, Tensor, Tensor]]:
    """Each constant with the first layer that it is run through, and what is read there and above because of it."""
    frozen, bare = local.frozen, _bare(local.frozen)
    nothing_PD, base_LPD = torch.zeros_like(local.token_PD), local.base_LPD.clone()
    if frozen.position_PD.any():
        yield Constant(BiasIndex.POSITION), 0, *bare.replay(frozen.position_PD, torch.zeros_like(base_LPD))
    if not local.first_kept:
        base_LPD[:, 0] = 0
        yield Constant(BiasIndex.FIRST), 0, *bare.replay(nothing_PD, local.base_LPD - base_LPD)
    for layer in range(local.n_layers):
        own = FrozenModel((frozen.layers[layer], *bare.layers[layer + 1 :]), bare.final, nothing_PD)
        written_LPD = torch.zeros_like(base_LPD[layer:])
        written_LPD[0] = base_LPD[layer]
        yield Constant(BiasIndex.LAYER, layer), layer, *own.replay(nothing_PD, written_LPD)


def _bare(frozen: FrozenModel) -> FrozenModel:
    """The same linear map without a constant in it."""
    layers = tuple(
        replace(layer, bias_PD=torch.zeros_like(layer.bias_PD), read=replace(layer.read, bias_D=None))
        for layer in frozen.layers
    )
    return FrozenModel(layers, replace(frozen.final, bias_D=None), torch.zeros_like(frozen.position_PD))
