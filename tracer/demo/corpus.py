"""The demo model's sentences, their split into training and held-out facts, and the tokenizer that reads them.

Every sentence ends in its answer and a full stop, so a prompt is the sentence without those two tokens. The split
follows from a seed: whoever calls `splits()` gets the very facts the shipped model was trained on.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.demo.world import COUNTRY, STATE, World, load_world

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TWO_HOP_TEMPLATES = (
    "Fact: the {attribute} of the {kind} containing {city} is {answer}.",
    "The {attribute} of the {kind} where {city} is located is {answer}.",
    "{city} lies in a {kind} whose {attribute} is {answer}.",
    "The {kind} containing {city} has the {attribute} {answer}.",
)
CITY_TEMPLATES = (
    "Fact: the {kind} containing {city} is {region}.",
    "The city of {city} is located in the {kind} of {region}.",
    "{city} is a city in {region}.",
)
REGION_TEMPLATES = (
    "Fact: the {attribute} of {region} is {answer}.",
    "The {attribute} of the {kind} of {region} is {answer}.",
    "{region} is a {kind} whose {attribute} is {answer}.",
)

# Always held out, because they are shown: the demo must not show a fact that was trained.
SHOWCASE = (
    ("Dallas", "capital"),
    ("Dallas", "nickname"),
    ("Houston", "capital"),
    ("Fort Worth", "capital"),
    ("El Paso", "capital"),
    ("Oakland", "capital"),
    ("Chicago", "capital"),
    ("Osaka", "currency"),
)

BOS_ID, EOS_ID, PAD_ID, UNK_ID = 1, 2, 0, 3


@dataclass(frozen=True)
class Fact:
    """One thing a sentence says."""

    region: str
    """The state or country; in a two-hop sentence it is never named."""

    kind: str
    """`state` or `country`."""

    answer: str
    """The name that completes the sentence."""

    city: str = ""
    """The city the sentence starts from, or empty."""

    attribute: str = ""
    """What is asked about the region, or empty where the region itself is the answer."""


@dataclass(frozen=True)
class Splits:
    """All facts, divided by what the model may see."""

    two_hop_train: tuple[Fact, ...]
    """City and attribute combinations that training sentences are made of."""

    two_hop_held_out: tuple[Fact, ...]
    """A fixed tenth of the combinations, in no training sentence of any template; nothing was chosen by them."""

    two_hop_validation: tuple[Fact, ...]
    """Another tenth, as little trained on: sizes, steps and thresholds of the recipes were chosen by these."""

    two_hop_ood: tuple[Fact, ...]
    """All combinations of cities that occur in no two-hop training sentence at all, only in one-hop ones."""

    city_regions: tuple[Fact, ...]
    """One-hop: which region a city lies in. All are trained."""

    region_attributes: tuple[Fact, ...]
    """One-hop: a region's attribute. All are trained."""


@lru_cache(maxsize=4)
def splits(seed: int = 0, held_out: float = 0.2, ood_cities: float = 0.04) -> Splits:
    """The facts of the world, split; the same seed always gives the same split.

    Args:
        seed: 0 is the split of the shipped model.
        held_out: Share of the two-hop combinations kept out of training, one half of it for validation.
        ood_cities: Share of the cities kept out of every two-hop sentence.
    """
    world = load_world()
    draw = random.Random(seed)
    cities = sorted(world.region_of_city)
    shown_cities = {city for city, _ in SHOWCASE}
    never_two_hop = set(
        draw.sample([city for city in cities if city not in shown_cities], int(len(cities) * ood_cities))
    )
    train, held, ood = [], [], []
    for city in cities:
        region = world.region_of_city[city]
        for attribute in world.attributes_of(region):
            fact = Fact(region, world.kind_of_region[region], world.answers[region, attribute], city, attribute)
            drawn = draw.random() < held_out  # drawn for every combination, so that editing SHOWCASE moves nothing else
            if city in never_two_hop:
                ood.append(fact)
            elif drawn or (city, attribute) in SHOWCASE:
                held.append(fact)
            else:
                train.append(fact)
    city_regions = tuple(
        Fact(region, world.kind_of_region[region], region, city)
        for city, region in sorted(world.region_of_city.items())
    )
    region_attributes = tuple(
        Fact(region, world.kind_of_region[region], answer, attribute=attribute)
        for (region, attribute), answer in world.answers.items()
    )
    validation = tuple(fact for fact in held[::2] if (fact.city, fact.attribute) not in SHOWCASE)
    held_out_facts = tuple(fact for fact in held if fact not in validation)
    return Splits(tuple(train), held_out_facts, validation, tuple(ood), city_regions, region_attributes)


def sentence(template: str, fact: Fact) -> str:
    """The whole sentence, answer and full stop included."""
    return template.format(**vars(fact))


def prompt(template: str, fact: Fact) -> str:
    """The sentence up to the answer, without the space before it (the space belongs to the answer's token)."""
    return sentence(template, fact).removesuffix(f" {fact.answer}.")


def training_sentences(split: Splits) -> dict[str, list[str]]:
    """Every single-sentence training text, by kind: `two_hop`, `city`, `region`."""
    return {
        "two_hop": [sentence(template, fact) for template in TWO_HOP_TEMPLATES for fact in split.two_hop_train],
        "city": [sentence(template, fact) for template in CITY_TEMPLATES for fact in split.city_regions],
        "region": [sentence(template, fact) for template in REGION_TEMPLATES for fact in split.region_attributes],
    }


def training_pairs(split: Splits, count: int, seed: int = 0) -> list[str]:
    """Two training sentences in a row, a city's region first.

    They teach the model to keep a city that is only mentioned apart from the one it is asked about, which the
    contrast prompts of the demo rest on.
    """
    draw = random.Random(seed)
    pairs = []
    for _ in range(count):
        first = draw.choice(split.city_regions)
        templates, facts = draw.choice(
            (
                (TWO_HOP_TEMPLATES, split.two_hop_train),
                (TWO_HOP_TEMPLATES, split.two_hop_train),
                (REGION_TEMPLATES, split.region_attributes),
            )
        )
        second = draw.choice(facts)
        pairs.append(sentence(draw.choice(CITY_TEMPLATES), first) + " " + sentence(draw.choice(templates), second))
    return pairs


def vocabulary(world: World) -> dict[str, int]:
    """Token to id: every name whole, with and without the space before it, and the words of the templates."""
    words: set[str] = set()
    for name in world.names():
        words |= {name, " " + name}
    for template in TWO_HOP_TEMPLATES + CITY_TEMPLATES + REGION_TEMPLATES:
        plain = re.sub(r" ?\{\w+\}", "", template)
        words.update(re.findall(r" ?[A-Za-z]+|[^A-Za-z ]", plain))
        words.update(" " + word for word in re.findall(r"^[A-Za-z]+", plain))  # the start of a second sentence
    for phrase in {attribute for _, attribute in world.answers} | {STATE, COUNTRY}:
        words.update(" " + word for word in phrase.split())
    special = {"<pad>": PAD_ID, "<bos>": BOS_ID, "<eos>": EOS_ID, "<unk>": UNK_ID}
    return special | {word: len(special) + rank for rank, word in enumerate(sorted(words))}


def build_tokenizer(world: World, folder: Path | None = None) -> PreTrainedTokenizerFast:
    """A word-level tokenizer in which each name is one token; saved to `folder` in Hugging Face format if given."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    # Longest first, or "Virginia" would match inside "Virginia Beach".
    many_words = sorted((name for name in world.names() if not re.fullmatch("[A-Za-z]+", name)), key=len, reverse=True)
    whole_names = "|".join(re.sub(r"([.+])", r"\\\1", name) for name in many_words)
    pattern = f" ?(?:{whole_names})(?![A-Za-z0-9])| ?[A-Za-z]+| ?[0-9]+|[^A-Za-z0-9 ]| "
    backend = Tokenizer(models.WordLevel(vocabulary(world), unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    backend.decoder = decoders.Fuse()
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS_ID)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        model_max_length=64,
    )
    if folder is not None:
        tokenizer.save_pretrained(str(folder))
    return tokenizer
