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

BATCH_BYTES = 2**28  # of gradients under way at once; larger batches are not faster
WRITE_BYTES = 2**29  # what sources write is laid out for products once, up to here; beyond, at each use
ENOUGH_ROWS = 2048  # positions x rows from which on products run at full speed
MAX_WASTE = 0.06  # share of a batch's positions that may lie after their rows' own
FOLDED_POSITIONS = 256  # up to here tokens are carried through the first attention: (P, D, P) must fit


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

    def take(self, rows: Tensor | slice) -> "Targets":
        """The targets at these rows."""
        return Targets(self.layer_B[rows], self.position_B[rows], self.read_BD[rows], self.constant_BC[rows])


@dataclass(frozen=True)
class _Block:
    """Sources that write into one layer at one position: features in neighbouring columns, and one error."""

    first: int
    last: int
    error: int
    entry_W: Tensor
    """Which of the layer's writes the features' are."""
    write_DW: Tensor | None = None
    """What each adds to the residual stream; the error comes last. None: too large to be kept, made at each use."""


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
        self._column = _columns(local)
        n_written = sum(len(writes) for writes in local.writes) + local.n_layers * local.n_pos
        self._keep_writes = n_written * local.token_PD[0].nbytes <= WRITE_BYTES
        self._blocks = [self._sources(layer) for layer in range(local.n_layers)]
        layers = local.frozen.layers
        self._maps = [_PullBack(layer, layers[i - 1] if i else None) for i, layer in enumerate(layers)]
        self._embedding = _Embedding(layers[0], local.token_PD) if local.n_pos <= FOLDED_POSITIONS else None

    def of_features(self, rows: Tensor) -> Targets:
        """These active features as targets: their pre-activations."""
        features, layers = self.local.features, self.local.frozen.layers
        layer_B, position_B, read_BD = features.layer_A[rows], features.position_A[rows], features.encoder[rows]
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
        for rows in order.split(self._batches(targets.position_B[order].tolist())):
            by_layer = rows[torch.argsort(targets.layer_B[rows], descending=True, stable=True)]
            effect_BS, constant_BC = self._pull(targets.take(by_layer)), targets.constant_BC[by_layer]
            if self._column is not None:
                features_BA = effect_BS[:, : self.n_features].index_select(1, self._column)
                effect_BS = torch.cat([features_BA, effect_BS[:, self.n_features :], constant_BC], 1)
            elif constant_BC.shape[1]:
                effect_BS = torch.cat([effect_BS, constant_BC], 1)
            yield by_layer, effect_BS

    def _batches(self, position_B: list[int]) -> list[int]:
        """How many of these targets, sorted by position, to take at once, again and again.

        A batch reaches as far as its last position; it ends before the rows that end earlier would cost too much, and
        before its gradients fill the memory set aside for them.
        """
        sizes, start, reached, most = [], 0, 0, BATCH_BYTES / self._maps[0].bytes_a_row
        for row, position in enumerate(position_B):
            size, whole = row - start, (row - start + 1) * (position + 1)
            useful = reached + position + 1
            wasteful = size * position_B[max(row - 1, start)] >= ENOUGH_ROWS and useful < (1 - MAX_WASTE) * whole
            if size and (size == self.batch_size or wasteful or whole > most):
                sizes.append(size)
                start, useful = row, position + 1
            reached = useful
        return [*sizes, len(position_B) - start]

    def _pull(self, targets: Targets) -> Tensor:
        """(B, S) effects on targets that are sorted from the highest layer down; columns in inner order."""
        local, n_pos = self.local, int(targets.position_B.max()) + 1
        effect_BS = targets.read_BD.new_zeros(len(targets), self.n_computed)
        grad_BPD = targets.read_BD.new_empty(len(targets), n_pos, targets.read_BD.shape[1])
        joined = torch.bincount(targets.layer_B, minlength=local.n_layers + 1).flip(0).cumsum(0).tolist()
        _at_position(targets.take(slice(joined[0])), grad_BPD[: joined[0]])
        heads_BPZ = None  # of the rows that joined last, what the next block's output matrix makes of their gradients
        for layer, under_way, joins in zip(reversed(range(local.n_layers)), joined, joined[1:], strict=False):
            self._meet(layer, grad_BPD[:under_way], effect_BS)
            joining = targets.take(slice(under_way, joins))
            if layer == 0 and self._embedding:
                self._embedding.meet(grad_BPD[:under_way], joining, self._tokens_of(effect_BS))
                return effect_BS
            self._maps[layer].pull(grad_BPD[:under_way], heads_BPZ)
            heads_BPZ = self._maps[layer].first_hop(joining, grad_BPD[under_way:joins])
        self._tokens_of(effect_BS)[:, :n_pos] = torch.einsum("bpd,pd->bp", grad_BPD, local.token_PD[:n_pos])
        return effect_BS

    def _tokens_of(self, effect_BS: Tensor) -> Tensor:
        return effect_BS[:, self.n_computed - self.local.n_pos :]

    def _meet(self, layer: int, grad_BPD: Tensor, effect_BS: Tensor) -> None:
        """Add the effects of all that is written into this layer on the rows under way."""
        under_way = len(grad_BPD)
        if not under_way:
            return
        for position, (grad_BD, block) in enumerate(zip(grad_BPD.unbind(1), self._blocks[layer], strict=False)):
            write_DW = self._write_DW(layer, position, block.entry_W) if block.write_DW is None else block.write_DW
            met_BW = grad_BD @ write_DW
            effect_BS[:under_way, block.first : block.last] += met_BW[:, :-1]
            effect_BS[:under_way, block.error] = met_BW[:, -1]

    def _sources(self, layer: int) -> list[_Block]:
        """What writes into one layer, position by position."""
        local, writes = self.local, self.local.writes[layer]
        column_W, order = (writes.row_W if self._column is None else self._column[writes.row_W]).sort()
        position_W = local.features.position_A[writes.row_W][order]
        ends = torch.searchsorted(position_W, torch.arange(local.n_pos + 1, device=position_W.device)).tolist()
        firsts = [*column_W[[start for start in ends[:-1] if start < len(column_W)]].tolist(), 0, *[0] * local.n_pos]
        blocks = []
        for position, (start, end) in enumerate(pairwise(ends)):
            first = firsts[position] if end > start else 0
            entry_W, error = order[start:end], self.n_features + layer * local.n_pos + position
            write_DW = self._write_DW(layer, position, entry_W) if self._keep_writes else None
            blocks.append(_Block(first, first + end - start, error, entry_W, write_DW))
        starts = torch.tensor(ends[:-1], device=column_W.device)[position_W]
        along_W = torch.arange(len(column_W), device=column_W.device) - starts
        assert (column_W - along_W == column_W[starts]).all(), "columns are not neighbours"
        return blocks

    def _write_DW(self, layer: int, position: int, entry_W: Tensor) -> Tensor:
        """What these features, and the error, add to the residual stream at this layer and position."""
        vector_WD = self.local.writes[layer].vectors[entry_W]
        written_WD = torch.cat([vector_WD, self.local.error_LPD[layer, position, None]])
        place_W = torch.full((len(written_WD),), position, device=written_WD.device)
        return self.local.frozen.layers[layer].write.pull_at(place_W, written_WD).T.contiguous()  # diagonal


class _PullBack:
    """The transpose of one frozen block, its matrices laid out for large products."""

    def __init__(self, layer: FrozenLayer, below: FrozenLayer | None):
        self.layer = layer
        self.n_kv, self.d_head, d_model = layer.value_GED.shape
        n_heads, n_pos = layer.pattern_HPP.shape[:2]
        self.group = n_heads // self.n_kv
        self.output_DZ = _flat_output(layer)
        self.value_ZD = layer.value_GED.reshape(self.n_kv * self.d_head, d_model)
        # (G, head of the group, key, query)
        self.pattern = layer.pattern_HPP.view(self.n_kv, self.group, n_pos, n_pos).transpose(2, 3)
        # after its first hop a row is of rank one by head, and so is what the next block's output matrix makes of it
        self.value_HED = layer.value_GED.repeat_interleave(self.group, 0)
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
            bypass_BPD = self._bypass(grad_BPD)
            leaving_BPD = grad_BPD.clone() if self.layer.parallel else grad_BPD  # what attention's output goes into
            grad_BPD += bypass_BPD
        n_known = 0 if heads_BPZ is None else len(heads_BPZ)
        heads = grad_BPD.new_empty(self.n_kv, self.group, n_pos, n_rows, self.d_head)
        target = heads.permute(3, 2, 0, 1, 4)
        if n_rows > n_known:
            flat_RD = leaving_BPD[: n_rows - n_known].reshape(-1, d_model)
            target[: n_rows - n_known] = (flat_RD @ self.output_DZ).view(-1, n_pos, self.n_kv, self.group, self.d_head)
        if heads_BPZ is not None:
            target[n_rows - n_known :] = heads_BPZ.view(-1, n_pos, self.n_kv, self.group, self.d_head)
        # (G, key, head of the group x query): all heads that share values are summed in one product
        pattern = self.pattern[:, :, :n_pos, :n_pos].permute(0, 2, 1, 3).reshape(self.n_kv, n_pos, self.group * n_pos)
        moved = (pattern @ heads.view(self.n_kv, self.group * n_pos, -1)).view(self.n_kv, n_pos, n_rows, self.d_head)
        moved_RZ = moved.permute(2, 1, 0, 3).reshape(n_rows * n_pos, self.n_kv * self.d_head)
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
            _at_position(targets, grad_BPD)
            return None
        own_B, pattern_BPH = torch.arange(n_rows, device=grad_BPD.device), self._reach(targets.position_B, n_pos)
        heads_HBE = (targets.read_BD @ self.output_DZ).view(n_rows, -1, self.d_head).transpose(0, 1)
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

    def _bypass(self, grad_BPD: Tensor) -> Tensor:
        """What reaches the target through the dictionary's linear bypass of the MLP."""
        assert self.layer.skip_DD is not None
        written_PBD = self.layer.write.pull(grad_BPD.transpose(0, 1)) @ self.layer.skip_DD.T
        return self.layer.read.pull(written_PBD).transpose(0, 1)


class _Embedding:
    """Tokens carried forward through the first block's attention, so that rows need not be pulled through it."""

    def __init__(self, layer: FrozenLayer, token_PD: Tensor):
        self.pull_back, self.token_PD = _PullBack(layer, None), token_PD
        value_HPE = torch.einsum("pd,ged->gpe", token_PD, layer.value_GED)
        value_HPE = value_HPE.repeat_interleave(len(layer.output_HDE) // len(layer.value_GED), 0)
        moved_PHD = torch.einsum("hpe,hde->phd", value_HPE, layer.output_HDE)
        moved_KQD = torch.bmm(layer.pattern_HPP.permute(2, 1, 0), moved_PHD)  # key, query
        self.moved_QDK = moved_KQD.permute(1, 2, 0).contiguous()

    def meet(self, grad_BPD: Tensor, joining: Targets, effect_BP: Tensor) -> None:
        """Set the effects of tokens on rows under way, given what leaves the block, and on rows that join in it."""
        under_way, n_pos = grad_BPD.shape[:2]
        layer = self.pull_back.layer
        entering_BPD = grad_BPD if layer.skip_DD is None else grad_BPD + self.pull_back._bypass(grad_BPD)
        after_BPD = grad_BPD if layer.parallel else entering_BPD
        effect_BP[:under_way, :n_pos] = torch.einsum("bpd,pd->bp", entering_BPD, self.token_PD[:n_pos])
        for position, after_BD in enumerate(after_BPD.unbind(1)):
            known = effect_BP[:under_way, : position + 1]
            known.addmm_(after_BD, self.moved_QDK[position, :, : position + 1])
        rows = torch.arange(under_way, under_way + len(joining), device=effect_BP.device)
        if not layer.parallel:
            moved_BDK = self.moved_QDK[joining.position_B]
            effect_BP[under_way:] = torch.bmm(joining.read_BD[:, None], moved_BDK)[:, 0]
        effect_BP[rows, joining.position_B] += (joining.read_BD * self.token_PD[joining.position_B]).sum(-1)


def _columns(local: LocalReplacement) -> Tensor | None:
    """Where features stand inside: what writes into one layer at one position must be neighbours. None: as they are.

    A feature of a cross-layer dictionary writes into many layers: then columns are sorted by position, then layer.
    """
    features = local.features
    if sum(len(writes.row_W) for writes in local.writes) == len(features):
        return None
    return torch.argsort(torch.argsort(features.position_A * local.n_layers + features.layer_A, stable=True))


def _flat_output(layer: FrozenLayer) -> Tensor:
    """(D, Z) output weights of all heads side by side."""
    return layer.output_HDE.permute(1, 0, 2).reshape(layer.output_HDE.shape[1], -1).contiguous()


def _at_position(targets: Targets, grad_BPD: Tensor) -> None:
    """Set gradients to zero but for each target's at its own position."""
    grad_BPD.zero_()
    grad_BPD[torch.arange(len(targets), device=grad_BPD.device), targets.position_B] = targets.read_BD
