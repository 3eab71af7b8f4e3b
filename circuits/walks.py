"""Walks back from the last group of a pattern to its first, as states: what paths, flow and necessity are computed on.

A walk stands at a node in a state: how many groups it has still to meet, and how many hops and which sign it has made,
as far as a limit asks for them. It takes the first node of a group that it meets; where the way to it was too short,
too long or of the wrong sign, the walk ends without a result. So every path counts once, and the paths of one way by
sign, or by hops, add up to those of the way without a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuits.config import check_hops
from circuits.inputs import Inputs
from tracer.errors import PatternError


@dataclass(frozen=True)
class Way:
    """What a path may do between two waypoints."""

    sign: str = "any"
    """`any`; `positive` for positive effects alone; `negative` where the product of the effects is negative."""
    min_hops: int = 1
    """Edges at least."""
    max_hops: int | None = None
    """Edges at most; no limit if None."""

    def __post_init__(self) -> None:
        check_hops(self.min_hops, self.max_hops)

    @property
    def free(self) -> bool:
        """Whether every path will do."""
        return (self.sign, self.min_hops, self.max_hops) == ("any", 1, None)

    @property
    def counted(self) -> int:
        """Number of hops from which on more make no difference; at `max_hops` there are none more."""
        return self.max_hops or self.min_hops

    def allows(self, hops: int, odd: bool) -> bool:
        """Whether a stretch of so many hops, with an odd number of negative effects or not, is such a way."""
        return hops >= self.min_hops and hops <= (self.max_hops or hops) and (self.sign != "negative" or odd)


@dataclass(frozen=True)
class State:
    """Where a walk back stands, apart from its node; counts stop where more make no difference."""

    left: int
    """Groups still to meet."""
    hops: int = 0
    """Edges since the last group."""
    odd: bool = False
    """Whether an odd number of these was negative."""
    done: int = 0
    """Edges in all."""
    passed: bool = False
    """Whether the walk went through a node that it has to go through."""


DEAD, END = 0, 1  # the first two states: without a result, and arrived at the first group


class Walks:
    """The states of the walks that meet these groups in order, and where each edge leads."""

    def __init__(
        self,
        inputs: Inputs,
        groups: Sequence[np.ndarray],
        ways: Sequence[Way] | None = None,
        min_hops: int = 1,
        max_hops: int | None = None,
        through: np.ndarray | None = None,
    ):
        """See `strongest_paths` for the arguments."""
        self.inputs, self.n_groups = inputs, len(groups)
        self.ways = tuple(ways or [Way()] * (len(groups) - 1))
        if len(self.ways) != len(groups) - 1:
            raise PatternError(f"{len(self.ways)} ways for {len(groups)} groups; expected one between each two.")
        self.min_hops, longest = min_hops, len(inputs.layer_start)  # a path takes at least one layer a hop
        self.max_hops = max_hops if max_hops is not None and max_hops < longest else None
        self.meets_GN = np.zeros((len(groups), inputs.n_nodes), bool)
        for place, group in enumerate(groups):
            self.meets_GN[place, group] = True
        self.through_N = np.ones(inputs.n_nodes, bool) if through is None else np.zeros(inputs.n_nodes, bool)
        if through is not None:
            self.through_N[through] = True
        self.signed = any(way.sign != "any" for way in self.ways)
        self.odd_E = inputs.effect < 0 if self.signed else np.zeros(len(inputs.effect), bool)
        self.states: list[State | None] = [None, None]  # DEAD, END
        self._number: dict[State, int] = {}
        self.ends = np.unique(np.asarray(groups[-1], np.int64))
        passed = self.through_N[self.ends].tolist()
        number = {each: self._number_of(State(self.n_groups - 1, passed=each)) for each in sorted(set(passed))}
        self.start = [number[each] for each in passed]
        self._steps = self._all_steps()

    @cached_property
    def next_SBN(self) -> np.ndarray:
        """State after an edge of sign B (0 positive, 1 negative, always 0 if no way asks) from a node N."""
        through_N, n_signs = self.through_N.astype(np.intp), 1 + self.signed
        next_SBN = np.zeros((len(self.states), n_signs, self.inputs.n_nodes), np.intp)
        for number, state in enumerate(self.states):
            if state is None:
                continue
            met_N = self.meets_GN[state.left - 1]
            for odd in range(n_signs):
                steps_TM = np.array(self._steps[number][odd])
                next_SBN[number, odd] = steps_TM[through_N, met_N.astype(np.intp)]
        return next_SBN

    @cached_property
    def _place_SBN(self) -> np.ndarray:
        """`next_SBN` as places in a flat (S, N)."""
        return self.next_SBN * self.inputs.n_nodes + np.arange(self.inputs.n_nodes)

    def completions(self, best: bool, signed: bool = False, end_N: np.ndarray | None = None) -> np.ndarray:
        """(S, N) what becomes of a walk that stands at each node in each state.

        Args:
            best: The strength of the strongest completion instead of the sum over all.
            signed: Count a completion with an odd number of negative effects as negative.
            end_N: What arriving at each node is worth; 1 if not given.
        """
        inputs, add = self.inputs, np.maximum if best else np.add
        weight_E = inputs.signed_share if signed else inputs.share
        value_SN = np.zeros((len(self.states), inputs.n_nodes))
        value_SN[END] = 1.0 if end_N is None else end_N
        place_SBN = self._place_SBN[2:]
        worth_SBN = value_SN.take(place_SBN)
        for node, edges, source, begin in inputs.layers:
            if self.signed:
                worth_SE = worth_SBN[:, self.odd_E[edges].astype(np.intp), source]
            else:
                worth_SE = worth_SBN[:, 0].take(source, axis=1)
            value_SN[2:, node] = add.reduceat(weight_E[edges] * worth_SE, begin, axis=1)
            worth_SBN[:, :, node] = value_SN.take(place_SBN[:, :, node])
        return value_SN

    def visits(self, signed: bool = False) -> np.ndarray:
        """(S, N) chance that a walk back stands at each node in each state, summed over the nodes it starts from.

        Args:
            signed: A walk with an odd number of negative effects counts as negative.
        """
        inputs = self.inputs
        weight_E = inputs.signed_share if signed else inputs.share
        visits_SN = np.zeros((len(self.states), inputs.n_nodes))
        visits_SN[self.start, self.ends] = 1.0
        flat, target_E = visits_SN.reshape(-1), inputs.target
        for _, edges, source, _ in reversed(inputs.layers):
            target = target_E[edges]
            for number in range(2, len(self.states)):
                to_E = self.next_SBN[number, self.odd_E[edges].astype(np.intp), source]
                np.add.at(flat, to_E * inputs.n_nodes + source, weight_E[edges] * visits_SN[number, target])
        return visits_SN

    def worth(self, number: int, value_SN: np.ndarray, edges: slice) -> tuple[np.ndarray, np.ndarray]:
        """For a walk in this state: the state after each of these edges, and the value there."""
        source = self.inputs.source[edges]
        to_E = self.next_SBN[number, self.odd_E[edges].astype(np.intp), source]
        return to_E, value_SN[to_E, source]

    def _all_steps(self) -> dict[int, list[list[list[int]]]]:
        """State -> sign of the edge, whether its source is gone through, whether it is met -> state after it."""
        steps: dict[int, list[list[list[int]]]] = {}
        number = 2
        while number < len(self.states):  # a step may bring new states
            state = self.states[number]
            assert state is not None
            steps[number] = [
                [[self._after(state, odd, passes, met) for met in (False, True)] for passes in (False, True)]
                for odd in (False, True)
            ]
            number += 1
        return steps

    def _after(self, state: State, odd: bool, passes: bool, met: bool) -> int:
        way = self.ways[state.left - 1]
        if odd and way.sign == "positive":
            return DEAD
        hops, done = state.hops + 1, state.done + 1
        is_odd = state.odd ^ odd if way.sign == "negative" else False
        passed = state.passed or passes
        if self.max_hops and done > self.max_hops:
            return DEAD
        if met and not way.allows(hops, is_odd):
            return DEAD
        if met and state.left == 1:
            return END if passed and done >= self.min_hops else DEAD
        if not met and way.max_hops and hops >= way.max_hops:
            return DEAD
        counted = done if self.max_hops else min(done, self.min_hops - 1)
        if met:
            return self._number_of(State(state.left - 1, done=counted, passed=passed))
        return self._number_of(State(state.left, min(hops, way.counted - 1), is_odd, counted, passed))

    def _number_of(self, state: State) -> int:
        if state not in self._number:
            self._number[state] = len(self.states)
            self.states.append(state)
        return self._number[state]
