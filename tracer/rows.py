"""trace_rows: the rows of direct effects that make up a graph, and the edges found in them.

The outputs come first. Then either every active feature, or in turns the features that have most influence on the
outputs by the rows known so far.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tracer.config import TraceConfig
from tracer.effects import DirectEffects, middle_of
from tracer.influence import influence, start_weights
from tracer.ledger import Ledger
from tracer.pullback import Targets
from tracer.replacement import LocalReplacement, Progress
from tracer.targets import OutputTargets

EDGE_BYTES = 12  # source, target, effect


@dataclass
class FoundEdges:
    """Edges between all sources (features, errors, tokens, constants) and the targets traced so far, outputs last."""

    n_features: int
    n_nodes: int
    """Sources and outputs."""
    most: int | None = None
    """Of the edges into one target so many are kept, the largest by size; None: all."""
    on_disk: bool = False
    """Whether they wait in temporary files and not in memory."""

    def __post_init__(self) -> None:
        self.sum_N, self.size_N = np.zeros(self.n_nodes), np.zeros(self.n_nodes)
        self.left_out_N, self.left_out_size_N = np.zeros(self.n_nodes), np.zeros(self.n_nodes)
        self._targets: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._source, self._effect = _Column(np.int32, self.on_disk), _Column(np.float32, self.on_disk)

    def add(self, target_B: np.ndarray, effect_BS: Tensor) -> None:
        """Take the effects of all sources on these targets; zeros are no edges."""
        if self.most is None or effect_BS.shape[1] <= self.most:
            source, effect, count_B = _not_zero(effect_BS.float())
            self.sum_N[target_B], self.size_N[target_B] = _sums(effect, count_B), _sums(np.abs(effect), count_B)
        else:
            size_BS = effect_BS.abs()
            self.sum_N[target_B] = effect_BS.sum(1, dtype=torch.float64).cpu().numpy()
            self.size_N[target_B] = size_BS.sum(1, dtype=torch.float64).cpu().numpy()
            source_BE = size_BS.topk(self.most, sorted=False).indices.sort(1).values
            effect_BE = effect_BS.gather(1, source_BE)
            wide_BE = effect_BE.double().cpu().numpy()
            self.left_out_N[target_B] = self.sum_N[target_B] - wide_BE.sum(1)
            self.left_out_size_N[target_B] = np.maximum(self.size_N[target_B] - np.abs(wide_BE).sum(1), 0)
            place, effect, count_B = _not_zero(effect_BE.float())
            source = source_BE.cpu().numpy()[np.repeat(np.arange(len(count_B)), count_B), place]
        self._targets.append(target_B)
        self._counts.append(count_B)
        self._source.extend(source)
        self._effect.extend(effect)

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source, target, effect of all edges so far, sorted by target, then source."""
        return self.in_rows(np.arange(self.n_nodes, dtype=np.int32))

    def in_rows(self, row_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same between these rows of a graph, in which -1 stands for what is no node of it; of sources that are
        nodes, later ones stand in later rows."""
        source, effect = self._source.values(), self._effect.values()
        row_T = row_N[np.concatenate([np.empty(0, np.int64), *self._targets])]
        end_T = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self._counts]))
        order, row_N, all_there = np.argsort(row_T, kind="stable"), row_N.astype(np.int32), (row_N >= 0).all()
        ends, rows, values = [0], np.empty(len(source), np.int32), np.empty(len(source), np.float32)
        for at in order.tolist():  # the edges into one target stand together, and in order
            row, value = row_N[source[end_T[at] : end_T[at + 1]]], effect[end_T[at] : end_T[at + 1]]
            if not all_there:
                row, value = row[row >= 0], value[row >= 0]
            ends.append(ends[-1] + len(row))
            rows[ends[-2] : ends[-1]], values[ends[-2] : ends[-1]] = row, value
        return rows[: ends[-1]], np.repeat(row_T[order].astype(np.int32), np.diff(ends)), values[: ends[-1]]

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Sum of all effects into each target, and of their sizes, kept or not; zero where none was traced."""
        return self.sum_N, self.size_N


def _not_zero(effect_BE: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and value of what is not zero, row after row, and how many there are of each row."""
    if effect_BE.device.type == "cpu":  # numpy takes half of torch's time for this
        known_BE = effect_BE.numpy()
        there_BE = known_BE != 0
        column_BE = np.broadcast_to(np.arange(known_BE.shape[1], dtype=np.int32), known_BE.shape)
        return column_BE[there_BE], known_BE[there_BE], np.count_nonzero(there_BE, axis=1)
    flat_E = effect_BE.flatten()  # on a GPU before it is copied: much of it is zeros
    place_E = flat_E.nonzero()[:, 0]
    column_E = (place_E % effect_BE.shape[1]).int()
    return column_E.cpu().numpy(), flat_E[place_E].cpu().numpy(), effect_BE.count_nonzero(1).cpu().numpy()


def _sums(value: np.ndarray, count_B: np.ndarray) -> np.ndarray:
    """(B,) sums over so many values each."""
    sum_B, filled_B = np.zeros(len(count_B)), count_B > 0
    if filled_B.any():
        sum_B[filled_B] = np.add.reduceat(value, (np.cumsum(count_B) - count_B)[filled_B], dtype=np.float64)
    return sum_B


class _Column:
    """Numbers of one kind that come piece by piece; in memory, or in a temporary file that goes with them."""

    def __init__(self, kind: type, on_disk: bool):
        self.kind, self.parts, self.n = kind, [], 0
        self.file = tempfile.TemporaryFile(prefix="throughline-edges-") if on_disk else None  # noqa: SIM115  lives on

    def extend(self, values: np.ndarray) -> None:
        values = values.astype(self.kind, copy=False)
        self.n += len(values)
        if self.file is None:
            self.parts.append(values)
        else:
            values.tofile(self.file)

    def values(self) -> np.ndarray:
        if self.file is not None and self.n:
            self.file.flush()
            return np.memmap(self.file, self.kind, "r", shape=(self.n,))
        self.parts = [np.concatenate([np.empty(0, self.kind), *self.parts])]
        return self.parts[0]


def trace_rows(
    local: LocalReplacement,
    outputs: OutputTargets,
    config: TraceConfig,
    progress: Progress | None,
    ledger: Ledger | None = None,
) -> tuple[FoundEdges, np.ndarray]:
    """All edges into outputs and chosen features, and the rows of these features among the active ones.

    Args:
        ledger: The constants that are sources too.
    """
    reach_A, start_T = outputs.reach_A(local).cpu().numpy(), outputs.feature_T.cpu().numpy()
    n_reach = int(reach_A.sum())
    n_wanted = max(min(config.max_feature_nodes, n_reach), len(start_T))
    effects = DirectEffects(local, config.batch_size, ledger, middle_of(local, n_wanted))
    n_nodes = effects.n_sources + len(outputs)
    found = FoundEdges(effects.n_features, n_nodes, config.max_edges_per_node, config.offload == "disk")
    for target_B, effect_BS in _rows(effects, effects.of_outputs(outputs.vector_KD, outputs.position_K, outputs.own_K)):
        found.add(effects.n_sources + target_B, effect_BS)
    weight_N = np.zeros(effects.n_sources + len(outputs))
    weight_N[effects.n_sources :] = start_weights(outputs.probability_K.double().cpu().numpy())
    weight_N[start_T] = 1
    done_A = np.zeros(effects.n_features, bool)
    while done_A.sum() < n_wanted:
        todo = n_wanted - int(done_A.sum())
        if len(start_T) and not done_A.any():
            chosen_A = np.sort(start_T)
        else:
            open_A, n_next = reach_A & ~done_A, min(todo, config.rank_every)
            chosen_A = _most_influential(found, weight_N, open_A, n_next, everything=n_wanted == n_reach)
        targets = effects.of_features(torch.from_numpy(chosen_A).to(local.token_PD.device))
        for target_B, effect_BS in _rows(effects, targets):
            found.add(chosen_A[target_B], effect_BS)
            done_A[chosen_A[target_B]] = True
            if progress:
                progress(int(done_A.sum()), n_wanted, "features traced")
    return found, np.flatnonzero(done_A)


def _rows(effects: DirectEffects, targets: Targets) -> Iterator[tuple[np.ndarray, Tensor]]:
    for target_B, effect_BS in effects.rows(targets) if len(targets) else ():
        yield target_B.cpu().numpy(), effect_BS


def _most_influential(
    found: FoundEdges, weight_N: np.ndarray, open_A: np.ndarray, n: int, *, everything: bool
) -> np.ndarray:
    """The features to trace next: of those not traced yet the ones with most influence by the rows known so far."""
    if everything:
        return np.flatnonzero(open_A)
    influence_A = influence(*found.columns(), weight_N, found.size_N)[: len(open_A)]
    order = np.argsort(-influence_A, kind="stable")
    return np.sort(order[open_A[order]][:n])
