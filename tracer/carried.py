"""Carried: what is written below a layer, carried up to it once, so that no gradient needs to be pulled further down.

Rows of targets above the layer are pulled down to it and meet there what all sources below have become; rows of targets
below are met on the way up. Where most features are traced, each vector goes through half as many blocks as when all
rows are pulled to the bottom. Carrying up is pulling down through the mirrored blocks, the last position first.
"""

import torch
from torch import Tensor

from tracer.batches import batch_sizes, room_of
from tracer.pullback import PullBack, Scratch, Targets, at_position
from tracer.replacement import LocalReplacement


class Carried:
    """Sources below a layer (features, errors, tokens): their effects on features below it, and on gradients there."""

    def __init__(self, local: LocalReplacement, layer: int, batch_size: int):
        self.local, self.layer = local, layer
        blocks = [block.mirrored() for block in local.frozen.layers[:layer]]
        scratch = Scratch()
        self._maps = [PullBack(block, above, scratch) for block, above in zip(blocks, [*blocks[1:], None], strict=True)]
        features = local.features
        self.n_targets = int((features.layer_A < layer).sum())
        entry = _Entries(local, layer)
        order = torch.argsort(entry.vectors.position_B, stable=True)
        position_S, bytes_a_row = entry.vectors.position_B[order].tolist(), self._maps[0].bytes_a_row
        sizes = batch_sizes(position_S, batch_size, bytes_a_row, room_of(order.device))
        order = torch.cat(
            [rows[torch.argsort(entry.vectors.layer_B[rows], stable=True)] for rows in order.split(sizes)]
        )
        self.column_S = entry.column_S[order]
        """Which of all sources each is: features as they are sorted, errors, tokens."""
        self.effect_TS = features.activation_A.new_zeros(self.n_targets, len(order))
        """Effects on the features below the layer."""
        self._reads = [self._read_by_position(block) for block in range(layer)]
        self._above: list[tuple[int, slice, Tensor]] = []  # first position, sources, what they are there, by position
        start = 0
        for rows in order.split(sizes):
            x_SPD = self._carry(entry, rows, slice(start, start + len(rows)))
            first = local.n_pos - x_SPD.shape[1]
            self._above.append((first, slice(start, start + len(rows)), x_SPD.flip(1)))
            start += len(rows)

    def meet(self, grad_BPD: Tensor) -> Tensor:
        """(B, S) effects on targets above, given their gradients in what enters the layer."""
        n_rows, n_pos = grad_BPD.shape[:2]
        effect_BS = grad_BPD.new_zeros(n_rows, len(self.column_S))
        for first, sources, x_SPD in self._above:
            if first < n_pos:
                there = x_SPD[:, : n_pos - first].flatten(1)
                effect_BS[:, sources] = grad_BPD[:, first:].flatten(1) @ there.T
        return effect_BS

    def _carry(self, entries: "_Entries", rows: Tensor, columns: slice) -> Tensor:
        """(S, P, D) what these sources, sorted by the block they enter, are at the layer; the last position first."""
        vectors, feature_S = entries.vectors.take(rows), entries.feature_S[rows]
        x_SPD = vectors.read_BD.new_empty(len(rows), int(vectors.position_B.max()) + 1, vectors.read_BD.shape[1])
        entered = torch.bincount(vectors.layer_B, minlength=self.layer + 1).cumsum(0).tolist()
        heads_SPZ, under_way = None, 0
        for block, map_up in enumerate(self._maps):
            map_up.pull(x_SPD[:under_way], heads_SPZ)
            entering = vectors.take(slice(under_way, entered[block]))
            heads_SPZ = map_up.first_hop(entering, x_SPD[under_way : entered[block]])
            entering_from, under_way = under_way, entered[block]
            self._meet_reads(block, x_SPD[:under_way], columns.start)
            there, written_RD = entries.also_written(block, feature_S[:under_way])
            x_SPD[there, vectors.position_B[there]] += written_RD
            if heads_SPZ is not None and len(there):  # they are read by the next block too
                late = there >= entering_from
                output_DZ = self._maps[block + 1].output_DZ
                heads_SPZ[there[late] - entering_from, vectors.position_B[there[late]]] += written_RD[late] @ output_DZ
        at_position(vectors.take(slice(under_way, None)), x_SPD[under_way:])
        return x_SPD

    def _meet_reads(self, block: int, x_SPD: Tensor, first_column: int) -> None:
        """Set the effects of these sources on the features that read here."""
        columns = slice(first_column, first_column + len(x_SPD))
        for x_SD, (rows, read_RD) in zip(x_SPD.unbind(1), self._reads[block], strict=False):
            self.effect_TS[rows, columns] = read_RD @ x_SD.T

    def _read_by_position(self, block: int) -> list[tuple[slice, Tensor]]:
        """Rows and reads of this layer's features at each position, the last position first."""
        features, n_pos = self.local.features, self.local.n_pos
        first, last = torch.searchsorted(
            features.layer_A, torch.tensor([block, block + 1]).to(features.layer_A)
        ).tolist()
        rows = torch.arange(first, last, device=features.layer_A.device)
        read_AD = self.local.frozen.layers[block].read.pull_at(features.position_A[rows], features.encoder[rows])
        counts = torch.bincount(features.position_A[rows], minlength=n_pos).tolist()
        found, start = [], first
        for count, read_RD in zip(counts, read_AD.split(counts), strict=True):
            found.append((slice(start, start + count), read_RD))
            start += count
        return found[::-1]


class _Entries:
    """Sources below a layer as they enter: at which block, at which position from the end, with which vector."""

    def __init__(self, local: LocalReplacement, layer: int):
        self.local = local
        features, n_pos = local.features, local.n_pos
        device, n_features = features.layer_A.device, len(features)
        self._entry_A = []  # by layer: where among the layer's writes each feature's is, -1 for none
        for writes in local.writes[:layer]:
            entry_A = torch.full((n_features,), -1, device=device)
            entry_A[writes.row_W] = torch.arange(len(writes), device=device)
            self._entry_A.append(entry_A)
        at_P, nothing_P = torch.arange(n_pos, device=device), torch.full((n_pos,), -1, device=device)
        parts = [(nothing_P + 1, at_P, local.token_PD, nothing_P, n_features + local.n_layers * n_pos + at_P)]
        for block, frozen in enumerate(local.frozen.layers[:layer]):
            row_W = (features.layer_A == block).nonzero()[:, 0]
            position_W = features.position_A[row_W]
            written_WD = local.writes[block].vectors[self._entry_A[block][row_W]]
            enters_W, enters_P = torch.full_like(row_W, block + 1), torch.full_like(at_P, block + 1)
            parts.append((enters_W, position_W, frozen.write.pull_at(position_W, written_WD), row_W, row_W))
            error_PD = frozen.write.pull_at(at_P, local.error_LPD[block])
            parts.append((enters_P, at_P, error_PD, nothing_P, n_features + block * n_pos + at_P))
        enters_S, position_S, vector_SD, self.feature_S, self.column_S = (
            torch.cat(c) for c in zip(*parts, strict=True)
        )
        self.vectors = Targets(enters_S, n_pos - 1 - position_S, vector_SD, vector_SD[:, :0])

    def also_written(self, block: int, feature_S: Tensor) -> tuple[Tensor, Tensor]:
        """Which of these features, that have entered below, write here too, and what."""
        entry_S = torch.where(feature_S < 0, -1, self._entry_A[block][feature_S])
        there = (entry_S >= 0).nonzero()[:, 0]
        position_R = self.local.features.position_A[feature_S[there]]
        written_RD = self.local.writes[block].vectors[entry_S[there]]
        return there, self.local.frozen.layers[block].write.pull_at(position_R, written_RD)
