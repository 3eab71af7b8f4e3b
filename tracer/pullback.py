"""PullBack: the transpose of one frozen block, and the targets whose gradients it pulls."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from tracer.frozen import FrozenLayer


@dataclass(frozen=True)
class Targets:
    """Linear reads of the residual stream, one a row."""

    layer_B: Tensor
    """Reads before the MLP of this layer; n_layers: reads after the last block."""
    position_B: Tensor
    read_BD: Tensor
    """Gradient of the target in the residual stream there."""
    constant_BC: Tensor
    """What the constant terms of the model put into the target."""
    feature_B: Tensor | None = None
    """Which active feature each is; None: they are none."""

    def __len__(self) -> int:
        return len(self.layer_B)

    def take(self, rows: Tensor | slice) -> "Targets":
        """The targets at these rows."""
        feature_B = None if self.feature_B is None else self.feature_B[rows]
        return Targets(self.layer_B[rows], self.position_B[rows], self.read_BD[rows], self.constant_BC[rows], feature_B)


class Scratch:
    """Memory for what lives during one step, taken again by the next: touching fresh memory costs as much as a copy."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """A tensor whose values are whatever was left there; what was taken under this name before is overwritten."""
        n, flat = prod(shape), self._flat.get(name)
        if flat is None or len(flat) < n:
            flat = self._flat[name] = like.new_empty(n)
        return flat[:n].view(shape)


class PullBack:
    """The transpose of one frozen block, its matrices laid out for large products."""

    def __init__(self, layer: FrozenLayer, below: FrozenLayer | None, scratch: Scratch):
        self.layer, self.scratch = layer, scratch
        n_out, self.d_head, d_model = layer.value_GED.shape
        n_in, (n_heads, n_pos) = len(layer.output_HDE), layer.pattern_HPP.shape[:2]
        # heads that share values are summed; run the other way (see `FrozenLayer.mirrored`) one is given to several
        self.n_groups = min(n_in, n_out)
        self.group_in, self.group_out = n_in // self.n_groups, n_out // self.n_groups
        self.output_DZ = _flat_output(layer)
        self.value_ZD = layer.value_GED.reshape(n_out * self.d_head, d_model)
        # (G, heads out, key, heads in, query)
        pattern = layer.pattern_HPP.view(self.n_groups, self.group_out, self.group_in, n_pos, n_pos)
        self.pattern = pattern.permute(0, 1, 4, 2, 3)
        # after its first hop a row is of rank one by head, and so is what the next block's output matrix makes of it
        self.value_HED = layer.value_GED.repeat_interleave(n_heads // n_out, 0)
        known = below is not None and below.skip_DD is None and not layer.parallel
        self.output_below_DZ = _flat_output(below) if below is not None and known else None
        self.below_HEZ = None if self.output_below_DZ is None else self.value_HED @ self.output_below_DZ

    @property
    def bytes_a_row(self) -> int:
        """Memory that one row takes at one position while it is pulled through: gradient, heads twice, moved, new."""
        d_model, n_heads = self.output_DZ.shape
        return self.output_DZ.element_size() * (2 * d_model + 3 * n_heads + len(self.value_ZD))

    def pull(self, grad_BPD: Tensor, heads_BPZ: Tensor | None) -> None:
        """Turn the gradient leaving the block into the one entering it, for the first positions.

        Args:
            heads_BPZ: grad @ output of the last rows, where it is known already.
        """
        n_rows, n_pos, d_model = grad_BPD.shape
        if not n_rows:
            return
        leaving_BPD = grad_BPD
        if self.layer.skip_DD is not None:
            bypass_BPD = self.bypass(grad_BPD)
            leaving_BPD = grad_BPD.clone() if self.layer.parallel else grad_BPD  # what attention's output goes into
            grad_BPD += bypass_BPD
        n_known = 0 if heads_BPZ is None else len(heads_BPZ)
        take, n_groups, d_head = self.scratch.take, self.n_groups, self.d_head
        heads = take("heads", grad_BPD, n_groups, self.group_in, n_pos, n_rows, d_head)
        target = heads.permute(3, 2, 0, 1, 4)
        if n_rows > n_known:
            flat_RD = leaving_BPD[: n_rows - n_known].reshape(-1, d_model)
            flat_RZ = take("flat", grad_BPD, len(flat_RD), self.output_DZ.shape[1])
            torch.mm(flat_RD, self.output_DZ, out=flat_RZ)
            target[: n_rows - n_known] = flat_RZ.view(-1, *target.shape[1:])
        if heads_BPZ is not None:
            target[n_rows - n_known :] = heads_BPZ.view(-1, *target.shape[1:])
        # (G, heads out x key, heads in x query): all heads that share values are summed in one product
        pattern = self.pattern[:, :, :n_pos, :, :n_pos].reshape(n_groups, self.group_out * n_pos, -1)
        moved = take("moved", grad_BPD, n_groups, self.group_out * n_pos, n_rows * d_head)
        torch.bmm(pattern, heads.view(n_groups, self.group_in * n_pos, -1), out=moved)
        moved = moved.view(n_groups, self.group_out, n_pos, n_rows, d_head).permute(3, 2, 0, 1, 4)
        moved_RZ = take("flat", grad_BPD, *moved.shape).copy_(moved).view(n_rows * n_pos, -1)
        grad_BPD.view(-1, d_model).addmm_(moved_RZ, self.value_ZD)

    def first_hop(self, targets: Targets, grad_BPD: Tensor) -> Tensor | None:
        """Set the gradients entering the block, for targets that its MLP reads.

        Returns:
            heads_BPZ: What the output matrix of the block below makes of them; None where it must be computed.
        """
        n_rows, n_pos = grad_BPD.shape[:2]
        if not n_rows:
            return None
        if self.layer.parallel:  # its MLP reads what enters the block
            at_position(targets, grad_BPD)
            return None
        own_B, pattern_BPH = torch.arange(n_rows, device=grad_BPD.device), self._reach(targets.position_B, n_pos)
        heads_HBE = (targets.read_BD @ self.output_DZ).view(n_rows, -1, self.d_head).transpose(0, 1)
        heads_HBE = heads_HBE.repeat_interleave(self.group_out, 0)
        moved_HBD = torch.bmm(heads_HBE, self.value_HED)
        torch.bmm(pattern_BPH, moved_HBD.transpose(0, 1), out=grad_BPD)
        grad_BPD[own_B, targets.position_B] += targets.read_BD
        if self.output_below_DZ is None or self.below_HEZ is None:
            return None
        heads_BPZ = torch.bmm(pattern_BPH, torch.bmm(heads_HBE, self.below_HEZ).transpose(0, 1))
        heads_BPZ[own_B, targets.position_B] += targets.read_BD @ self.output_below_DZ
        return heads_BPZ

    def _reach(self, position_B: Tensor, n_pos: int) -> Tensor:
        """(B, P, H) attention of these positions to the first ones."""
        return self.layer.pattern_HPP[:, position_B, :n_pos].permute(1, 2, 0)

    def bypass(self, grad_BPD: Tensor) -> Tensor:
        """What reaches the target through the dictionary's linear bypass of the MLP."""
        assert self.layer.skip_DD is not None
        written_PBD = self.layer.write.pull(grad_BPD.transpose(0, 1)) @ self.layer.skip_DD.T
        return self.layer.read.pull(written_PBD).transpose(0, 1)


def _flat_output(layer: FrozenLayer) -> Tensor:
    """(D, Z) output weights of all heads side by side."""
    return layer.output_HDE.permute(1, 0, 2).reshape(layer.output_HDE.shape[1], -1).contiguous()


def at_position(targets: Targets, grad_BPD: Tensor) -> None:
    """Set gradients to zero but for each target's at its own position."""
    grad_BPD.zero_()
    grad_BPD[torch.arange(len(targets), device=grad_BPD.device), targets.position_B] = targets.read_BD
