"""Is the circuit what the model uses? One region's features are set to another's, and the answer has to follow.

In a held-out prompt the features labelled with the city's region are set to 0, and those labelled with another region
to the mean that they have in trained prompts of that region. The change that this makes to what the MLPs write is added
while the real model runs on, its own MLPs answering to it. Source: Ameisen et al. 2025, "Circuit Tracing", where graphs
are validated by interventions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tracer.demo import corpus
from tracer.demo.corpus import TWO_HOP_TEMPLATES, Fact
from tracer.demo.label_features import REGION, read_labels
from tracer.demo.train_transcoders import MlpTap, TranscoderSet, last_logits, mlps_of

Feature = tuple[int, int]  # layer, index
AT_CITY, AT_LAST = "earlier", "last"  # where labels.csv says that a label was measured
MOST_PROMPTS = 40  # of a region, for the means of its features


@dataclass(frozen=True)
class Swap:
    """A prompt whose region is to become that of another fact, which asks for the same attribute."""

    template: str
    fact: Fact
    other: Fact


@torch.no_grad()
def measure_swaps(folder: Path, model: Any, tokenizer: Any, n: int, seed: int) -> dict[str, float]:
    """Shares of swaps after which the model's first choice is the other region's answer.

    Args:
        folder: The dictionary, with its labels.
        n: How many swaps.
        seed: For the prompts, the other regions, and the features drawn by chance of the last row.
    """
    swapper, draw = Swapper(folder, model, tokenizer), random.Random(seed)
    swaps = list(draw_swaps(n, draw))
    kinds: dict[str, tuple[tuple[str, ...], random.Random | None]] = {
        "region features at the city": ((AT_CITY,), None),
        "region features at the city and the last position": ((AT_CITY, AT_LAST), None),
        "features drawn by chance, as many and as strong": ((AT_CITY, AT_LAST), draw),
    }
    return {
        f"answer follows a swap of {name}": round(sum(swapper.follows(swap, *kind) for swap in swaps) / n, 3)
        for name, kind in kinds.items()
    }


def draw_swaps(n: int, draw: random.Random) -> Iterator[Swap]:
    """Held-out facts, each with one of the same kind and attribute in a region with another answer."""
    facts = corpus.splits().two_hop_held_out
    for _ in range(n):
        fact = draw.choice(facts)
        others = [
            other
            for other in facts
            if (other.kind, other.attribute) == (fact.kind, fact.attribute) and other.answer != fact.answer
        ]
        yield Swap(draw.choice(TWO_HOP_TEMPLATES), fact, draw.choice(others))


@dataclass
class Swapper:
    """A model with a dictionary whose features can be set while it runs."""

    folder: Path
    model: Any
    tokenizer: Any
    _means: dict[tuple[str, str], dict[str, list[Tensor]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.transcoders = TranscoderSet.read(self.folder)
        self.features: dict[tuple[str, str], list[Feature]] = {}
        for row in read_labels(self.folder):
            if row.concept == REGION:
                self.features.setdefault((row.where, row.text), []).append((row.layer, row.index))

    def follows(self, swap: Swap, where: tuple[str, ...], chance: random.Random | None) -> bool:
        """Whether the other region's answer becomes the first choice when features are set at these places.

        Args:
            chance: Draws the features that are set in place of the labelled ones.
        """
        tokens_1P, position = self._read(swap.template, swap.fact)
        before = self._activations(tokens_1P)
        after = [layer_1PF.clone() for layer_1PF in before]
        for place in where:
            at, mean = position[place], self._mean(swap.template, swap.other.region)[place]
            for layer, index in self.features.get((place, swap.fact.region), ()):
                after[layer][0, at, self._or_drawn(index, chance)] = 0
            for layer, index in self.features.get((place, swap.other.region), ()):
                after[layer][0, at, self._or_drawn(index, chance)] = mean[layer][index]
        written = zip(self.transcoders.decode(after), self.transcoders.decode(before), strict=True)
        with added(self.model, [new_1PD - old_1PD for new_1PD, old_1PD in written]):
            first = int(last_logits(self.model, tokens_1P).argmax())
        return first == self.tokenizer.convert_tokens_to_ids(f" {swap.other.answer}")

    def _or_drawn(self, index: int, chance: random.Random | None) -> int:
        return chance.randrange(self.transcoders.n_features) if chance else index

    def _read(self, template: str, fact: Fact) -> tuple[Tensor, dict[str, int]]:
        """The prompt as (1, P) tokens, and the positions of the places."""
        row = self.tokenizer([corpus.prompt(template, fact)])["input_ids"][0]
        city = {self.tokenizer.convert_tokens_to_ids(name) for name in (fact.city, f" {fact.city}")}
        at = max(position for position, token in enumerate(row) if token in city)
        return torch.tensor([row]), {AT_CITY: at, AT_LAST: len(row) - 1}

    def _activations(self, tokens_1P: Tensor) -> list[Tensor]:
        """(1, P, F) by layer."""
        with MlpTap(self.model) as tap:
            self.model.model(input_ids=tokens_1P, use_cache=False)
        return [self.transcoders.encode(layer, read_1PD) for layer, read_1PD in enumerate(tap.inputs)]

    def _mean(self, template: str, region: str) -> dict[str, list[Tensor]]:
        """(F,) by layer, at each place, over trained prompts of this region."""
        if (template, region) not in self._means:
            facts = [fact for fact in corpus.splits().two_hop_train if fact.region == region][:MOST_PROMPTS]
            sums: dict[str, list[Tensor]] = {}
            for fact in facts:
                tokens_1P, position = self._read(template, fact)
                layers = self._activations(tokens_1P)
                for place, at in position.items():
                    here = [layer_1PF[0, at] / len(facts) for layer_1PF in layers]
                    there = sums.get(place)
                    sums[place] = [a + b for a, b in zip(there, here, strict=True)] if there else here
            self._means[template, region] = sums
        return self._means[template, region]


@contextmanager
def added(model: Any, change_L: list[Tensor]) -> Iterator[None]:
    """What each MLP writes has this added, for one forward pass."""
    handles = [
        mlp.register_forward_hook(lambda _, __, output, change=change: output + change)
        for mlp, change in zip(mlps_of(model), change_L, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
