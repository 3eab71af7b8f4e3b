"""Is the middle step the right one? Flow against the largest activation, on prompts of which the answer is known.

The middle step of `"Dallas" -> {region} -> "Austin"` is the region whose labelled features carry the largest flow; all
95 regions of the demo's world compete. One threshold, chosen on validation facts, says whether a middle step is needed.
Held-out facts are looked at once, here: `python -m bench.hops --validation` prints what the threshold was chosen by.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from app.demo import NEEDED_FLOW
from bench.demo_model import answer
from bench.measure import print_table
from circuits.flow import Inputs
from circuits.pattern import match_terms, parse_pattern
from circuits.search import flow_by_binding
from tracer.attribution import attribute
from tracer.config import TraceConfig
from tracer.demo import MODEL_DIR, SHIPPED, corpus
from tracer.demo.corpus import CITY_TEMPLATES, REGION_TEMPLATES, TWO_HOP_TEMPLATES, Fact
from tracer.demo.train_transcoders import load_model
from tracer.demo.world import load_world
from tracer.graph import AttributionGraph
from tracer.loading import load
from tracer.schema import NodeKind

PLAIN, TWO_CITIES, IDLE_CITY = "one city", "two cities, one asked about", "idle city"
RIGHT, OTHER_REGION, ANY_WRONG, SAME_REGION = "right", "another region's answer", "random wrong", "same region's other"
CONTRASTS = {
    OTHER_REGION: "the same question's answer for another region",
    ANY_WRONG: "a random wrong answer",
    SAME_REGION: "another fact of the same region",
}
DICTIONARIES = ("clt", "plt")
KEPT = 0.98  # share of the right validation prompts that the activation's own threshold lets through


@dataclass(frozen=True)
class Question:
    """A prompt, where its city stands in the answer's making, and the answers looked at."""

    kind: str
    """One of PLAIN, TWO_CITIES, IDLE_CITY."""
    text: str
    """What the model reads."""
    template: int
    """Of the sentence that asks."""
    city: str
    """Asked about; in an idle-city prompt only mentioned."""
    region: str
    """Of that city."""
    answers: dict[str, str]
    """RIGHT and the contrasts, to the token looked at."""


@dataclass(frozen=True)
class Seen:
    """What one graph shows about a question."""

    question: Question
    flows: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of each answer, the flow from the city through each region's features to it."""
    active: dict[str, float] = field(default_factory=dict)
    """Without a graph: sum of the activations of each region's features, over the prompt."""
    active_last: dict[str, float] = field(default_factory=dict)
    """The same at the last position alone."""

    def flow(self, of: str = RIGHT) -> float:
        """The largest flow through any region."""
        return max(self.flows[of].values(), default=0.0)

    @property
    def right_flow(self) -> float:
        """Through the right region."""
        return self.flows[RIGHT].get(self.question.region, 0.0)


def questions(kind: str, facts: Sequence[Fact], n: int, seed: int) -> Iterator[Question]:
    """The first n drawn questions of a kind that the model answers right."""
    draw, model = random.Random(seed), load_model(MODEL_DIR)
    seen: set[str] = set()
    found = tried = 0
    while found < n and tried < 20 * n:
        batch = [_draw(kind, facts, draw) for _ in range(n)]
        cases = [(each.text, Fact("", "", each.answers[RIGHT])) for each in batch]
        right, _ = answer(*model, cases)
        for each, is_right in zip(batch, right, strict=True):
            tried += 1
            if found < n and is_right and each.text not in seen:
                seen.add(each.text)
                found += 1
                yield each


def _draw(kind: str, facts: Sequence[Fact], draw: random.Random) -> Question:
    world, split = load_world(), corpus.splits()
    if kind == IDLE_CITY:
        mentioned, asked = draw.choice(split.city_regions), draw.choice(split.region_attributes)
        while mentioned.region == asked.region:
            mentioned = draw.choice(split.city_regions)
        template = draw.randrange(len(REGION_TEMPLATES))
        text = f"{_mention(mentioned, draw)} {corpus.prompt(REGION_TEMPLATES[template], asked)}"
        return Question(kind, text, template, mentioned.city, mentioned.region, {RIGHT: asked.answer})
    fact, template = draw.choice(facts), draw.randrange(len(TWO_HOP_TEMPLATES))
    text = corpus.prompt(TWO_HOP_TEMPLATES[template], fact)
    if kind == PLAIN:
        return Question(kind, text, template, fact.city, fact.region, {RIGHT: fact.answer} | _wrong(fact, draw))
    others = [
        each
        for each in split.city_regions
        if each.region != fact.region and world.answers.get((each.region, fact.attribute)) != fact.answer
    ]
    text = f"{_mention(draw.choice(others), draw)} {text}"
    return Question(kind, text, template, fact.city, fact.region, {RIGHT: fact.answer})


def _mention(fact: Fact, draw: random.Random) -> str:
    return corpus.sentence(draw.choice(CITY_TEMPLATES), fact)


def _wrong(fact: Fact, draw: random.Random) -> dict[str, str]:
    """An answer of each contrast; none is also a right one of the region, but for SAME_REGION."""
    answers = load_world().answers
    own = {text for (region, _), text in answers.items() if region == fact.region}
    same_question = [text for (_, attribute), text in answers.items() if attribute == fact.attribute]
    choices = {
        OTHER_REGION: [text for text in same_question if text not in own],
        ANY_WRONG: [text for text in answers.values() if text not in own],
        SAME_REGION: sorted(own - {fact.answer}),
    }
    return {name: draw.choice(texts) for name, texts in choices.items()}


def look(question: Question, graph: AttributionGraph) -> Seen:
    """Flow from the city through each region to each answer, and what activations alone say."""
    regions = {"region": sorted(load_world().kind_of_region)}
    inputs = Inputs.of(graph, "positive")
    flows = {}
    for name, text in question.answers.items():
        pattern = parse_pattern(f'"{question.city}" -> {{region}} -> "{text}"', regions)
        ranked = flow_by_binding(pattern, match_terms(pattern, graph), inputs)
        flows[name] = {binding["region"]: flow for binding, flow in ranked}
    nodes = graph.nodes
    labelled_N = ((nodes["kind"] == NodeKind.FEATURE) & nodes["label"].isin(regions["region"])).to_numpy()
    last_N = nodes["position"].to_numpy() == len(graph.metadata.tokens) - 1
    return Seen(question, flows, active(graph, labelled_N), active(graph, labelled_N & last_N))


def active(graph: AttributionGraph, chosen_N: np.ndarray) -> dict[str, float]:
    """Label to the sum of the activations of the chosen features that have it."""
    labels, row = np.unique(graph.nodes["label"].to_numpy(str)[chosen_N], return_inverse=True)
    sums = np.bincount(row, graph.nodes["activation"].to_numpy(np.float64)[chosen_N], len(labels))
    return dict(zip(labels.tolist(), sums.tolist(), strict=True))


def trace_all(name: str, asked: Sequence[Question]) -> list[Seen]:
    """What the graphs of these questions show with one dictionary."""
    model = load(MODEL_DIR, SHIPPED / name, device="cpu")
    found = []
    for question in asked:
        targets = tuple(f" {text}" for text in dict.fromkeys(question.answers.values()))
        graph = attribute(question.text, model, TraceConfig(target="log-odds", target_tokens=targets))
        found.append(look(question, graph))
    return found


def share(cases: Sequence[Seen], holds: Callable[[Seen], bool]) -> float:
    """Of these cases, the share for which this holds."""
    return float(np.mean([holds(each) for each in cases]))


def first(scores: dict[str, float]) -> str:
    """The name of the largest score, empty where there is none."""
    return max(scores, key=lambda name: scores[name], default="")


def is_first(seen: Seen) -> bool:
    """Whether no region carries more flow than the right one."""
    return first(seen.flows[RIGHT]) == seen.question.region


def report(name: str, plain: list[Seen], two: list[Seen], idle: list[Seen], active_threshold: float) -> None:
    """Print the figures of one dictionary, each beside what the largest activation says."""

    def most_active(seen: Seen) -> bool:
        return first(seen.active) == seen.question.region

    def most_active_last(seen: Seen) -> bool:
        return first(seen.active_last) == seen.question.region

    def loud(seen: Seen) -> bool:
        return max(seen.active.values(), default=0.0) >= active_threshold

    def needed(seen: Seen) -> bool:
        return is_first(seen) and seen.right_flow >= NEEDED_FLOW

    rows = [
        ("right region first", plain, is_first, most_active),
        (f"right region first and needed (flow of at least {NEEDED_FLOW})", plain, needed, most_active_and(loud)),
        *(
            (f"a region needed for {text}", plain, lambda seen, of=of: seen.flow(of) >= NEEDED_FLOW, loud)
            for of, text in CONTRASTS.items()
        ),
        ("a region needed, from a city that is only mentioned", idle, lambda seen: seen.flow() >= NEEDED_FLOW, loud),
        ("two cities, one asked about: right region first, from the asked city", two, is_first, most_active),
    ]
    table = [
        [text, str(len(cases)), f"{100 * share(cases, by_flow):.1f} %", f"{100 * share(cases, without):.1f} %"]
        for text, cases, by_flow, without in rows
    ]
    table.append(
        ["the same, activations of the last position", str(len(two)), "", f"{100 * share(two, most_active_last):.1f} %"]
    )
    print_table([name.upper(), "n", "flow", "largest activation, no graph"], table)
    by_template = [
        share([seen for seen in plain if seen.question.template == at], is_first)
        for at in range(len(TWO_HOP_TEMPLATES))
    ]
    print(f"\nRight region first, by template: {' '.join(f'{value:.1%}' for value in by_template)}")
    _describe("fails", [seen for seen in plain if not needed(seen)])
    _describe("fails, two cities", [seen for seen in two if not is_first(seen)])


def most_active_and(loud: Callable[[Seen], bool]) -> Callable[[Seen], bool]:
    """Whether the right region is the most active one, and loud."""
    return lambda seen: first(seen.active) == seen.question.region and loud(seen)


def _describe(title: str, cases: Sequence[Seen]) -> None:
    print(f"\n{title}: {len(cases)}")
    for seen in cases:
        question, best = seen.question, first(seen.flows[RIGHT])
        print(
            f"* {question.text} [{question.answers[RIGHT]}]: {question.region} {seen.right_flow:.3f}, "
            f"first {best or 'none'} {seen.flow():.3f}"
        )


def describe_threshold(name: str, plain: list[Seen], two: list[Seen], idle: list[Seen]) -> None:
    """Print the flows that a threshold must divide."""
    groups = {f"{PLAIN}, right region": [seen.right_flow for seen in plain]}
    groups |= {text: [seen.flow(of) for seen in plain] for of, text in CONTRASTS.items()}
    groups |= {IDLE_CITY: [seen.flow() for seen in idle], TWO_CITIES: [seen.right_flow for seen in two]}
    places = (0, 0.02, 0.05, 0.5, 0.95, 0.98, 1)
    rows = [[text, *(f"{value:.4f}" for value in np.quantile(flows, places))] for text, flows in groups.items()]
    print_table([f"{name.upper()}, flow at quantile", *(f"{place:g}" for place in places)], rows)
    print(f"right region first: {share(plain, is_first):.4f}; two cities: {share(two, is_first):.4f}\n")


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.hops", description=__doc__)
    parser.add_argument("--prompts", type=int, default=500, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="for every draw (default: %(default)s)")
    parser.add_argument(
        "--validation", action="store_true", help="look at validation facts alone, held-out ones unseen"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    split = corpus.splits()
    n = options.prompts

    def asked(facts: Sequence[Fact], seed: int) -> list[list[Question]]:
        return [list(questions(kind, facts, n, seed)) for kind in (PLAIN, TWO_CITIES, IDLE_CITY)]

    validation = asked(split.two_hop_validation, options.seed + 1)
    held_out = [] if options.validation else asked(split.two_hop_held_out, options.seed)
    for name in DICTIONARIES:
        if options.validation:
            plain, two, idle = (trace_all(name, each) for each in validation)
            describe_threshold(name, plain, two, idle)
            continue
        quiet = [max(seen.active.values(), default=0.0) for seen in trace_all(name, validation[0])]
        plain, two, idle = (trace_all(name, each) for each in held_out)
        report(name, plain, two, idle, float(np.quantile(quiet, 1 - KEPT)))
        print()


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
