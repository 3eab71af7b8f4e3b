"""DirectEffects: exact rows of direct effects on one prompt, by products with the frozen maps and no autograd.

A target is a linear read of the residual stream: its gradient there is one vector at one position. Pulled down block by
block, G <- G + skip + sum over heads h of pattern_h^T (G' output_h) value_g(h), it meets each source where that writes;
the effect is their scalar product. Attention is followed by the bypass, G' = G + skip, or in a parallel block stands
beside it, G' = G. Rows join at the layer they read, so nothing is computed above a target or after its position, and
since a row joins as one vector at one position, its first attention hop is of rank one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from tracer.frozen import FrozenLayer
from tracer.ledger import Ledger
from tracer.replacement import LocalReplacement


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

    def __len__(self) -> int:
        return len(self.layer_B)

    def take(self, rows: Tensor) -> "Targets":
        """The targets at these rows."""
        return Targets(self.layer_B[rows], self.position_B[rows], self.read_BD[rows], self.constant_BC[rows])


@dataclass(frozen=True)
class _Block:
    """Sources that write into one layer at one position: features in neighbouring columns, and one error."""

    first: int
    last: int
    error: int
    write_DW: Tensor
    """What each adds to the residual stream; the error comes last."""


class DirectEffects:
    """Direct effects of all sources of one prompt (features, errors layer by layer, tokens, constants) on any target.

    Without a ledger there are no constants among the sources.
    """

    def __init__(self, local: LocalReplacement, batch_size: int, ledger: Ledger | None = None):
        self.local, self.ledger = local, ledger
        self.batch_size = batch_size
        self.n_features = len(local.features)
        self.n_computed = self.n_features + (local.n_layers + 1) * local.n_pos  # the constants' part is at hand
        self.n_sources = self.n_computed + (len(ledger.constants) if ledger else 0)
        features = local.features
        # inside, columns of features are sorted by position, then layer: what writes into one layer at one position
        # is then a run of neighbours, for per-layer and cross-layer dictionaries alike
        self._order = torch.argsort(features.position_A * local.n_layers + features.layer_A, stable=True)
        self._column = torch.argsort(self._order)
        self._blocks = [self._sources(layer) for layer in range(local.n_layers)]
        self._maps = [_PullBack(layer) for layer in local.frozen.layers]

    def of_features(self, rows: Tensor) -> Targets:
        """These active features as targets: their pre-activations."""
        features, layers = self.local.features, self.local.frozen.layers
        layer_B, position_B, read_BD = features.layer_A[rows], features.position_A[rows], features.encoder_AD[rows]
        read_BD = read_BD.clone()
        for layer in layer_B.unique().tolist():
            here = layer_B == layer
            read_BD[here] = layers[layer].read.pull_at(position_B[here], read_BD[here])
        constant_BC = self.ledger.feature_AC[rows] if self.ledger else read_BD[:, :0]
        return Targets(layer_B, position_B, read_BD, constant_BC)

    def of_outputs(self, vector_KD: Tensor, position_K: Tensor, own_K: Tensor | None = None) -> Targets:
        """Directions of the final norm's output at these positions as targets.

        Args:
            own_K: What each target's value holds beside the direction's: biases of the unembedding.
        """
        read_KD = self.local.frozen.final.pull_at(position_K, vector_KD)
        constant_KC = self.ledger.of_outputs(vector_KD, position_K, own_K) if self.ledger else read_KD[:, :0]
        return Targets(torch.full_like(position_K, self.local.n_layers), position_K, read_KD, constant_KC)

    @torch.no_grad()
    def rows(self, targets: Targets) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (rows of `targets`, their (B, S) effects); columns are features, errors, tokens, constants."""
        order = torch.argsort(targets.position_B, stable=True)  # rows of one batch share a causal cone
        for rows in order.split(self.batch_size):
            by_layer = rows[torch.argsort(targets.layer_B[rows], descending=True, stable=True)]
            effect_BS, constant_BC = self._pull(targets.take(by_layer)), targets.constant_BC[by_layer]
            yield by_layer, torch.cat([effect_BS[:, self._column], effect_BS[:, self.n_features :], constant_BC], 1)

    def _pull(self, targets: Targets) -> Tensor:
        """(B, S) effects on targets that are sorted from the highest layer down; columns in inner order."""
        local, n_pos = self.local, int(targets.position_B.max()) + 1
        effect_BS = targets.read_BD.new_zeros(len(targets), self.n_computed)
        grad_PBD = _at_position(targets.take((targets.layer_B == local.n_layers).nonzero()[:, 0]), n_pos)
        for layer in reversed(range(local.n_layers)):
            self._meet(layer, grad_PBD, effect_BS)
            grad_PBD = self._maps[layer].pull(grad_PBD)
            joining = (targets.layer_B == layer).nonzero()[:, 0]
            if len(joining):
                grad_PBD = torch.cat([grad_PBD, self._maps[layer].first_hop(targets.take(joining), n_pos)], 1)
        tokens = self.n_features + local.n_layers * local.n_pos
        effect_BS[:, tokens : tokens + n_pos] = torch.einsum("pbd,pd->bp", grad_PBD, local.token_PD[:n_pos])
        return effect_BS

    def _meet(self, layer: int, grad_PBD: Tensor, effect_BS: Tensor) -> None:
        """Add the effects of all that is written into this layer on the rows under way."""
        under_way = grad_PBD.shape[1]
        if not under_way:
            return
        for grad_BD, block in zip(grad_PBD, self._blocks[layer], strict=False):
            met_BW = grad_BD @ block.write_DW
            effect_BS[:under_way, block.first : block.last] += met_BW[:, :-1]
            effect_BS[:under_way, block.error] = met_BW[:, -1]

    def _sources(self, layer: int) -> list[_Block]:
        """What writes into one layer, position by position."""
        local = self.local
        writes, write = local.writes[layer], local.frozen.layers[layer].write
        column_W, order = self._column[writes.row_W].sort()
        position_W = local.features.position_A[writes.row_W][order]
        vector_WD = write.pull_at(position_W, writes.vector_WD[order])  # a diagonal map: forward and back alike
        error_PD = write(local.error_LPD[layer])
        ends = torch.searchsorted(position_W, torch.arange(local.n_pos + 1, device=position_W.device)).tolist()
        blocks = []
        for position, (start, end) in enumerate(pairwise(ends)):
            first = int(column_W[start]) if end > start else 0
            assert end == start or int(column_W[end - 1]) == first + end - start - 1, "columns are not neighbours"
            write_DW = torch.cat([vector_WD[start:end], error_PD[position, None]]).T.contiguous()
            error = self.n_features + layer * local.n_pos + position
            blocks.append(_Block(first, first + end - start, error, write_DW))
        return blocks


class _PullBack:
    """The transpose of one frozen block, its matrices laid out for large products."""

    def __init__(self, layer: FrozenLayer):
        self.layer = layer
        self.n_kv, self.d_head, d_model = layer.value_GED.shape
        n_heads, n_pos = layer.pattern_HPP.shape[:2]
        self.group = n_heads // self.n_kv
        self.output_DZ = layer.output_HDE.permute(1, 0, 2).reshape(d_model, n_heads * self.d_head).contiguous()
        self.value_ZD = layer.value_GED.reshape(self.n_kv * self.d_head, d_model)
        # (G, key, head of the group, query): all heads that share values are summed in one product
        grouped = layer.pattern_HPP.view(self.n_kv, self.group, n_pos, n_pos)
        self.pattern_GPHP = grouped.permute(0, 3, 1, 2).contiguous()

    def pull(self, grad_PBD: Tensor) -> Tensor:
        """Gradient entering the block, given the one leaving it, for the first positions."""
        n_pos, n_rows, d_model = grad_PBD.shape
        if not n_rows:
            return grad_PBD
        entering_PBD = self._with_bypass(grad_PBD)
        after_PBD = grad_PBD if self.layer.parallel else entering_PBD  # what attention's output is followed by
        flat_RD = after_PBD.reshape(n_pos * n_rows, d_model)
        heads = (flat_RD @ self.output_DZ).view(n_pos, n_rows, self.n_kv, self.group, self.d_head)
        heads = heads.permute(2, 3, 0, 1, 4).reshape(self.n_kv, self.group * n_pos, n_rows * self.d_head)
        pattern = self.pattern_GPHP[:, :n_pos, :, :n_pos].reshape(self.n_kv, n_pos, self.group * n_pos)
        moved = (pattern @ heads).view(self.n_kv, n_pos, n_rows, self.d_head)
        moved_RZ = moved.permute(1, 2, 0, 3).reshape(n_pos * n_rows, self.n_kv * self.d_head)
        entering_RD = entering_PBD.reshape(n_pos * n_rows, d_model)
        return torch.addmm(entering_RD, moved_RZ, self.value_ZD).view(n_pos, n_rows, d_model)

    def first_hop(self, targets: Targets, n_pos: int) -> Tensor:
        """(P, B, D) gradient entering the block, for targets that its MLP reads."""
        grad_PBD = _at_position(targets, n_pos)
        if self.layer.parallel:  # its MLP reads what enters the block
            return grad_PBD
        n_rows, d_model = targets.read_BD.shape
        heads_HBE = (targets.read_BD @ self.output_DZ).view(n_rows, -1, self.d_head).transpose(0, 1)
        value_HED = self.layer.value_GED.repeat_interleave(self.group, 0)
        heads_HBD = torch.bmm(heads_HBE, value_HED).view(-1, n_rows * d_model)
        for position in targets.position_B.unique().tolist():
            here = (targets.position_B == position).nonzero()[:, 0]
            pattern_PH = self.layer.pattern_HPP[:, position, : position + 1].T
            part_HX = heads_HBD.view(-1, n_rows, d_model)[:, here].reshape(len(heads_HBD), -1)
            grad_PBD[: position + 1, here] += (pattern_PH @ part_HX).view(position + 1, len(here), d_model)
        return grad_PBD

    def _with_bypass(self, grad_PBD: Tensor) -> Tensor:
        """Add what reaches the target through the dictionary's linear bypass of the MLP."""
        if self.layer.skip_DD is None:
            return grad_PBD
        return grad_PBD + self.layer.read.pull(self.layer.write.pull(grad_PBD) @ self.layer.skip_DD.T)


def _at_position(targets: Targets, n_pos: int) -> Tensor:
    """(P, B, D) zero but for each target's gradient at its own position."""
    grad_PBD = targets.read_BD.new_zeros(n_pos, len(targets), targets.read_BD.shape[1])
    grad_PBD[targets.position_B, torch.arange(len(targets), device=grad_PBD.device)] = targets.read_BD
    return grad_PBD
