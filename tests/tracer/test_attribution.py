"""attribute(): what a graph holds, in which order, and what it refuses."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import tracer
from tests.tracer.small import (
    D_MODEL,
    N_LAYERS,
    N_VOCAB,
    PROMPT,
    WORDS,
    Dictionary,
    write_dictionary,
    write_model,
    write_tokenizer,
)
from tracer import AttributionGraph, TraceConfig
from tracer.errors import DictionaryError, PromptError, SettingError
from tracer.influence import influence
from tracer.prompt import token_id
from tracer.schema import NodeKind, node_id

FEATURE, ERROR, TOKEN, LOGIT, BIAS = NodeKind
TEXT = "the capital of Texas is"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama with tokenizer, and a cross-layer dictionary with a label."""
    folder = tmp_path_factory.mktemp("traced")
    write_model(folder / "tiny", "llama")
    words = (*WORDS, *(f"word{i}" for i in range(N_VOCAB - len(WORDS))))
    write_tokenizer(folder / "tiny", add_bos=True, words=words)
    write_dictionary(folder / "clt", Dictionary(cross_layer=True))
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return tracer.load(folder / "tiny", folder / "clt")


@pytest.fixture(scope="module")
def graph(model):
    return tracer.attribute(TEXT, model)


def of_kind(graph, kind, name) -> np.ndarray:
    """One column of the nodes of one kind."""
    return graph.nodes[name].to_numpy()[graph.slice_of(kind)]


def with_tokenizer(model, tmp_path, add_bos):
    """The same model with a tokenizer of another rule."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(write_tokenizer(tmp_path, add_bos))
    return dataclasses.replace(model, adapter=type(model.adapter)(model.adapter.model, tokenizer, "tiny", tmp_path))


# ---------------------------------------------------------------- what a graph holds


def test_nodes_stand_in_order(model, graph):
    nodes, n_pos = graph.nodes, 6
    features = nodes[graph.slice_of(FEATURE)]
    places = list(features[["layer", "position", "index"]].itertuples(index=False, name=None))
    assert len(places) > 50 and places == sorted(places)
    errors = nodes[graph.slice_of(ERROR)]
    expected = [(layer, p) for layer in range(N_LAYERS) for p in range(n_pos)]
    assert list(zip(errors["layer"], errors["position"], strict=True)) == expected
    tokens = nodes[graph.slice_of(TOKEN)]
    assert tokens["label"].tolist() == ["<bos>", *TEXT.split()] == list(graph.metadata.tokens)
    assert tokens["index"].tolist() == [WORDS.index(word) for word in ("<bos>", *TEXT.split())]
    outputs = nodes[graph.slice_of(LOGIT)]
    assert (outputs["position"] == n_pos - 1).all() and (outputs["layer"] == N_LAYERS).all()
    assert outputs["probability"].is_monotonic_decreasing
    columns = (nodes[name].tolist() for name in ("kind", "layer", "position", "index"))
    ids = [node_id(NodeKind(kind), a, b, c, N_LAYERS) for kind, a, b, c in zip(*columns, strict=True)]
    assert nodes["node_id"].tolist() == ids


def test_outputs_are_taken_until_they_reach_the_probability(model):
    token_P = torch.tensor(PROMPT)
    probability_V = model.adapter.observe(token_P).logits_PV[-1].softmax(-1)
    for share, most in ((0.5, 10), (0.95, 10), (0.95, 3)):
        config = TraceConfig(desired_logit_prob=share, max_n_logits=most)
        graph = tracer.attribute(PROMPT, model, config)
        found = of_kind(graph, LOGIT, "probability")
        assert np.allclose(found, probability_V.topk(len(found)).values.cpu())
        assert len(found) == most or found.sum() >= share > found[:-1].sum()


def test_everything_but_features_and_outputs_has_no_input(graph):
    kinds = graph.nodes["kind"].to_numpy()
    assert set(kinds[graph.edges.target]) == {FEATURE, LOGIT}
    assert set(kinds[graph.edges.source]) == {FEATURE, ERROR, TOKEN, BIAS}


def test_scores_and_influence_are_shares(graph):
    about = graph.metadata
    assert 0 < about.replacement_score < 1 and 0 < about.completeness_score < 1
    assert graph.nodes["influence"].between(0, 1).all()
    weight_N = graph.logit_weight_N / graph.logit_weight_N.sum()
    edges = graph.edges
    again_N = influence(edges.source, edges.target, edges.effect, weight_N) + weight_N
    assert np.allclose(graph.nodes["influence"], again_N, atol=1e-6)
    assert of_kind(graph, LOGIT, "influence").sum() == pytest.approx(1)


def test_the_pruned_graph_is_a_part(graph):
    kept = graph.nodes["kept"].to_numpy()
    assert 0 < graph.edges.kept.sum() < len(graph.edges)
    assert kept[graph.edges.source[graph.edges.kept]].all() and kept[graph.edges.target[graph.edges.kept]].all()
    assert not kept[graph.slice_of(FEATURE)].all()
    for kind in (ERROR, TOKEN, LOGIT, BIAS):
        assert kept[graph.slice_of(kind)].all()


def test_the_same_inputs_give_the_same_graph(folder, graph):
    again = tracer.attribute(TEXT, tracer.load(folder / "tiny", folder / "clt"), slug="another-name")
    assert again.graph_id == graph.graph_id
    assert np.array_equal(again.edges.effect, graph.edges.effect)


def test_the_id_is_that_of_the_inputs_whatever_the_machine(folder, model, graph):
    """How the work is done does not enter; what is asked does, and the weights do."""
    ids = graph.metadata.provenance["token_ids"]
    same = [
        tracer.attribute(TEXT, model, TraceConfig(batch_size=3, verbose=True, device="cpu")),
        tracer.attribute(ids, model, slug="by-ids", roles={"region": "Texas"}),
        tracer.attribute(TEXT, model, TraceConfig(target_position=5)),
    ]
    assert {other.graph_id for other in same} == {graph.graph_id}
    wishes = [
        {"node_threshold": 0.7}, {"max_n_logits": 2}, {"keep_first_position": False}, {"bias_nodes": False},
        {"count_left_out": False},
        {"target": "log-odds"}, {"target_tokens": ("Austin",)}, {"target_position": 3}, {"answer": "Austin is"},
    ]  # fmt: skip
    others = [tracer.attribute(TEXT, model, TraceConfig(**wish)) for wish in wishes]
    others += [tracer.attribute(ids[:-1], model)]
    others += [tracer.attribute(TEXT, model, directions={"up": np.full(D_MODEL, size)}) for size in (1.0, 2.0)]
    others += [tracer.attribute(TEXT, tracer.load(folder / "tiny", folder / "clt", dtype="float64"))]
    assert len({other.graph_id for other in (graph, *others)}) == len(others) + 1


def test_other_weights_of_the_same_name_give_another_id(tmp_path, graph):
    words = (*WORDS, *(f"word{i}" for i in range(N_VOCAB - len(WORDS))))
    write_tokenizer(write_model(tmp_path / "tiny", "llama"), add_bos=True, words=words)
    dictionary = write_dictionary(tmp_path / "clt", Dictionary(cross_layer=True), seed=0)
    assert tracer.attribute(TEXT, tracer.load(tmp_path / "tiny", dictionary)).graph_id == graph.graph_id
    write_dictionary(dictionary, Dictionary(cross_layer=True), seed=1)
    assert tracer.attribute(TEXT, tracer.load(tmp_path / "tiny", dictionary)).graph_id != graph.graph_id


def test_the_same_inputs_give_the_same_bytes(tmp_path, model):
    """All but when it was, how long it took and how much memory it held, which only the provenance tells."""
    for name in ("one", "two"):
        tracer.attribute(TEXT, model).save(str(tmp_path / name))
    one, two = tmp_path / "one", tmp_path / "two"
    for name in ("nodes.parquet", "edges.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    ours, theirs = (json.loads((folder / "metadata.json").read_text()) for folder in (one, two))
    for about in (ours, theirs):
        for name in ("created", "wall_s", "peak_memory_mb"):
            about["provenance"].pop(name)
    assert ours == theirs


def test_a_part_of_a_graph_has_its_own_id(graph):
    assert graph.pruned().graph_id == graph.pruned().content_hash != graph.graph_id


def test_the_batch_size_changes_nothing_but_rounding(model, graph):
    other = tracer.attribute(TEXT, model, TraceConfig(batch_size=5))
    assert other.nodes["node_id"].tolist() == graph.nodes["node_id"].tolist()
    assert np.array_equal(other.edges.source, graph.edges.source)
    assert np.allclose(other.edges.effect, graph.edges.effect, rtol=1e-3, atol=1e-6)


def test_the_peers_settings_drop_the_first_position(model, graph):
    peer = tracer.attribute(TEXT, model, TraceConfig.like("circuit-tracer"))
    of_peer, ours = (g.nodes.query("kind == 'feature' and position == 0") for g in (peer, graph))
    assert len(ours) > 0 and len(of_peer) == 0
    first_errors = set(peer.nodes.query("kind == 'error' and position == 0").index)
    assert not first_errors & set(peer.edges.source)
    assert np.allclose(of_kind(peer, LOGIT, "influence"), of_kind(peer, LOGIT, "probability"))  # not scaled to sum to 1


def test_a_graph_survives_the_disk(tmp_path, graph):
    graph.save(str(tmp_path))
    again = AttributionGraph.load(str(tmp_path))
    assert again.graph_id == graph.graph_id and again.metadata == graph.metadata


def test_provenance_tells_how_to_make_it_again(folder, graph):
    about = graph.metadata.provenance
    assert about["token_ids"] == [2, 7, 8, 9, 5, 10]
    assert set(about["model"]["files"]) >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert set(about["dictionary"]["files"]) == {p.name for p in (folder / "clt").iterdir()}
    assert all(
        re.fullmatch("[0-9a-f]{64}", h) for part in ("model", "dictionary") for h in about[part]["files"].values()
    )
    assert about["config"]["node_threshold"] == 0.8 and about["config"]["device"] in ("cpu", "cuda:0")
    assert torch.__version__.startswith(about["versions"]["torch"])
    assert about["wall_s"] > 0 and (about["peak_memory_mb"] is None or about["peak_memory_mb"] > 100)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", about["created"])
    assert graph.metadata.model == "tiny" and graph.metadata.source_set == "tiny/clt"


def test_slug_and_roles_are_kept(model, graph):
    named = tracer.attribute(TEXT, model, slug="texas", roles={"region": "Texas"})
    assert (named.metadata.slug, named.metadata.roles) == ("texas", {"region": "Texas"})
    assert graph.metadata.slug == "the-capital-of-texas-is"


def test_progress_is_told(model):
    told = []
    graph = tracer.attribute(TEXT, model, TraceConfig(batch_size=50), progress=lambda *step: told.append(step))
    n_features = graph.slice_of(FEATURE).stop
    assert told[:N_LAYERS] == [(i + 1, N_LAYERS, "layers encoded") for i in range(N_LAYERS)]
    traced = told[N_LAYERS:]
    steps = np.diff([0, *(done for done, *_ in traced)])
    assert (steps > 0).all() and steps.max() <= 50 and steps.sum() == n_features
    assert {step[1:] for step in traced} == {(n_features, "features traced")}


@pytest.mark.parametrize(("dtype", "off"), [("float64", 1e-5), ("bfloat16", 0.1)])
def test_other_number_formats_give_nearly_the_same_effects(folder, graph, dtype, off):
    """Of the outputs on tokens and errors, which are nodes in every format."""
    other = tracer.attribute(TEXT, tracer.load(folder / "tiny", folder / "clt", dtype=dtype))
    assert other.metadata.provenance["config"]["dtype"] == dtype

    def effects(of):
        ids = of.nodes["node_id"].to_numpy()
        return dict(zip(zip(ids[of.edges.source], ids[of.edges.target], strict=True), of.edges.effect, strict=True))

    ours, theirs = effects(graph), effects(other)
    pairs = [pair for pair in ours.keys() & theirs.keys() if pair[0][0] == "E" and pair[1][0] == str(N_LAYERS + 1)]
    assert len(pairs) > 20
    one, two = (np.array([of[pair] for pair in pairs]) for of in (ours, theirs))
    assert np.linalg.norm(one - two) < off * np.linalg.norm(one)


# ---------------------------------------------------------------- choosing features


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell it in another way")
def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    held = bytearray(b"x") * (600 << 20)
    script = "from tracer.provenance import peak_memory_mb; print(peak_memory_mb())"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert len(held) / 1e6 > 600 > 400 > float(told.stdout) > 5


def test_with_fewer_nodes_the_most_influential_features_are_kept(model, graph):
    """With one at a time, the choice is the greedy one: always the most influential by the rows known so far."""
    everything = graph.slice_of(FEATURE).stop
    config = TraceConfig(max_feature_nodes=8, rank_every=1)
    chosen = tracer.attribute(TEXT, model, config).nodes.query("kind == 'feature'")["node_id"].tolist()
    edges, known = graph.edges, set(range(graph.slice_of(LOGIT).start, len(graph.nodes)))
    expected: list[int] = []
    for _ in range(8):
        rows = np.isin(edges.target, list(known))
        partial_N = influence(edges.source[rows], edges.target[rows], edges.effect[rows], graph.logit_weight_N)
        partial_N[expected] = -1
        expected.append(int(partial_N[:everything].argmax()))
        known.add(expected[-1])
    assert chosen == graph.nodes["node_id"].iloc[sorted(expected)].tolist()


def test_the_choice_does_not_depend_on_the_batch_size(model):
    graphs = [
        tracer.attribute(TEXT, model, TraceConfig(max_feature_nodes=30, rank_every=10, batch_size=n)) for n in (3, 100)
    ]
    assert graphs[0].nodes["node_id"].tolist() == graphs[1].nodes["node_id"].tolist()


def test_edges_between_chosen_features_are_those_of_the_whole_graph(model, graph):
    part = tracer.attribute(TEXT, model, TraceConfig(max_feature_nodes=20))
    assert part.slice_of(FEATURE).stop == 20

    def effects(of):
        ids = of.nodes["node_id"].to_numpy()
        return dict(zip(zip(ids[of.edges.source], ids[of.edges.target], strict=True), of.edges.effect, strict=True))

    whole, some = effects(graph), effects(part)
    assert set(some) <= set(whole)
    assert all(np.isclose(effect, whole[pair], rtol=1e-3, atol=1e-6) for pair, effect in some.items())


def test_shares_are_of_all_inputs_even_where_features_were_left_out(model, graph):
    part = tracer.attribute(TEXT, model, TraceConfig(max_feature_nodes=20))

    def shares(of):
        ids = of.nodes["node_id"].to_numpy()
        return dict(zip(zip(ids[of.edges.source], ids[of.edges.target], strict=True), of.edges.share, strict=True))

    whole, some = shares(graph), shares(part)
    assert all(np.isclose(share, whole[pair], rtol=1e-3, atol=1e-6) for pair, share in some.items())
    total_N = np.bincount(part.edges.target, part.edges.share, minlength=len(part.nodes))
    assert 0.1 < total_N[part.slice_of(LOGIT)].max() < 0.99  # the rest came from what was left out
    assert np.nanmax(np.abs(part.nodes["remainder"])) < 1e-5  # and is counted in


@pytest.mark.parametrize("limits", [{"max_feature_nodes": 20}, {"max_edges_per_node": 15}, {}])
def test_what_limits_leave_out_of_a_node_stands_in_it_so_that_every_row_still_adds_up(model, graph, limits):
    """By the whole graph: its effects that are no edges here sum to `left_out`, up to rounding of their sizes."""
    part = tracer.attribute(TEXT, model, TraceConfig(**limits))
    sums, sizes = ({}, {})
    for of, sign in ((graph, 1), (part, -1)):
        ids = of.nodes["node_id"].to_numpy()
        for target, effect in zip(ids[of.edges.target], of.edges.effect.tolist(), strict=True):
            sums[target] = sums.get(target, 0) + sign * effect
            sizes[target] = sizes.get(target, 0) + max(sign, 0) * abs(effect)
    left_N = part.nodes["left_out"].to_numpy()
    entered_N = part.nodes["node_id"].isin(sizes).to_numpy()
    assert np.isnan(left_N[~entered_N]).all() and bool(left_N[entered_N].any()) == bool(limits)
    for name, left in part.nodes.loc[entered_N, ["node_id", "left_out"]].itertuples(index=False):
        assert left == pytest.approx(sums[name], abs=1e-5 * sizes[name])


def test_leaving_features_out_raises_no_influence_and_no_score_unless_the_peer_is_asked_for(model, graph):
    part = tracer.attribute(TEXT, model, TraceConfig(max_feature_nodes=20))
    flattered = tracer.attribute(TEXT, model, TraceConfig(max_feature_nodes=20, count_left_out=False))
    whole = graph.nodes.set_index("node_id")["influence"]
    value_N, raised_N = (of.nodes["influence"].to_numpy() for of in (part, flattered))
    assert (value_N <= whole[part.nodes["node_id"]] + 1e-6).all() and (value_N <= raised_N + 1e-6).all()
    replacement, completeness = (
        [getattr(of.metadata, f"{name}_score") for of in (part, flattered, graph)]
        for name in ("replacement", "completeness")
    )
    assert replacement[0] < min(replacement[1:]) and completeness[0] < completeness[1]


# ---------------------------------------------------------------- targets


def test_log_odds_of_the_most_likely_token(model):
    graph = tracer.attribute(TEXT, model, TraceConfig(target="log-odds"))
    assert graph.metadata.target == "log-odds"
    assert of_kind(graph, LOGIT, "influence").tolist() == [1]  # one output: all weight is its own


def test_chosen_tokens_become_the_outputs(model):
    graph = tracer.attribute(TEXT, model, TraceConfig(target_tokens=("Austin", "Dallas")))
    assert of_kind(graph, LOGIT, "label").tolist() == ["Austin", "Dallas"]
    assert of_kind(graph, LOGIT, "index").tolist() == [6, 4]
    assert of_kind(graph, LOGIT, "influence").sum() == pytest.approx(1)


def test_a_token_given_twice_is_one_output(model):
    graph = tracer.attribute(TEXT, model, TraceConfig(target_tokens=("Austin", "Austin")))
    assert of_kind(graph, LOGIT, "label").tolist() == ["Austin"]


# ---------------------------------------------------------------- labels


def test_labels_of_the_dictionary_name_the_features(folder, model, graph):
    """`last` holds at the last position, `earlier` before it; below the measured activation there is no label."""
    features = graph.nodes[graph.slice_of(FEATURE)]
    last = features[features["position"] == 5].iloc[0]
    early = features[(features["position"] == 2) & (features["index"] != last["index"])].iloc[0]
    weak = features[features["position"] == 3].iloc[0]
    rows = [
        f"{last['layer']},{last['index']},last,say Austin,answer,0,,,,,measured",
        f"{early['layer']},{early['index']},earlier,capital,token,0,,,0.5,9,",
    ]
    if (weak["layer"], weak["index"]) not in {(r["layer"], r["index"]) for r in (last, early)}:
        rows.append(f"{weak['layer']},{weak['index']},earlier,never,token,{weak['activation'] * 1000},,,,,")
    path = folder / "clt" / "labels.csv"
    path.write_text("\n".join(["layer,index,where,text,concept,min_activation,precision,recall,f1,n,note", *rows]))
    try:
        labelled = tracer.attribute(TEXT, model)
    finally:
        path.unlink()
    nodes = labelled.nodes.set_index("node_id")
    assert nodes.loc[last["node_id"], ["label", "label_note"]].tolist() == ["say Austin", "measured"]
    assert nodes.loc[early["node_id"], ["label", "label_note"]].tolist() == ["capital", "F1 0.50, n=9"]
    assert "never" not in set(nodes["label"])
    assert labelled.graph_id == graph.graph_id  # a label is no result


# ---------------------------------------------------------------- prompts


def test_the_first_token_comes_by_the_tokenizers_own_rule(model, tmp_path):
    for add_bos in (True, False):  # one that adds none gets it all the same, once
        other = with_tokenizer(model, tmp_path / str(add_bos), add_bos)
        assert tracer.attribute("the capital", other).metadata.tokens == ("<bos>", "the", "capital")


def test_a_first_token_that_the_text_has_is_not_doubled_by_the_tokenizers_rule(model, tmp_path):
    other = with_tokenizer(model, tmp_path, add_bos=True)
    assert tracer.attribute("<bos> the capital", other).metadata.tokens == ("<bos>", "the", "capital")


def test_like_the_peer_a_text_without_first_token_begins_with_the_one_that_ends_texts(model, tmp_path):
    other = with_tokenizer(model, tmp_path, add_bos=False)
    other.adapter.tokenizer.bos_token = None
    first = [
        tracer.attribute("the capital", other, config).metadata.tokens[0]
        for config in (TraceConfig(), TraceConfig.like("circuit-tracer"))
    ]
    assert first == ["the", "<eos>"]


@pytest.mark.parametrize("prompt", [None, 5, b"is", [{"role": "user"}], [{"role": "user", "content": None}]])
def test_what_is_no_prompt_is_refused(model, prompt):
    with pytest.raises(PromptError, match=r"the prompt is a .*; expected a text, token ids|message 0 is .*; expected"):
        tracer.attribute(prompt, model)


def test_a_first_token_that_is_there_is_not_added_again(model, tmp_path):
    other = with_tokenizer(model, tmp_path, add_bos=False)
    assert tracer.attribute("<bos> the capital", other).metadata.tokens == ("<bos>", "the", "capital")


def test_a_first_token_of_id_zero_counts(model, tmp_path):
    from transformers import AutoTokenizer

    words = ("<bos>", "<eos>", "<pad>", "<unk>", *WORDS[4:])
    tokenizer = AutoTokenizer.from_pretrained(write_tokenizer(tmp_path, add_bos=False, words=words))
    adapter = type(model.adapter)(model.adapter.model, tokenizer, "tiny", tmp_path)
    graph = tracer.attribute("the", dataclasses.replace(model, adapter=adapter))
    assert graph.metadata.provenance["token_ids"] == [0, 7]


def test_token_ids_are_taken_as_they_are(model):
    graph = tracer.attribute([7, 8], model)
    assert graph.metadata.tokens == ("the", "capital") and graph.metadata.prompt == "the capital"


def test_a_single_token_can_be_traced(model):
    for config in (TraceConfig(), TraceConfig.like("circuit-tracer")):
        graph = tracer.attribute([5], model, config)
        assert graph.metadata.tokens == ("Texas",) and len(graph.edges) > 0


def test_a_model_without_tokenizer_is_traced_by_ids(tmp_path):
    model = tracer.load(write_model(tmp_path / "m", "llama"), write_dictionary(tmp_path / "d", Dictionary()))
    graph = tracer.attribute(PROMPT, model)
    assert graph.metadata.tokens[:2] == ("#2", "#17") and graph.metadata.prompt.startswith("#2 #17")
    with pytest.raises(PromptError, match=r"m has no tokenizer.*expected token ids"):
        tracer.attribute("text", model)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", r"the prompt is empty \(''\); expected a text"),
        (" \n", "the prompt is empty"),
        ([], "the prompt is empty; expected at least one token"),
        ([2, 64], "token id 64 at position 1 is out of range; tiny has ids 0 to 63"),
        (["the", "capital"], "the prompt holds 'the' at position 0; expected a text, or a sequence of token ids"),
        ([-1], "token id -1 at position 0 is out of range"),
        ([2] * 33, "the prompt has 33 tokens; tiny can read 32. Shorten the prompt"),
        ("the capital of Atlantis is", "'Atlantis' is not in the vocabulary of tiny"),
    ],
)
def test_a_prompt_that_cannot_be_traced_is_refused_before_any_work(model, monkeypatch, prompt, message):
    monkeypatch.setattr(type(model), "linearise", lambda *_: pytest.fail("work was done"))
    with pytest.raises(PromptError, match=message):
        tracer.attribute(prompt, model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Austin Texas", r"target token 'Austin Texas' is 2 tokens \('Austin', 'Texas'\) of tiny; expected one token"),
        ("", r"target token '' is 0 tokens \(none\)"),
        ("Atlantis", "target token 'Atlantis' is not in the vocabulary of tiny; expected one token. Give one of the"),
    ],
)
def test_a_target_that_is_not_one_token_is_refused_before_any_work(model, monkeypatch, text, message):
    monkeypatch.setattr(type(model), "linearise", lambda *_: pytest.fail("work was done"))
    with pytest.raises(PromptError, match=message):
        tracer.attribute(TEXT, model, TraceConfig(target_tokens=(text,)))


def test_a_target_that_lacks_its_space_is_told_so(model, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(Unigram([("<unk>", 0.0), ("▁Austin", -1.0), ("Aus", -1.0), ("tin", -1.0)], unk_id=0))
    pieces.pre_tokenizer = Metaspace(prepend_scheme="never")
    adapter = type(model.adapter)(
        model.adapter.model, PreTrainedTokenizerFast(tokenizer_object=pieces), "tiny", tmp_path
    )
    assert token_id(" Austin", adapter) == 1
    with pytest.raises(PromptError, match=r"'Austin' is 2 tokens \('Aus', 'tin'\).* Give ' Austin', with the space"):
        token_id("Austin", adapter)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "Set batch_size="),
        (torch.OutOfMemoryError("CUDA out of memory."), "Set batch_size="),
        (MemoryError(), "Set batch_size="),
    ],
)
def test_memory_that_runs_out_is_told_with_the_size_that_fits(model, monkeypatch, error, remedy):
    from tracer import memory
    from tracer.effects import DirectEffects

    def fail(*_):
        raise error

    monkeypatch.setattr(DirectEffects, "rows", fail)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 200_000)
    with pytest.raises(SettingError, match=rf"memory of \S+ did not suffice for rows of 6 tokens .*{remedy}") as told:
        tracer.attribute(TEXT, model)
    fits = int(re.search(r"batch_size=(\d+)", str(told.value))[1])  # type: ignore[index]
    assert 1 <= fits < 256
    monkeypatch.setattr(memory, "free_bytes", lambda _: 10**12)
    with pytest.raises(SettingError, match="Shorten the prompt, lower max_feature_nodes, or free memory"):
        tracer.attribute(TEXT, model)


@pytest.mark.parametrize("given", ["path/to/model", None])
def test_what_is_no_loaded_model_is_told_so(model, given):
    for call in (tracer.attribute, tracer.expected_cost):
        with pytest.raises(SettingError, match=r"is of type \w+; expected what `tracer.load\(model, transcoders\)`"):
            call(TEXT, given)
    with pytest.raises(SettingError, match="Give the prompt first"):
        tracer.attribute(model, TEXT)  # pyright: ignore[reportArgumentType]


def test_a_model_and_a_graph_are_one_line_at_a_prompt(model, graph):
    n_nodes, n_edges = len(graph.nodes), len(graph.edges.source)
    assert f"{graph.metadata.slug!r}: {n_nodes:,} nodes, {n_edges:,} edges, of" in repr(graph)
    assert f"{model.adapter.n_layers} layers of width {model.adapter.d_model}, on cpu" in repr(model)
    assert "\n" not in repr(graph) + repr(model) and len(repr(graph)) < 200 and len(repr(model)) < 200


def test_an_error_that_is_not_about_memory_stays_what_it_is(model, monkeypatch):
    from tracer.effects import DirectEffects

    monkeypatch.setattr(DirectEffects, "rows", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        tracer.attribute(TEXT, model)


def test_broken_labels_are_refused_before_any_work(folder, model, monkeypatch):
    monkeypatch.setattr(type(model), "linearise", lambda *_: pytest.fail("work was done"))
    path = folder / "clt" / "labels.csv"
    path.write_text("nonsense\n")
    try:
        with pytest.raises(DictionaryError, match="lacks the column 'layer'"):
            tracer.attribute(TEXT, model)
    finally:
        path.unlink()
