"""What each feature of the demo's dictionaries stands for: labels measured on training prompts, with their evidence.

A feature gets at most two labels: one for when it fires at the last position of a prompt, one for when it fires
earlier, since many mean different things in the two places. For each it is compared with four kinds of concept:

    region      the prompt is about a city of this region
    attribute   the prompt asks for this attribute
    answer      the prompt's answer is this name
    token       the feature fires on this very token

and keeps the one it tells apart best (F1 at the best of a few activation thresholds), if F1 is at least 0.5. The
threshold is part of the label: below it the label was not measured and does not apply.

What is counted: for a token every position; for the others every prompt, with the feature's largest activation from
the position on at which the concept can be known (the city's for the region, the attribute's last word for the
attribute, the later of the two for the answer). Positions before that are cases of no concept. Positions with the same
text before them, such as the first word of a template, have the same activations and count once. Every two-hop
training sentence is used, cut before its answer, and no held-out one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracer.demo import corpus
from tracer.demo.train_transcoders import MlpTap, TranscoderSet, batches_of_one_length, load_model

Report = Callable[[str], None]

EARLIER, LAST = "earlier", "last"
REGION, ATTRIBUTE, ANSWER, TOKEN = "region", "attribute", "answer", "token"

# Thresholds tried, as shares of the feature's largest activation at that place.
THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
MIN_F1 = 0.5
# A region label wins unless another concept is better by more than this. Its cities and answers are parts of a region,
# so a feature of the region that favours one of them is always told apart a little better by that one.
NEAR_TIE = 0.1


@dataclass(frozen=True)
class Label:
    """One row of labels.csv."""

    layer: int
    """Layer the feature reads from."""

    index: int
    """Its index in that layer."""

    where: str
    """`last` for the last position of a prompt, `earlier` for the positions before it."""

    text: str
    """What a graph shows."""

    concept: str
    """`region`, `attribute`, `answer` or `token`."""

    min_activation: float
    """The label applies where the activation is above this."""

    precision: float
    """Of the training cases above the threshold, the share that is of the concept."""

    recall: float
    """Of the training cases of the concept, the share above the threshold."""

    f1: float
    """Harmonic mean of the two."""

    n: int
    """Training cases of the concept: prompts, or positions with different texts for `token`."""

    note: str
    """The label in words."""


@dataclass(frozen=True)
class Firings:
    """Every activation of every feature in many cases, as parallel arrays, one entry a firing."""

    case: np.ndarray
    """Which case: a position, or a prompt."""

    feature: np.ndarray
    """layer * features a layer + index."""

    value: np.ndarray
    """The activation."""

    def take(self, chosen: np.ndarray) -> Firings:
        """The entries at these places or under this mask."""
        return Firings(self.case[chosen], self.feature[chosen], self.value[chosen])


@dataclass(frozen=True)
class Positions:
    """All positions of all prompts but <bos>, as parallel arrays."""

    prompt: np.ndarray
    """Which prompt."""

    place: np.ndarray
    """Position in the prompt."""

    token: np.ndarray
    """Id of the token there."""

    is_last: np.ndarray
    """Whether the prompt ends there."""

    is_first_of_text: np.ndarray
    """Whether no position before it in this list has the same text up to and including it."""


@dataclass(frozen=True)
class Measured:
    """For every feature, the class of one concept that it tells apart best."""

    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    threshold: np.ndarray
    best_class: np.ndarray
    classes: list[str]
    size: np.ndarray
    """Cases of each class."""


def label(model_dir: Path, dictionary_dir: Path, report: Report = print) -> list[Label]:
    """Measure the labels of one set, and write them to labels.csv in its folder.

    Args:
        model_dir: The demo model.
        dictionary_dir: Folder of the set.
        report: Called with a line of progress.

    Returns:
        The labels, in order of layer, index and place.
    """
    model, tokenizer = load_model(model_dir)
    transcoders = TranscoderSet.read(dictionary_dir)
    cases = [(template, fact) for template in corpus.TWO_HOP_TEMPLATES for fact in corpus.splits().two_hop_train]
    rows = tokenizer([corpus.prompt(template, fact) for template, fact in cases])["input_ids"]
    firings, positions = _fire(model, transcoders, rows)
    words = [token.strip() for token in tokenizer.convert_ids_to_tokens(positions.token.tolist())]
    city_place = _places_of(tokenizer, cases, "{city}")
    attribute_place = _places_of(tokenizer, cases, "{attribute}")
    facts = [fact for _, fact in cases]
    concepts = {
        REGION: ([fact.region for fact in facts], city_place),
        ATTRIBUTE: ([fact.attribute for fact in facts], attribute_place),
        ANSWER: ([fact.answer for fact in facts], np.maximum(city_place, attribute_place)),
    }
    total = transcoders.n_layers * transcoders.n_features
    labels = []
    for where in (EARLIER, LAST):
        here = positions.is_last == (where == LAST)
        counted = here & positions.is_first_of_text
        measured = {
            concept: _measure_by_prompt(firings, positions, here, classes, known_from, total)
            for concept, (classes, known_from) in concepts.items()
        }
        word_of_position = [word if count else None for word, count in zip(words, counted, strict=True)]
        measured[TOKEN] = measure(firings.take(counted[firings.case]), word_of_position, total)
        labels += _choose(measured, where, transcoders.n_features)
    labels.sort(key=lambda row: (row.layer, row.index, row.where))
    with (dictionary_dir / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Label))
        writer.writerows(astuple(row) for row in labels)
    of_regions = [row.text for row in labels if row.concept == REGION]
    report(
        f"{dictionary_dir.name}: {len(labels)} labels from {len(rows)} training prompts, {len(of_regions)} of them "
        f"regions; {len(set(of_regions))} of {len({fact.region for fact in facts})} regions have one"
    )
    return labels


def read_labels(dictionary_dir: Path) -> list[Label]:
    """The labels that `label` wrote."""
    with (dictionary_dir / "labels.csv").open(newline="") as file:
        return [
            Label(
                layer=int(row["layer"]),
                index=int(row["index"]),
                where=row["where"],
                text=row["text"],
                concept=row["concept"],
                min_activation=float(row["min_activation"]),
                precision=float(row["precision"]),
                recall=float(row["recall"]),
                f1=float(row["f1"]),
                n=int(row["n"]),
                note=row["note"],
            )
            for row in csv.DictReader(file)
        ]


def measure(firings: Firings, class_of_case: Sequence[str | None], n_features: int) -> Measured:
    """For every feature the class and threshold with the best F1.

    Args:
        firings: At most one entry for each case and feature.
        class_of_case: The class of each case; "" for a case of no class, None for one that is not counted.
        n_features: Features of all layers together.
    """
    classes = sorted({name for name in class_of_case if name})
    number = {name: rank for rank, name in enumerate(classes)} | {"": len(classes), None: -1}
    class_number = np.array([number[name] for name in class_of_case])
    size = np.bincount(class_number[class_number >= 0], minlength=len(classes) + 1)[:-1]
    counted = firings.take(class_number[firings.case] >= 0)
    largest = np.zeros(n_features)
    np.maximum.at(largest, counted.feature, counted.value)
    best = {name: np.zeros(n_features) for name in ("f1", "precision", "recall", "threshold")}
    best_class = np.zeros(n_features, dtype=int)
    everyone = np.arange(n_features)
    for share in THRESHOLDS:
        above = counted.take(counted.value > share * largest[counted.feature])
        cell = class_number[above.case] * n_features + above.feature
        hits = np.bincount(cell, minlength=(len(classes) + 1) * n_features).reshape(-1, n_features)
        precision = hits[:-1] / np.maximum(hits.sum(0), 1)
        recall = hits[:-1] / np.maximum(size, 1)[:, None]
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        winner = f1.argmax(0)
        better = f1[winner, everyone] > best["f1"] + 1e-6
        for name, values in (
            ("f1", f1[winner, everyone]),
            ("precision", precision[winner, everyone]),
            ("recall", recall[winner, everyone]),
            ("threshold", share * largest),
        ):
            best[name] = np.where(better, values, best[name])
        best_class = np.where(better, winner, best_class)
    return Measured(best["f1"], best["precision"], best["recall"], best["threshold"], best_class, classes, size)


def _measure_by_prompt(
    firings: Firings,
    positions: Positions,
    here: np.ndarray,
    class_of_prompt: list[str],
    known_from: np.ndarray,
    n_features: int,
) -> Measured:
    """`measure` with a case for each prompt, and one for each distinct text before the concept can be known.

    Args:
        firings: By position.
        positions: What the positions are.
        here: Mask of the positions that count at all.
        class_of_prompt: The concept of each prompt.
        known_from: The first place in each prompt at which it can be known.
    """
    known = here & (positions.place >= known_from[positions.prompt])
    before = here & ~known & positions.is_first_of_text
    n_prompts = len(class_of_prompt)
    case_of_position = np.where(known, positions.prompt, n_prompts + np.arange(len(positions.prompt)))
    of_case: list[str | None] = [None] * (n_prompts + len(positions.prompt))
    for prompt in np.unique(positions.prompt[known]):
        of_case[prompt] = class_of_prompt[prompt]
    for position in np.flatnonzero(before):
        of_case[n_prompts + position] = ""
    counted = firings.take((known | before)[firings.case])
    by_case = Firings(case_of_position[counted.case], counted.feature, counted.value)
    return measure(_strongest_by_case(by_case, n_features), of_case, n_features)


@torch.no_grad()
def _fire(model: Any, transcoders: TranscoderSet, rows: list[list[int]]) -> tuple[Firings, Positions]:
    """All firings of all features on these prompts, <bos> left out."""
    fired: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    described: list[tuple[np.ndarray, ...]] = []
    texts: set[tuple[int, ...]] = set()
    n_positions = 0
    with MlpTap(model) as tap:
        for indices in batches_of_one_length(rows):
            tokens_BP = torch.tensor([rows[index] for index in indices])
            tap.clear()
            model.model(input_ids=tokens_BP, use_cache=False)
            for layer, input_BPD in enumerate(tap.inputs):
                activation_NF = transcoders.encode(layer, input_BPD[:, 1:].flatten(0, 1)).numpy()
                position, index = np.nonzero(activation_NF)
                feature = layer * transcoders.n_features + index
                fired.append((n_positions + position, feature, activation_NF[position, index]))
            place = np.tile(np.arange(1, tokens_BP.shape[1]), len(indices))
            prompt = np.repeat(np.array(indices), tokens_BP.shape[1] - 1)
            first = np.zeros(len(place), dtype=bool)
            for number, (of_prompt, end) in enumerate(zip(prompt.tolist(), place.tolist(), strict=True)):
                text = tuple(rows[of_prompt][: end + 1])
                first[number] = text not in texts
                texts.add(text)
            described.append(
                (prompt, place, tokens_BP[:, 1:].flatten().numpy(), place == tokens_BP.shape[1] - 1, first)
            )
            n_positions += len(place)
    firings = Firings(*(np.concatenate(arrays) for arrays in zip(*fired, strict=True)))
    return firings, Positions(*(np.concatenate(arrays) for arrays in zip(*described, strict=True)))


def _places_of(tokenizer: Any, cases: list[tuple[str, corpus.Fact]], slot: str) -> np.ndarray:
    """The position of the last token of a template's slot, in each prompt."""
    openings = [(template.partition(slot)[0] + slot).format(**vars(fact)) for template, fact in cases]
    return np.array([len(row) - 1 for row in tokenizer(openings)["input_ids"]])


def _strongest_by_case(firings: Firings, n_features: int) -> Firings:
    """One entry for each case and feature: its largest activation there."""
    key = firings.case * n_features + firings.feature
    order = np.argsort(key, kind="stable")
    key, value = key[order], firings.value[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    return Firings(key[starts] // n_features, key[starts] % n_features, np.maximum.reduceat(value, starts))


def _choose(measured: dict[str, Measured], where: str, features_per_layer: int) -> list[Label]:
    """The best concept of every feature at one place, where it is good enough."""
    labels = []
    for feature in range(len(measured[REGION].f1)):
        concept = max(measured, key=lambda name: measured[name].f1[feature] + (NEAR_TIE if name == REGION else 0))
        found = measured[concept]
        if found.f1[feature] < MIN_F1:
            continue
        name = found.classes[found.best_class[feature]]
        cases = int(found.size[found.best_class[feature]])
        labels.append(
            Label(
                layer=feature // features_per_layer,
                index=feature % features_per_layer,
                where=where,
                text=_text(concept, name),
                concept=concept,
                min_activation=float(f"{found.threshold[feature]:.4g}"),
                precision=round(float(found.precision[feature]), 3),
                recall=round(float(found.recall[feature]), 3),
                f1=round(float(found.f1[feature]), 3),
                n=cases,
                note=_note(concept, name, where),
            )
        )
    return labels


def _text(concept: str, name: str) -> str:
    return {ATTRIBUTE: "asks for ", ANSWER: "say "}.get(concept, "") + name


def _note(concept: str, name: str, where: str) -> str:
    """The label in words; its numbers stand in columns of their own."""
    place = "at the end of" if where == LAST else "before the end of"
    return {
        REGION: f"fires {place} training prompts about {name} cities",
        ATTRIBUTE: f"fires {place} training prompts that ask for the {name}",
        ANSWER: f"fires {place} training prompts whose answer is {name}",
        TOKEN: f"fires on the token {name} of training prompts",
    }[concept]
