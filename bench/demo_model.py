"""What the shipped demo model can do, measured: `python -m bench.demo_model` prints the table of its model card.

The numbers are also written to results.json and into the model card beside the weights, unless --print-only is given.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuits.paths import strongest_paths
from tracer.attribution import attribute
from tracer.config import TraceConfig
from tracer.demo import MODEL_DIR, SHIPPED, corpus
from tracer.demo.corpus import CITY_TEMPLATES, REGION_TEMPLATES, TWO_HOP_TEMPLATES, Fact
from tracer.demo.label_features import REGION, read_labels
from tracer.demo.swap_features import measure_swaps
from tracer.demo.train_transcoders import (
    MlpTap,
    TranscoderSet,
    batches_of_one_length,
    last_logits,
    load_model,
    replacement_agreement,
)
from tracer.demo.world import load_world
from tracer.graph import AttributionGraph
from tracer.loading import load
from tracer.schema import NodeKind

Case = tuple[str, Fact]
"""A prompt's text, and the fact that completes it."""

BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"


@dataclass(frozen=True)
class BenchConfig:
    """How much is measured."""

    graphs: int = 400
    """Held-out prompts traced with each dictionary, drawn over all templates; of 400 the share with the right region on
    the strongest paths has a standard error of 0.01."""

    swaps: int = 200
    """Held-out prompts in which one region's features are set to another's."""

    paths: int = 5
    """Strongest paths from the city looked at in each graph."""

    sample: int = 6000
    """At most this many prompts of a kind are answered; enough for every held-out one."""

    seed: int = 1
    """For every draw."""


def main(arguments: Sequence[str] = ("--print-only",)) -> None:
    """Measure and print; record too, unless told not to (as `python -m bench` does)."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo_model", description=__doc__)
    parser.add_argument("--dir", type=Path, default=SHIPPED, help="what to measure (default: %(default)s)")
    parser.add_argument(
        "--graphs", type=int, default=BenchConfig.graphs, help="prompts to trace (default: %(default)s)"
    )
    parser.add_argument("--print-only", action="store_true", help="leave results.json and the model card as they are")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = measure(options.dir, BenchConfig(graphs=options.graphs))
    table = markdown_table(results)
    print(table)
    if not options.print_only:
        (options.dir / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        write_into_card(options.dir / "MODEL_CARD.md", table)


def measure(folder: Path, config: BenchConfig) -> dict[str, Any]:
    """Every number of the table."""
    started = time.monotonic()
    model, tokenizer = load_model(folder / MODEL_DIR.name)
    results: dict[str, Any] = {"answers": measure_answers(model, tokenizer, config)}
    for name in ("clt", "plt"):
        results[name] = measure_dictionary(folder / name, model, tokenizer, config)
        results[name] |= measure_graphs(folder, name, config)
        results[name] |= measure_swaps(folder / name, model, tokenizer, config.swaps, config.seed)
    results["size_mb"] = {
        name: round(sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file()) / 1e6, 2)
        for name in (MODEL_DIR.name, "clt", "plt")
    }
    results["measured_with"] = {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "graphs": config.graphs,
        "seed": config.seed,
        "wall_s": round(time.monotonic() - started),
    }
    return results


def measure_answers(model: Any, tokenizer: Any, config: BenchConfig) -> dict[str, Any]:
    """First-choice accuracy and mean probability of the answer, by kind of prompt."""
    split, draw = corpus.splits(), random.Random(config.seed)

    def cases(templates: Iterable[str], facts: Sequence[Fact]) -> list[Case]:
        return [(corpus.prompt(template, fact), fact) for template in templates for fact in facts]

    after_another_city = []
    for text, fact in cases(TWO_HOP_TEMPLATES, split.two_hop_held_out):
        other = draw.choice([city for city in split.city_regions if city.region != fact.region])
        after_another_city.append((f"{corpus.sentence(draw.choice(CITY_TEMPLATES), other)} {text}", fact))
    kinds = {
        "one hop, city to region": cases(CITY_TEMPLATES, split.city_regions),
        "one hop, region to attribute": cases(REGION_TEMPLATES, split.region_attributes),
        "two hops, trained": cases(TWO_HOP_TEMPLATES, split.two_hop_train),
        "two hops, held out": cases(TWO_HOP_TEMPLATES, split.two_hop_held_out),
        "two hops, city in no two-hop training text": cases(TWO_HOP_TEMPLATES, split.two_hop_ood),
        "two hops, held out, after a sentence about another city": after_another_city,
    }
    results = {}
    for name, all_cases in kinds.items():
        chosen = all_cases if len(all_cases) <= config.sample else draw.sample(all_cases, config.sample)
        right, probability = answer(model, tokenizer, chosen)
        results[name] = _summary(right, probability)
        if name == "two hops, held out" and len(chosen) == len(all_cases):  # then in order of templates
            for number, (of_right, of_probability) in enumerate(
                zip(np.split(right, len(TWO_HOP_TEMPLATES)), np.split(probability, len(TWO_HOP_TEMPLATES)), strict=True)
            ):
                results[f"{name}, template {number}"] = _summary(of_right, of_probability)
    return results


def _summary(right: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": round(float(right.mean()), 4),
        "probability": round(float(probability.mean()), 4),
        "n": len(right),
    }


@torch.no_grad()
def answer(model: Any, tokenizer: Any, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each answer is the model's first choice, and its probability."""
    rows = tokenizer([text for text, _ in cases])["input_ids"]
    wanted = torch.tensor(tokenizer.convert_tokens_to_ids([f" {fact.answer}" for _, fact in cases]))
    right, probability = np.zeros(len(rows)), np.zeros(len(rows))
    for indices in batches_of_one_length(rows):
        last_BV = last_logits(model, torch.tensor([rows[index] for index in indices]))
        wanted_B = wanted[indices]
        right[indices] = (last_BV.argmax(-1) == wanted_B).float()
        probability[indices] = last_BV.softmax(-1)[torch.arange(len(indices)), wanted_B]
    return right, probability


def measure_dictionary(folder: Path, model: Any, tokenizer: Any, config: BenchConfig) -> dict[str, Any]:
    """How well one dictionary stands in for the MLPs on held-out prompts, and what its labels cover."""
    transcoders = TranscoderSet.read(folder)
    split, draw = corpus.splits(), random.Random(config.seed)

    def rows(facts: Sequence[Fact]) -> list[list[int]]:
        texts = [corpus.prompt(template, fact) for template in TWO_HOP_TEMPLATES for fact in facts]
        return tokenizer(texts)["input_ids"]

    held_out = rows(split.two_hop_held_out)
    agrees = replacement_agreement(model, transcoders, held_out).float()
    by_template = agrees.view(len(TWO_HOP_TEMPLATES), -1).mean(1)
    trained = rows(draw.sample(split.two_hop_train, 500))
    labels = read_labels(folder)
    best_f1 = {region: 0.0 for region in load_world().kind_of_region}
    for row in labels:
        if row.concept == REGION:
            best_f1[row.text] = max(best_f1[row.text], row.f1)
    return {
        "features per layer": transcoders.n_features,
        "agreement, held out": round(float(agrees.mean()), 4),
        "agreement, held out, by template": [round(float(share), 4) for share in by_template],
        "agreement, trained": round(float(replacement_agreement(model, transcoders, trained).float().mean()), 4),
        **fit(model, transcoders, held_out),
        "labels": len(labels),
        "labels by concept": {
            concept: sum(row.concept == concept for row in labels)
            for concept in sorted({row.concept for row in labels})
        },
        "regions with a label": sum(f1 > 0 for f1 in best_f1.values()),
        "regions with a label of F1 0.9 or more": sum(f1 >= 0.9 for f1 in best_f1.values()),
        "median F1 of the regions' best labels": round(float(np.median(list(best_f1.values()))), 3),
    }


@torch.no_grad()
def fit(model: Any, transcoders: TranscoderSet, rows: list[list[int]]) -> dict[str, Any]:
    """By layer: explained share of the MLP outputs' variance, active features a token, features that never fire.

    Over all positions but <bos>, each layer by itself (inputs are the model's own).
    """
    n_layers = transcoders.n_layers
    missed_L, active_L = np.zeros(n_layers), np.zeros(n_layers)
    sums_LD = torch.zeros(n_layers, transcoders.d_model, dtype=torch.float64)
    squares_L = np.zeros(n_layers)
    fired_LF = torch.zeros(n_layers, transcoders.n_features, dtype=torch.bool)
    n_tokens = 0
    with MlpTap(model) as tap:
        for indices in batches_of_one_length(rows):
            tap.clear()
            model.model(input_ids=torch.tensor([rows[index] for index in indices]), use_cache=False)
            activations = [
                transcoders.encode(layer, read_BPD[:, 1:].flatten(0, 1)) for layer, read_BPD in enumerate(tap.inputs)
            ]
            for layer, (guess_TD, output_BPD) in enumerate(
                zip(transcoders.decode(activations), tap.outputs, strict=True)
            ):
                output_TD = output_BPD[:, 1:].flatten(0, 1)
                missed_L[layer] += float((guess_TD - output_TD).pow(2).sum())
                sums_LD[layer] += output_TD.double().sum(0)
                squares_L[layer] += float(output_TD.double().pow(2).sum())
                active_L[layer] += float((activations[layer] > 0).sum())
                fired_LF[layer] |= (activations[layer] > 0).any(0)
            n_tokens += len(activations[0])
    variance_L = squares_L - (sums_LD.pow(2).sum(-1) / n_tokens).numpy()
    return {
        "explained by layer": [round(float(1 - share), 3) for share in missed_L / variance_L],
        "active by layer": [round(float(count), 1) for count in active_L / n_tokens],
        "never firing by layer": (~fired_LF).sum(1).tolist(),
    }


def measure_graphs(folder: Path, name: str, config: BenchConfig) -> dict[str, Any]:
    """What attribution graphs of held-out prompts show: is the right region on the strongest paths from the city?"""
    model = load(folder / MODEL_DIR.name, folder / name, device="cpu")
    split, draw = corpus.splits(), random.Random(config.seed)
    facts = draw.sample(split.two_hop_held_out, config.graphs)
    trace = TraceConfig(target="log-odds")
    found, asked, of_any, sizes, errors, seconds = [], [], [], [], [], []
    for fact in facts:
        template = draw.choice(TWO_HOP_TEMPLATES)
        started = time.monotonic()
        graph = attribute(corpus.prompt(template, fact), model, trace)
        seconds.append(time.monotonic() - started)
        on_paths = labels_on_paths(graph, fact.city, config.paths)
        found.append(fact.region in on_paths)
        asked.append(TWO_HOP_TEMPLATES.index(template))
        of_any.append(bool((on_paths & set(load_world().kind_of_region)) - {fact.region}))
        sizes.append(graph.slice_of(NodeKind.FEATURE).stop)  # features come first
        assert graph.metadata.replacement_score is not None, "the tracer scores every graph it makes"
        errors.append(1 - graph.metadata.replacement_score)
    by_template = [np.mean(found, where=np.array(asked) == at) for at in range(len(TWO_HOP_TEMPLATES))]
    return {
        f"right region on the {config.paths} strongest paths": round(float(np.mean(found)), 3),
        f"right region on the {config.paths} strongest paths, by template": [round(float(x), 3) for x in by_template],
        f"another region on the {config.paths} strongest paths": round(float(np.mean(of_any)), 3),
        "feature nodes a graph": round(float(np.mean(sizes))),
        "error share": round(float(np.mean(errors)), 3),
        "seconds a graph": round(float(np.median(seconds)), 2),
    }


def labels_on_paths(graph: AttributionGraph, city: str, k: int) -> set[str]:
    """Labels of the features on the k strongest positive paths, of two edges or more, from the city to the answer."""
    nodes = graph.nodes
    is_city = (nodes["kind"] == NodeKind.TOKEN) & (nodes["label"].str.strip() == city)
    city_row = np.flatnonzero(is_city.to_numpy())[-1:]
    logits = graph.slice_of(NodeKind.LOGIT)
    answer_row = np.arange(logits.start, logits.start + 1)
    paths = strongest_paths(graph, [city_row, answer_row], k=k, sign="positive", min_hops=2)
    label_N = nodes["label"].to_numpy()
    return {str(label_N[row]) for path in paths for row in path.rows[1:-1]}


def markdown_table(results: dict[str, Any]) -> str:
    """The results as two tables."""
    lines = ["| prompts | right | probability of the answer | n |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['accuracy']:.4f} | {row['probability']:.3f} | {row['n']} |"
        for name, row in results["answers"].items()
    ]
    lines += ["", "| dictionary | CLT | PLT |", "|---|---|---|"]
    for key in results["clt"]:
        lines.append(f"| {key} | {_shown(results['clt'][key])} | {_shown(results['plt'][key])} |")
    lines.append(f"| size, MB | {results['size_mb']['clt']} | {results['size_mb']['plt']} |")
    about = results["measured_with"]
    lines += [
        "",
        f"The model is {results['size_mb'][MODEL_DIR.name]} MB. Measured by `python -m bench.demo_model` with torch "
        f"{about['torch']} on {about['machine']}; {about['graphs']} held-out prompts traced with each dictionary, "
        f"seed {about['seed']}.",
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)


def write_into_card(card: Path, table: str) -> None:
    """Replace what stands between the two marks in the model card.

    Raises:
        ValueError: The card has no marks.
    """
    text = card.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{card} lacks {BEGIN} or {END}; expected both, around the table. Put them back.")
    card.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
