"""The linear map that a model becomes on one prompt when attention patterns and norm scales are held fixed.

With the norms' scales and weights folded into pattern, values and outputs, one block maps the residual stream x to
    mid    = x + sum over heads h of pattern_h (x value_g(h)^T) output_h^T + bias
    read   = what the feature dictionary reads, a fixed affine map of mid; in a parallel block, of x
    x_next = mid + write(written + read skip)          written: what features, errors and biases add
which is all that direct effects need: nothing in it depends on the input any more.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrozenNorm:
    """A norm whose scale is held fixed: the mean is taken off where it does so, then each dimension is multiplied."""

    factor_PD: Tensor | None = None
    """What a value is multiplied with; None: it passes unchanged."""
    centred: bool = False
    """Whether the mean over dimensions is subtracted first, as LayerNorm does."""
    bias_D: Tensor | None = None
    """What is added whatever the input is; None: nothing."""

    @property
    def diagonal(self) -> bool:
        """Whether it only multiplies, so that forward and back are alike."""
        return not self.centred and self.bias_D is None

    def __call__(self, x_PD: Tensor) -> Tensor:
        x_PD = _centre(x_PD) if self.centred else x_PD
        x_PD = x_PD if self.factor_PD is None else x_PD * self.factor_PD
        return x_PD if self.bias_D is None else x_PD + self.bias_D

    def pull(self, grad_PBD: Tensor) -> Tensor:
        """The gradient before the norm, given the one after it, for the first positions and any number of rows."""
        factor_PBD = None if self.factor_PD is None else self.factor_PD[: len(grad_PBD), None]
        return self._pull(grad_PBD, factor_PBD)

    def pull_at(self, position_B: Tensor, grad_BD: Tensor) -> Tensor:
        """The same for rows that each belong to one position."""
        return self._pull(grad_BD, None if self.factor_PD is None else self.factor_PD[position_B])

    def _pull(self, grad: Tensor, factor: Tensor | None) -> Tensor:
        grad = grad if factor is None else grad * factor
        return _centre(grad) if self.centred else grad  # taking off the mean is its own transpose


@dataclass(frozen=True)
class FrozenLayer:
    """One block with its norms folded in; see the module's formula."""

    pattern_HPP: Tensor
    """Attention by query and key, times the scale of the norm after (query) and before attention (key)."""
    value_GED: Tensor
    """Value weights, times the weight of the norm before."""
    output_HDE: Tensor
    """Output weights, times the weight of the norm after."""
    bias_PD: Tensor
    """What attention adds whatever the input is: biases of values and outputs, and of the norm before."""
    read: FrozenNorm
    """From the residual stream after attention, in a parallel block before it, to what the dictionary reads."""
    write: FrozenNorm
    """From what the dictionary writes to the residual stream; diagonal."""
    skip_DD: Tensor | None = None
    """The dictionary's linear bypass: it also writes read @ skip."""
    parallel: bool = False
    """Whether the MLP reads beside attention and not after it."""

    def __post_init__(self) -> None:
        assert self.write.diagonal, "DirectEffects multiplies what is written by the factors of `write` alone"

    @property
    def reversible(self) -> bool:
        """Whether attention is all that it does between what it writes and what its MLP reads."""
        return self.skip_DD is None and not self.parallel

    def mirrored(self) -> "FrozenLayer":
        """Its attention the other way, from what enters to what leaves, with the last position first: pulling a vector
        through this carries it up."""
        assert self.reversible, "a bypass and a parallel MLP are not mirrored"
        return replace(
            self,
            pattern_HPP=self.pattern_HPP.transpose(1, 2).flip(1, 2),
            value_GED=self.output_HDE.transpose(1, 2),
            output_HDE=self.value_GED.transpose(1, 2),
        )

    def attend(self, x_PD: Tensor) -> Tensor:
        """What attention adds to the residual stream."""
        group = len(self.output_HDE) // len(self.value_GED)
        value_HPE = torch.einsum("pd,ged->gpe", x_PD, self.value_GED).repeat_interleave(group, 0)
        return torch.einsum("hpe,hde->pd", self.pattern_HPP @ value_HPE, self.output_HDE) + self.bias_PD


@dataclass(frozen=True)
class FrozenModel:
    """All blocks and the final norm of one prompt."""

    layers: tuple[FrozenLayer, ...]
    final: FrozenNorm
    """From the last residual stream to what the unembedding reads."""
    position_PD: Tensor
    """Position embeddings, which enter the first block beside the tokens'; zero where there are none."""

    def replay(self, token_PD: Tensor, written_LPD: Tensor) -> tuple[Tensor, Tensor]:
        """Run the frozen model forward.

        Args:
            token_PD: The tokens' embeddings as they enter the first block, without position embeddings.
            written_LPD: What is written into each block's output, in the space of the dictionary's outputs, without
                the linear bypass.

        Returns:
            read_LPD: What the dictionary reads at each block.
            final_PD: What the unembedding reads.
        """
        x_PD, reads = token_PD + self.position_PD, []
        for layer, written_PD in zip(self.layers, written_LPD, strict=True):
            mid_PD = x_PD + layer.attend(x_PD)
            reads.append(layer.read(x_PD if layer.parallel else mid_PD))
            bypass_PD = 0 if layer.skip_DD is None else reads[-1] @ layer.skip_DD
            x_PD = mid_PD + layer.write(written_PD + bypass_PD)
        return torch.stack(reads), self.final(x_PD)


def _centre(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)
