"""trace_rows: the rows of direct effects that make up a graph, and the edges found in them.

The outputs come first. Then either every active feature, or in turns the features that have most influence on the
outputs by the rows known so far.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from tracer.config import TraceConfig
from tracer.effects import DirectEffects, Targets
from tracer.influence import influence, start_weights
from tracer.ledger import Ledger
from tracer.replacement import LocalReplacement, Progress
from tracer.targets import OutputTargets


@dataclass
class FoundEdges:
    """Edges between all sources (features, errors, tokens, constants) and the targets traced so far, outputs last."""

    n_features: int
    n_nodes: int
    """Sources and outputs."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, target_B: np.ndarray, effect_BS: np.ndarray) -> None:
        """Take the effects of all sources on these targets; zeros are no edges."""
        row, source = np.nonzero(effect_BS)
        self.parts.append((source.astype(np.int32), target_B[row].astype(np.int32), effect_BS[row, source]))

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source, target, effect of all edges so far."""
        source, target, effect = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        self.parts = [(source, target, effect)]
        return source, target, effect

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Sum of all effects into each target, and of their sizes; zero where none was traced."""
        _, target, effect = self.columns()
        effect, n = effect.astype(np.float64), self.n_nodes
        return np.bincount(target, effect, minlength=n), np.bincount(target, np.abs(effect), minlength=n)

    def among(self, selected_A: np.ndarray, n_nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The edges between nodes of the graph, where only these features became nodes, in rows of the graph."""
        row = np.full(n_nodes - len(selected_A) + self.n_features, -1, np.int32)
        row[selected_A] = np.arange(len(selected_A))
        row[self.n_features :] = np.arange(len(selected_A), n_nodes)
        source, target, effect = self.columns()
        inside = row[source] >= 0
        return row[source[inside]], row[target[inside]], effect[inside]


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
    effects = DirectEffects(local, config.batch_size, ledger)
    found = FoundEdges(effects.n_features, effects.n_sources + len(outputs))
    reach_A, start_T = outputs.reach_A(local).cpu().numpy(), outputs.feature_T.cpu().numpy()
    n_reach = int(reach_A.sum())
    n_wanted = max(min(config.max_feature_nodes, n_reach), len(start_T))
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


def _rows(effects: DirectEffects, targets: Targets) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for target_B, effect_BS in effects.rows(targets) if len(targets) else ():
        yield target_B.cpu().numpy(), effect_BS.float().cpu().numpy()


def _most_influential(
    found: FoundEdges, weight_N: np.ndarray, open_A: np.ndarray, n: int, *, everything: bool
) -> np.ndarray:
    """The features to trace next: of those not traced yet the ones with most influence by the rows known so far."""
    if everything:
        return np.flatnonzero(open_A)
    influence_A = influence(*found.columns(), weight_N)[: len(open_A)]
    order = np.argsort(-influence_A, kind="stable")
    return np.sort(order[open_A[order]][:n])
