"""The demo's 24 prompts, with what each names, asks and should show; and the names that can play each role.

Sixteen are two-hop questions about held-out combinations of city and attribute. Eight are contrasts: in four a
sentence about another city comes first, in four a city is mentioned that the question has no use for, so that no
path from it through its region should carry the answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tracer.demo import corpus
from tracer.demo.corpus import CITY_TEMPLATES, REGION_TEMPLATES, TWO_HOP_TEMPLATES, Fact
from tracer.demo.train_transcoders import load_model
from tracer.demo.world import load_world

TWO_HOP, TWO_CITIES, IDLE_CITY = "two-hop", "two-cities", "idle-city"

# template number, city, attribute
_TWO_HOP_PROMPTS = (
    (0, "Dallas", "capital"),
    (0, "Houston", "capital"),
    (1, "Fort Worth", "capital"),
    (2, "El Paso", "capital"),
    (0, "Oakland", "capital"),
    (1, "Chicago", "capital"),
    (0, "Detroit", "capital"),
    (3, "Dallas", "nickname"),
    (2, "San Francisco", "nickname"),
    (3, "Memphis", "largest city"),
    (2, "Seattle", "flower"),
    (0, "Osaka", "currency"),
    (1, "Munich", "capital"),
    (2, "Shanghai", "capital"),
    (3, "Lagos", "currency"),
    (1, "Rio de Janeiro", "official language"),
)

# other city and the template of its sentence; then the asked city, its template and attribute
_TWO_CITIES_PROMPTS = (
    ("Dallas", 2, "Oakland", 0, "capital"),
    ("Seattle", 1, "Dallas", 0, "capital"),
    ("Miami", 2, "Detroit", 1, "capital"),
    ("Kyoto", 2, "Munich", 1, "capital"),
)

# idle city and the template of its sentence; then the region asked about, its template and attribute
_IDLE_CITY_PROMPTS = (
    ("Dallas", 2, "Oregon", 0, "capital"),
    ("Chicago", 2, "Nevada", 0, "nickname"),
    ("Lyon", 0, "Japan", 1, "currency"),
    ("Osaka", 1, "Brazil", 2, "official language"),
)


@dataclass(frozen=True)
class DemoPrompt:
    """One line of prompts.jsonl."""

    slug: str
    """Short name, unique."""

    text: str
    """What the model reads."""

    family: str
    """`two-hop`, `two-cities` or `idle-city`."""

    asks: str
    """The attribute asked for."""

    roles: dict[str, str]
    """The city whose circuit is looked for, its region, and the answer to the prompt."""

    expects: str
    """`found` if city -> region -> answer should carry the answer, `absent` if it should not."""

    note: str
    """What to look for."""

    other: dict[str, str] | None = None
    """The city and region of the first sentence, where that is not the one asked about."""

    def as_json(self) -> dict[str, Any]:
        """The line, without the fields that do not apply."""
        line = {
            "slug": self.slug,
            "text": self.text,
            "family": self.family,
            "split": "held-out" if self.family == TWO_HOP else "contrast",
            "asks": self.asks,
            "roles": self.roles,
            "expects": self.expects,
            "note": self.note,
        }
        return line | ({"other": self.other} if self.other else {})


def demo_prompts() -> list[DemoPrompt]:
    """All 24, in the order they are shown."""
    world = load_world()
    prompts = []
    for template, city, attribute in _TWO_HOP_PROMPTS:
        fact = _held_out(city, attribute)
        prompts.append(
            DemoPrompt(
                slug=_slug(TWO_HOP, city, attribute),
                text=corpus.prompt(TWO_HOP_TEMPLATES[template], fact),
                family=TWO_HOP,
                asks=attribute,
                roles={"city": city, "region": fact.region, "answer": fact.answer},
                expects="found",
                note=f"{city} -> {fact.region} -> {fact.answer}; no training sentence joins {city} and its {attribute}",
            )
        )
    for other, other_template, city, template, attribute in _TWO_CITIES_PROMPTS:
        fact = _held_out(city, attribute)
        other_region = world.region_of_city[other]
        prompts.append(
            DemoPrompt(
                slug=_slug(TWO_CITIES, city, attribute, "after", other),
                text=f"{_mention(other, other_template)} {corpus.prompt(TWO_HOP_TEMPLATES[template], fact)}",
                family=TWO_CITIES,
                asks=attribute,
                roles={"city": city, "region": fact.region, "answer": fact.answer},
                expects="found",
                note=f"through {fact.region}, not through {other_region}: {other} is mentioned, {city} is asked about",
                other={"city": other, "region": other_region},
            )
        )
    for city, city_template, region, template, attribute in _IDLE_CITY_PROMPTS:
        answer = world.answers[region, attribute]
        asked = Fact(region, world.kind_of_region[region], answer, attribute=attribute)
        prompts.append(
            DemoPrompt(
                slug=_slug(IDLE_CITY, city, "while asking", region, attribute),
                text=f"{_mention(city, city_template)} {corpus.prompt(REGION_TEMPLATES[template], asked)}",
                family=IDLE_CITY,
                asks=attribute,
                roles={"city": city, "region": world.region_of_city[city], "answer": answer},
                expects="absent",
                note=f"{city} is only mentioned; the answer is about {region}",
            )
        )
    return prompts


def write(model_dir: Path, out: Path) -> list[DemoPrompt]:
    """Check that the model answers every demo prompt, then write prompts.jsonl and roles.json to `out`.

    Raises:
        ValueError: The model gives another answer.
    """
    model, tokenizer = load_model(model_dir)
    prompts = demo_prompts()
    for prompt in prompts:
        tokens_1P = torch.tensor([tokenizer(prompt.text)["input_ids"]])
        said = tokenizer.decode([int(model(tokens_1P).logits[0, -1].argmax())]).strip()
        if said != prompt.roles["answer"]:
            raise ValueError(
                f"the model answers {said!r} to {prompt.text!r}; expected {prompt.roles['answer']!r}. "
                "Train the model longer, or replace this prompt in tracer/demo/prompts.py"
            )
    with (out / "prompts.jsonl").open("w") as file:
        file.writelines(json.dumps(prompt.as_json()) + "\n" for prompt in prompts)
    world = load_world()
    roles = {
        "city": sorted(world.region_of_city),
        "region": sorted(world.kind_of_region),
        "answer": sorted(set(world.answers.values())),
    }
    (out / "roles.json").write_text(json.dumps(roles) + "\n")
    return prompts


def _held_out(city: str, attribute: str) -> Fact:
    for fact in (*corpus.splits().two_hop_held_out, *corpus.splits().two_hop_validation):
        if (fact.city, fact.attribute) == (city, attribute):
            return fact
    raise ValueError(
        f"{city!r} and {attribute!r} are not held out, so a demo prompt may not use them; "
        "choose another combination, or add this one to SHOWCASE in tracer/demo/corpus.py and train again"
    )


def _mention(city: str, template: int) -> str:
    region = load_world().region_of_city[city]
    return corpus.sentence(CITY_TEMPLATES[template], Fact(region, load_world().kind_of_region[region], region, city))


def _slug(*parts: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower())
