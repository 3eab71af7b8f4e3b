"""The links of a graph file: taken one by one while it is read, then joined to its nodes."""

import dataclasses
from array import array
from collections import Counter
from typing import Any

import numpy as np

from ingest.documents import Document, short
from tracer.errors import GraphFormatError


class Links:
    """What the list of links holds, in 16 bytes a link: ends by number, each id held once."""

    def __init__(self, file: Document):
        self._repairs = file.repairs
        self._file = dataclasses.replace(file, repairs=Counter())  # of a list that does not count, none are told
        self._number: dict[str, int] = {}
        self._source, self._target, self._weight = array("i"), array("i"), array("d")
        self.problem: GraphFormatError | None = None
        """Why the list cannot be used; kept back, since what is wrong with the whole file says more."""
        self._n = 0

    def __len__(self) -> int:
        """How many items the list has."""
        return self._n

    def __call__(self, entry: Any) -> None:
        """Take one item of the list."""
        self._n += 1
        if self.problem:
            return
        try:
            self._add(entry)
        except GraphFormatError as error:
            self.problem = error

    def _add(self, entry: Any) -> None:
        if not isinstance(entry, dict):
            raise self._file.refused(f"`links`: {short(entry)}", "a list of objects", "Write the file again.")
        source, target = self._end(entry, "source"), self._end(entry, "target")
        weight = entry.get("weight")
        if type(weight) is not float or not abs(weight) < 1e38:  # else there is nothing to say about it
            what = f"the weight from {short(source)} to {short(target)}"
            weight = self._file.number(weight, what)
            if weight != weight:
                raise self._file.refused(f"{what} is missing", "a number", "Write the file again.")
        numbers = self._number
        self._source.append(numbers.setdefault(source, len(numbers)))
        self._target.append(numbers.setdefault(target, len(numbers)))
        self._weight.append(weight)

    def _end(self, entry: dict[str, Any], name: str) -> str:
        end = entry.get(name)
        if isinstance(end, dict):
            self._file.repairs["link_ends_as_objects"] += 1
            end = end.get("node_id", end.get("id"))
        if not isinstance(end, str):
            raise self._file.refused(
                f"a link with the {name} {short(end)}",
                "the node_id of a node",
                "Give a graph that circuit-tracer, Neuronpedia or Anthropic's front end wrote.",
            )
        return end

    def joined(
        self, ids: list[str], layer_N: np.ndarray, is_error_N: np.ndarray, is_bias_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(source, target, weight) by row of the nodes with these ids; what cannot be is left out and counted.

        An id of old files can name a layer-0 feature and an error of a higher layer. An error has no inputs, and a
        link goes to a higher layer: often only one of the two is possible.
        """
        if self.problem:
            raise self.problem
        repairs = self._repairs
        repairs.update(self._file.repairs)
        first_U, second_U = self._rows(ids)
        source_E, target_E = np.array(self._source, np.int32), np.array(self._target, np.int32)
        weight_E = np.array(self._weight, np.float64)
        pairs = []  # (source, target) rows of each meaning of a link, up to four, and whether it can be
        meanings = (first_U, second_U) if (second_U >= 0).any() else (first_U,)
        for source_U in meanings:
            for target_U in meanings:
                s, t = source_U[source_E], target_U[target_E]
                there = (s >= 0) & (t >= 0)
                # an error named like a feature has no inputs; one that stands alone is left to the test of layers
                there &= ~(is_error_N[t] & (second_U[target_E] >= 0))
                can = there & ~is_bias_N[t] & (layer_N[s] - is_bias_N[s] < layer_N[t])
                pairs.append((s, t, can))
        n_possible_E = np.sum([can for *_, can in pairs], axis=0) if len(source_E) else np.zeros(0, int)
        dangling_E = (first_U[source_E] < 0) | (first_U[target_E] < 0)
        self_E = ~dangling_E & (source_E == target_E)
        repairs["dangling_links"] += int(dangling_E.sum())
        repairs["ambiguous_links"] += int((n_possible_E > 1).sum())
        impossible_E = ~dangling_E & (n_possible_E == 0)
        repairs["self_links"] += int((impossible_E & self_E).sum())
        repairs["backward_links"] += int((impossible_E & ~self_E).sum())
        sure_E = n_possible_E == 1
        source, target = (
            np.select([can for *_, can in pairs], [pair[at] for pair in pairs], -1)[sure_E] for at in (0, 1)
        )
        return self._each_once(source, target, weight_E[sure_E], len(ids))

    def _rows(self, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(U,) row of the first, and of the second node that each id names; -1 where there is none."""
        first_U = np.full(max(len(self._number), 1), -1, np.int32)
        second_U = first_U.copy()
        for row, node_id in enumerate(ids):
            number = self._number.get(node_id)
            if number is not None:
                (first_U if first_U[number] < 0 else second_U)[number] = row
        return first_U, second_U

    def _each_once(
        self, source: np.ndarray, target: np.ndarray, weight: np.ndarray, n: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of links given twice the first, unless it is zero; zeros are left out."""
        repairs = self._repairs
        there = weight.astype(np.float32) != 0
        key = source[there].astype(np.int64) * n + target[there]
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        alike = weight[there] == weight[there][first][which]
        again = np.ones(len(key), bool)
        again[first] = False
        repairs["duplicate_links"] += int((again & alike).sum())
        repairs["conflicting_links"] += int((again & ~alike).sum())
        repairs["zero_links"] += int((~there).sum())
        kept = np.sort(first)
        return source[there][kept], target[there][kept], weight[there][kept].astype(np.float32)
