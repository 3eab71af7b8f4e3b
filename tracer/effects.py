"""DirectEffects: exact rows of direct effects on one prompt, by products with the frozen maps and no autograd.

A target is a linear read of the residual stream: its gradient there is one vector at one position. Pulled down block by
block, G <- G + skip + sum over heads h of pattern_h^T (G' output_h) value_g(h), it meets each source where that writes;
the effect is their scalar product. Attention is followed by the bypass, G' = G + skip, or in a parallel block stands
beside it, G' = G. Rows join at the layer they read, so nothing is computed above a target or after its position, and
since a row joins as one vector at one position, its first attention hop is of rank one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tracer.batches import batch_sizes, room_of
from tracer.carried import Carried
from tracer.frozen import FrozenLayer
from tracer.ledger import Ledger
from tracer.pullback import PullBack, Scratch, Targets, at_position
from tracer.replacement import LocalReplacement

FOLDED_POSITIONS = 256  # up to here tokens are carried through the first attention: (P, D, P) must fit
MOST_PADDING = 2  # where positions are met together: entries, with those that are zero, for each that is not


@dataclass(frozen=True)
class _Block:
    """Sources that write into one layer at one position: features in neighbouring columns, and one error."""

    start: int
    """The position."""
    first: int
    last: int
    error: int
    entry_W: Tensor
    """Which of the layer's writes the features' are."""
    write_WD: Tensor | None = None
    """What each adds to the residual stream; the error comes last. None: too large to be kept, made at each use."""

    def meet(self, grad_BPD: Tensor, write_WD: Tensor, effect_BS: Tensor) -> None:
        """Add the effects of all of these."""
        met_BW = grad_BPD[:, self.start] @ write_WD.T
        effect_BS[:, self.first : self.last] += met_BW[:, :-1]
        effect_BS[:, self.error] = met_BW[:, -1]


class _Run:
    """The same at neighbouring positions, met in one product; where a position has fewer sources, with zeros."""

    def __init__(self, blocks: Sequence[_Block], writes: Sequence[Tensor]):
        self.start, device = blocks[0].start, writes[0].device
        self.write_PWD = pad_sequence(list(writes), batch_first=True)
        width, self.ends = self.write_PWD.shape[1], list(accumulate(len(write_WD) for write_WD in writes))
        columns = [column for block in blocks for column in (*range(block.first, block.last), block.error)]
        places = [at * width + i for at, write_WD in enumerate(writes) for i in range(len(write_WD))]
        self.column_V, self.place_V = (torch.tensor(numbers, device=device) for numbers in (columns, places))

    def meet(self, grad_BPD: Tensor, effect_BS: Tensor) -> None:
        """Add the effects of all of these that stand at positions of the gradients."""
        grad_BPD = grad_BPD[:, self.start : self.start + len(self.ends)]
        n_pos, n_met = grad_BPD.shape[1], self.ends[grad_BPD.shape[1] - 1]
        met_PBW = torch.bmm(grad_BPD.transpose(0, 1), self.write_PWD[:n_pos].transpose(1, 2))
        met_BV = met_PBW.transpose(0, 1).flatten(1).index_select(1, self.place_V[:n_met])
        effect_BS.index_add_(1, self.column_V[:n_met], met_BV)


class DirectEffects:
    """Direct effects of all sources of one prompt (features, errors layer by layer, tokens, constants) on any target.

    Without a ledger there are no constants among the sources.

    Args:
        middle: Gradients are pulled down to this layer only; what is written below it is carried up to it. 0: to the
            bottom.
    """

    def __init__(self, local: LocalReplacement, batch_size: int, ledger: Ledger | None = None, middle: int = 0):
        self.local, self.ledger = local, ledger
        self.batch_size = batch_size
        self.n_features = len(local.features)
        self.n_computed = self.n_features + (local.n_layers + 1) * local.n_pos  # the constants' part is at hand
        self.n_sources = self.n_computed + (len(ledger.constants) if ledger else 0)
        self._column = _columns(local)
        n_written = sum(len(writes) for writes in local.writes) + local.n_layers * local.n_pos
        self._room = room_of(local.token_PD.device)
        self._keep_writes = n_written * local.token_PD[0].nbytes <= self._room.write_bytes
        self.middle, layers = middle, local.frozen.layers
        self._blocks = {layer: self._sources(layer) for layer in range(middle, local.n_layers)}
        scratch = Scratch()
        self._maps = {i: PullBack(layers[i], layers[i - 1] if i > middle else None, scratch) for i in self._blocks}
        folded = not middle and local.n_pos <= FOLDED_POSITIONS
        self._embedding = _Embedding(layers[0], local.token_PD) if folded else None
        self._carried = Carried(local, middle, batch_size) if middle else None
        if self._carried:
            self._carried_column_S = self._inner(self._carried.column_S)

    def of_features(self, rows: Tensor) -> Targets:
        """These active features as targets: their pre-activations."""
        features, layers = self.local.features, self.local.frozen.layers
        layer_B, position_B, read_BD = features.layer_A[rows], features.position_A[rows], features.encoder[rows]
        for layer in layer_B.unique().tolist():
            here = layer_B == layer
            read_BD[here] = layers[layer].read.pull_at(position_B[here], read_BD[here])
        constant_BC = self.ledger.feature_AC[rows] if self.ledger else read_BD[:, :0]
        return Targets(layer_B, position_B, read_BD, constant_BC, rows)

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
        below_B = targets.layer_B < self.middle
        for rows in below_B.nonzero()[:, 0].split(self.batch_size) if below_B.any() else ():
            yield rows, self._outer(self._met_below(targets.take(rows)), targets.constant_BC[rows])
        order = torch.argsort(targets.position_B, stable=True)  # rows of one batch share a causal cone
        order = order[~below_B[order]]
        bytes_a_row, position_B = self._maps[self.middle].bytes_a_row, targets.position_B[order].tolist()
        for rows in order.split(batch_sizes(position_B, self.batch_size, bytes_a_row, self._room)):
            by_layer = rows[torch.argsort(targets.layer_B[rows], descending=True, stable=True)]
            yield by_layer, self._outer(self._pull(targets.take(by_layer)), targets.constant_BC[by_layer])

    def _inner(self, column_S: Tensor) -> Tensor:
        """Where these sources stand inside."""
        if self._column is None:
            return column_S
        feature_S = column_S.clamp(max=self.n_features - 1)
        return torch.where(column_S < self.n_features, self._column[feature_S], column_S)

    def _outer(self, effect_BS: Tensor, constant_BC: Tensor) -> Tensor:
        """The same effects in the order in which sources are given, with those of constants."""
        if self._column is not None:
            features_BA = effect_BS[:, : self.n_features].index_select(1, self._column)
            return torch.cat([features_BA, effect_BS[:, self.n_features :], constant_BC], 1)
        return torch.cat([effect_BS, constant_BC], 1) if constant_BC.shape[1] else effect_BS

    def _met_below(self, targets: Targets) -> Tensor:
        """(B, S) effects on features below the middle; columns in inner order."""
        assert self._carried and targets.feature_B is not None
        effect_BS = targets.read_BD.new_zeros(len(targets), self.n_computed)
        return effect_BS.index_copy_(1, self._carried_column_S, self._carried.effect_TS[targets.feature_B])

    def _pull(self, targets: Targets) -> Tensor:
        """(B, S) effects on targets that are sorted from the highest layer down; columns in inner order."""
        local, n_pos = self.local, int(targets.position_B.max()) + 1
        effect_BS = targets.read_BD.new_zeros(len(targets), self.n_computed)
        grad_BPD = targets.read_BD.new_empty(len(targets), n_pos, targets.read_BD.shape[1])
        joined = torch.bincount(targets.layer_B, minlength=local.n_layers + 1).flip(0).cumsum(0).tolist()
        at_position(targets.take(slice(joined[0])), grad_BPD[: joined[0]])
        heads_BPZ = None  # of the rows that joined last, what the next block's output matrix makes of their gradients
        down = reversed(range(self.middle, local.n_layers))
        for layer, under_way, joins in zip(down, joined, joined[1:], strict=False):
            self._meet(layer, grad_BPD[:under_way], effect_BS)
            joining = targets.take(slice(under_way, joins))
            if layer == 0 and self._embedding:
                self._embedding.meet(grad_BPD[:under_way], joining, self._tokens_of(effect_BS))
                return effect_BS
            self._maps[layer].pull(grad_BPD[:under_way], heads_BPZ)
            heads_BPZ = self._maps[layer].first_hop(joining, grad_BPD[under_way:joins])
        if self._carried:
            return effect_BS.index_add_(1, self._carried_column_S, self._carried.meet(grad_BPD))
        self._tokens_of(effect_BS)[:, :n_pos] = torch.einsum("bpd,pd->bp", grad_BPD, local.token_PD[:n_pos])
        return effect_BS

    def _tokens_of(self, effect_BS: Tensor) -> Tensor:
        return effect_BS[:, self.n_computed - self.local.n_pos :]

    def _meet(self, layer: int, grad_BPD: Tensor, effect_BS: Tensor) -> None:
        """Add the effects of all that is written into this layer on the rows under way."""
        under_way, n_pos = grad_BPD.shape[:2]
        if not under_way:
            return
        effect_BS = effect_BS[:under_way]
        for block in self._blocks[layer]:
            if block.start >= n_pos:
                return
            if isinstance(block, _Run):
                block.meet(grad_BPD, effect_BS)
            else:
                write_WD = block.write_WD
                write_WD = self._written(layer, block.start, block.entry_W) if write_WD is None else write_WD
                block.meet(grad_BPD, write_WD, effect_BS)

    def _sources(self, layer: int) -> list[_Block] | list[_Block | _Run]:
        """What writes into one layer, position by position."""
        local, writes = self.local, self.local.writes[layer]
        column_W, order = (writes.row_W if self._column is None else self._column[writes.row_W]).sort()
        position_W = local.features.position_A[writes.row_W][order]
        ends = torch.searchsorted(position_W, torch.arange(local.n_pos + 1, device=position_W.device)).tolist()
        firsts = [*column_W[[start for start in ends[:-1] if start < len(column_W)]].tolist(), 0, *[0] * local.n_pos]
        write_by_position = self._laid_out(layer, order, position_W) if self._keep_writes else [None] * local.n_pos
        blocks = []
        for position, ((start, end), write_WD) in enumerate(zip(pairwise(ends), write_by_position, strict=True)):
            first = firsts[position] if end > start else 0
            error = self.n_features + layer * local.n_pos + position
            blocks.append(_Block(position, first, first + end - start, error, order[start:end], write_WD))
        starts = torch.tensor(ends[:-1], device=column_W.device)[position_W]
        along_W = torch.arange(len(column_W), device=column_W.device) - starts
        assert (column_W - along_W == column_W[starts]).all(), "columns are not neighbours"
        return blocks if self._room.many_small else _runs(blocks)

    def _laid_out(self, layer: int, order: Tensor, position_W: Tensor) -> list[Tensor]:
        """What the features at each position and the error there add to the residual stream at this layer."""
        local, n_pos = self.local, self.local.n_pos
        vector_WD, at_P = local.writes[layer].vectors[order], torch.arange(n_pos, device=position_W.device)
        count_P = torch.bincount(position_W, minlength=n_pos) + 1
        place_W = torch.cat([position_W, at_P]).sort(stable=True)  # errors after the features of their position
        written_WD = torch.cat([vector_WD, local.error_LPD[layer]]).index_select(0, place_W.indices)
        written_WD = local.frozen.layers[layer].write.pull_at(place_W.values, written_WD)  # diagonal
        return list(written_WD.split(count_P.tolist()))

    def _written(self, layer: int, position: int, entry_W: Tensor) -> Tensor:
        """The same at one position."""
        vector_WD = self.local.writes[layer].vectors[entry_W]
        written_WD = torch.cat([vector_WD, self.local.error_LPD[layer, position, None]])
        place_W = torch.full((len(written_WD),), position, device=written_WD.device)
        return self.local.frozen.layers[layer].write.pull_at(place_W, written_WD)


def _runs(blocks: Sequence[_Block]) -> list[_Block | _Run]:
    """Neighbouring positions together, as long as that does not add too many zeros."""
    writes = [block.write_WD for block in blocks if block.write_WD is not None]
    if len(writes) < len(blocks):  # too large to be kept
        return list(blocks)
    starts, widest, total = [0], 0, 0
    for at, write_WD in enumerate(writes):
        widest, total = max(widest, len(write_WD)), total + len(write_WD)
        if widest * (at + 1 - starts[-1]) > MOST_PADDING * total:
            starts.append(at)
            widest = total = len(write_WD)
    return [
        _Run(blocks[start:end], writes[start:end]) if end - start > 1 else blocks[start]
        for start, end in pairwise([*starts, len(blocks)])
    ]


def middle_of(local: LocalReplacement, n_targets: int) -> int:
    """The layer at which sources and targets should meet, where so many features are traced; 0: at the bottom.

    With the layer in the middle, targets above it and sources below it go through a quarter of the blocks each instead
    of half, and then all meet at every position between them: the more of them, the more that costs.
    """
    n_layers, d_model = local.n_layers, local.token_PD.shape[1]
    middle, layer = n_layers // 2, local.frozen.layers[0]
    if not middle or not all(block.reversible for block in local.frozen.layers[:middle]):
        return 0
    n_sources = int((local.features.layer_A < middle).sum()) + (middle + 1) * local.n_pos
    # multiplications, by position and column of the residual stream; two vectors share a third of half the positions
    a_hop = (len(layer.output_HDE) + len(layer.value_GED)) * layer.value_GED.shape[1] / 2
    saved = (1.5 * n_targets - n_sources) * n_layers / 4 * a_hop
    takes_bytes = n_sources * (local.n_pos * d_model + n_targets) * local.token_PD.itemsize
    fits = takes_bytes <= room_of(local.token_PD.device).write_bytes
    return middle if saved > n_targets / 2 * n_sources / 6 and fits else 0


class _Embedding:
    """Tokens carried forward through the first block's attention, so that rows need not be pulled through it."""

    def __init__(self, layer: FrozenLayer, token_PD: Tensor):
        self.pull_back, self.token_PD = PullBack(layer, None, Scratch()), token_PD
        value_HPE = torch.einsum("pd,ged->gpe", token_PD, layer.value_GED)
        value_HPE = value_HPE.repeat_interleave(len(layer.output_HDE) // len(layer.value_GED), 0)
        moved_PHD = torch.einsum("hpe,hde->phd", value_HPE, layer.output_HDE)
        moved_KQD = torch.bmm(layer.pattern_HPP.permute(2, 1, 0), moved_PHD)  # key, query
        self.moved_QDK = moved_KQD.permute(1, 2, 0).contiguous()

    def meet(self, grad_BPD: Tensor, joining: Targets, effect_BP: Tensor) -> None:
        """Set the effects of tokens on rows under way, given what leaves the block, and on rows that join in it."""
        under_way, n_pos = grad_BPD.shape[:2]
        layer = self.pull_back.layer
        entering_BPD = grad_BPD if layer.skip_DD is None else grad_BPD + self.pull_back.bypass(grad_BPD)
        after_BPD = grad_BPD if layer.parallel else entering_BPD
        effect_BP[:under_way, :n_pos] = torch.einsum("bpd,pd->bp", entering_BPD, self.token_PD[:n_pos])
        moved_RK = self.moved_QDK.flatten(0, 1)[: n_pos * after_BPD.shape[2], :n_pos]  # zero where the key is later
        effect_BP[:under_way, :n_pos].addmm_(after_BPD.flatten(1), moved_RK)
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
