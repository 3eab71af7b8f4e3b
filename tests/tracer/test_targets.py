"""What a graph explains: chosen tokens, differences, directions, features, positions, answers, chats."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tests.tracer.small import (
    D_MODEL,
    N_FEATURES,
    N_LAYERS,
    N_VOCAB,
    PROMPT,
    WORDS,
    Dictionary,
    write_dictionary,
    write_model,
    write_tokenizer,
)
from tracer import TraceConfig
from tracer.errors import PromptError, SettingError
from tracer.influence import influence
from tracer.schema import NodeKind
from tracer.targets import ask, find

TEXT = "the capital of Texas is"  # <bos> the capital of Texas is
AUSTIN, DALLAS = WORDS.index("Austin"), WORDS.index("Dallas")
CHAT = "{% for m in messages %}<bos> {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}is{% endif %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    write_model(folder / "tiny", "gemma2")  # with a soft cap
    words = (*WORDS, *(f"word{i}" for i in range(N_VOCAB - len(WORDS))))
    write_tokenizer(folder / "tiny", add_bos=True, words=words)
    return tracer.load(folder / "tiny", write_dictionary(folder / "clt", Dictionary(cross_layer=True)))


@pytest.fixture(scope="module")
def local(model):
    return model.linearise(torch.tensor(PROMPT))


def found(model, local, directions=None, **changes):
    """The targets that settings ask for on PROMPT."""
    config = TraceConfig(**changes)
    asked = ask(config, model.adapter, model.transcoders, local.forward.token_P, (), directions)
    return find(asked, model.adapter, local, config)


def outputs_of(graph) -> Any:
    return graph.nodes[graph.slice_of(NodeKind.LOGIT)]


def raw_logits(model, tokens) -> torch.Tensor:
    """(P, V) logits of the real model without the soft cap."""
    cap = model.adapter.softcap
    return cap * torch.atanh(model.adapter.observe(torch.tensor(tokens)).logits_PV.double() / cap)


# ---------------------------------------------------------------- truth


TARGETS = {
    "logits": {},
    "log-odds": {"target": "log-odds"},
    "difference": {"target_tokens": ("Austin - Dallas",)},
    "tokens": {"target_tokens": ("Austin", "Dallas"), "target_position": 3},
    "answer": {"answer": "Austin Texas is"},
    "direction": {"directions": {"probe": np.linspace(-1, 1, D_MODEL)}},
    "feature": {"feature": True},
}


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_changing_a_feature_moves_whatever_is_explained_by_exactly_the_edge(model, name, data):
    """Truth: add delta times what a feature writes to the frozen replacement model; each target moves by its edge."""
    wishes = dict(TARGETS[name])
    directions = wishes.pop("directions", None)
    local = model.linearise(torch.tensor(PROMPT))
    if wishes.pop("feature", False):
        wishes = upper_feature(local)
    graph = tracer.attribute(PROMPT, model, TraceConfig(**wishes), directions=directions)
    local = model.linearise(torch.tensor(graph.metadata.provenance["token_ids"]))
    source, delta = data.draw(st.integers(0, graph.slice_of(NodeKind.FEATURE).stop - 1)), data.draw(st.floats(0.2, 3))
    node, features = graph.nodes.iloc[source], local.features
    same = (features.layer_A == node["layer"]) & (features.position_A == node["position"])
    row = int((same & (features.index_A == node["index"])).nonzero()[0])
    before, after = (
        local.frozen.replay(local.token_PD, local.written_LPD() + change * local.contribution_LPD(row))
        for change in (0.0, delta)
    )
    for target in np.flatnonzero(graph.logit_weight_N > 0):
        moved = value_of(model, graph, target, after, directions) - value_of(model, graph, target, before, directions)
        edge = graph.edges.effect[(graph.edges.source == source) & (graph.edges.target == target)].sum()
        size = np.abs(graph.edges.effect[graph.edges.target == target]).sum()
        assert abs(moved - delta * edge) < 1e-5 * size


def upper_feature(local) -> dict:
    """Settings that ask for a feature of the last layer that is active before the last position."""
    features = local.features
    row = int(((features.layer_A == N_LAYERS - 1) & (features.position_A == 4)).nonzero()[0])
    return {"target_features": (f"{N_LAYERS - 1}/{int(features.index_A[row])}",), "target_position": 4}


def value_of(model, graph, target, replayed, directions) -> float:
    """What a node's value is in a replayed model, from what it reads and the model's own weights."""
    read_LPD, final_PD = replayed
    node, position = graph.nodes.iloc[target], int(graph.nodes["position"].iloc[target])
    if node["kind"] == NodeKind.FEATURE:
        return float(model.transcoders.pre_activations(node["layer"], read_LPD[node["layer"]])[position, node["index"]])
    if directions:
        return float(final_PD[position] @ torch.as_tensor(directions[node["label"]]).to(final_PD))
    logit_V = model.adapter.unembed_VD @ final_PD[position]
    if graph.metadata.target == "log-odds":
        p_V = model.adapter.observe(torch.tensor(PROMPT)).logits_PV[position].softmax(-1)
        p_V[node["index"]] = 0
        return float(logit_V[node["index"]] - (p_V / p_V.sum()) @ logit_V)
    if " - " in node["label"]:
        return float(logit_V[AUSTIN] - logit_V[DALLAS])
    return float(logit_V[node["index"]] - logit_V.mean())


# ---------------------------------------------------------------- outputs


def test_the_direction_of_log_odds_is_their_gradient(model, local):
    """Against autograd through log p - log(1 - p)."""
    targets = found(model, local, target="log-odds", target_tokens=("Austin",))
    final_D = model.adapter.unembed_VD.new_zeros(D_MODEL, requires_grad=True)
    p = (local.forward.logits_PV[-1] + model.adapter.unembed_VD @ final_D).softmax(-1)[AUSTIN]
    (p.log() - (1 - p).log()).backward()
    assert final_D.grad is not None
    assert torch.allclose(targets.vector_KD[0], final_D.grad, rtol=1e-4, atol=1e-6)


def test_a_difference_is_one_output_whose_inputs_sum_to_it(model):
    graph = tracer.attribute(TEXT, model, TraceConfig(target_tokens=("Austin - Dallas",)))
    outputs = outputs_of(graph)
    assert outputs["label"].tolist() == ["Austin - Dallas"]
    assert outputs["index"].tolist() == [N_VOCAB] and outputs["node_id"].tolist() == [f"{N_LAYERS + 1}_{N_VOCAB}_5"]
    assert outputs["probability"].isna().all() and outputs["influence"].tolist() == [1]
    raw_V = raw_logits(model, graph.metadata.provenance["token_ids"])[-1]
    into = graph.edges.effect[graph.edges.target == outputs.index[0]]
    assert into.sum() == pytest.approx(float(raw_V[AUSTIN] - raw_V[DALLAS]), abs=1e-4 * float(np.abs(into).sum()))


def test_the_edges_of_a_difference_are_differences_of_edges(model):
    both = tracer.attribute(TEXT, model, TraceConfig(target_tokens=("Austin", "Dallas", "Austin - Dallas")))
    edges, first = both.edges, both.slice_of(NodeKind.LOGIT).start
    rows = np.zeros((3, len(both.nodes)))
    into = edges.target >= first
    rows[edges.target[into] - first, edges.source[into]] = edges.effect[into]
    assert np.allclose(rows[0] - rows[1], rows[2], atol=1e-4)
    weight_K = both.logit_weight_N[both.slice_of(NodeKind.LOGIT)]
    assert np.allclose(weight_K, 1 / 3)  # one has no probability, so all weigh the same


def test_a_difference_takes_its_blanks_where_tokens_have_them(model, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(Unigram([("<unk>", 0.0), ("▁Austin", -1.0), ("▁Dallas", -1.0), ("Aus", -1.0)], unk_id=0))
    pieces.pre_tokenizer = Metaspace(prepend_scheme="never")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces)
    adapter = type(model.adapter)(model.adapter.model, tokenizer, "tiny", tmp_path)
    asked = ask(TraceConfig(target_tokens=(" Austin - Dallas",)), adapter, model.transcoders, torch.tensor(PROMPT))
    assert [(token.index, token.minus) for token in asked.tokens] == [(1, 2)]


def test_a_direction_is_read_where_the_unembedding_reads(model):
    """By oracle: the direction of one unembedding row is that token's raw logit."""
    graph = tracer.attribute(TEXT, model, directions={"Austin's row": model.adapter.unembed_VD[AUSTIN].cpu().numpy()})
    outputs = outputs_of(graph)
    assert outputs["label"].tolist() == ["Austin's row"] and math.isnan(outputs["probability"].iloc[0])
    raw_V = raw_logits(model, graph.metadata.provenance["token_ids"])[-1]
    into = graph.edges.effect[graph.edges.target == outputs.index[0]]
    assert into.sum() == pytest.approx(float(raw_V[AUSTIN]), abs=1e-4 * float(np.abs(into).sum()))


def test_any_position_can_be_explained(model):
    by_number = tracer.attribute(TEXT, model, TraceConfig(target_position=2))
    by_text = tracer.attribute(TEXT, model, TraceConfig(target_position="capital"))
    assert by_number.graph_id == by_text.graph_id
    outputs = outputs_of(by_number)
    assert (outputs["position"] == 2).all()
    logits_V = model.adapter.observe(torch.tensor(by_number.metadata.provenance["token_ids"])).logits_PV[2]
    assert outputs["index"].iloc[0] == int(logits_V.argmax())
    assert (
        by_number.nodes["position"].to_numpy()[by_number.slice_of(NodeKind.FEATURE)].max() == 2
    )  # what is later cannot act
    assert by_number.metadata.complete


def test_a_position_explained_is_the_graph_of_the_prompt_that_ends_there(model):
    """Causality: what comes later changes no edge."""
    long, short = tracer.attribute(PROMPT, model, TraceConfig(target_position=3)), tracer.attribute(PROMPT[:4], model)

    def edges(graph):
        ids = graph.nodes["node_id"].to_numpy()
        ends = zip(ids[graph.edges.source], ids[graph.edges.target], strict=True)
        return dict(zip(ends, graph.edges.effect.tolist(), strict=True))

    ours, theirs = edges(long), edges(short)
    assert ours.keys() == theirs.keys()
    assert all(abs(effect - theirs[pair]) < 1e-4 for pair, effect in ours.items())


def test_each_token_of_an_answer_is_explained_at_the_position_before_it(model):
    graph = tracer.attribute(TEXT, model, TraceConfig(answer="Austin Texas Austin"))
    outputs = outputs_of(graph)
    assert graph.metadata.tokens[-3:] == ("is", "Austin", "Texas")  # its last token is not read
    assert outputs["label"].tolist() == ["Austin", "Texas", "Austin"] and outputs["position"].tolist() == [5, 6, 7]
    assert outputs["node_id"].is_unique
    probability_PV = model.adapter.observe(torch.tensor(graph.metadata.provenance["token_ids"])).logits_PV.softmax(-1)
    expected = [float(probability_PV[p, token]) for p, token in zip((5, 6, 7), outputs["index"], strict=True)]
    assert np.allclose(outputs["probability"], expected, rtol=1e-4)


# ---------------------------------------------------------------- features


def test_the_graph_of_a_feature_explains_its_pre_activation(model, local):
    config = TraceConfig(**upper_feature(local))
    graph = tracer.attribute(PROMPT, model, config)
    assert graph.metadata.target == "feature" and graph.slice_of(NodeKind.LOGIT) == slice(0, 0)
    (target,) = np.flatnonzero(graph.logit_weight_N > 0)
    node: Any = graph.nodes.iloc[target]
    assert (f"{node['layer']}/{node['index']}",) == config.target_features and node["position"] == 4
    assert node["kept"] and node["influence"] == 1
    into = graph.edges.effect[graph.edges.target == target]
    assert into.sum() == pytest.approx(node["activation"], abs=1e-5 * float(np.abs(into).sum()))
    features: Any = graph.nodes[graph.slice_of(NodeKind.FEATURE)].drop(index=target)
    assert (features["layer"] < node["layer"]).all() and (features["position"] <= 4).all() and len(features) > 20
    again_N = influence(graph.edges.source, graph.edges.target, graph.edges.effect, graph.logit_weight_N)
    again_N[target] += 1
    assert np.allclose(again_N, graph.nodes["influence"], atol=1e-6)


def test_with_fewer_nodes_the_feature_that_is_explained_stays(model, local):
    config = TraceConfig(**upper_feature(local), max_feature_nodes=5)
    graph = tracer.attribute(PROMPT, model, config)
    assert graph.slice_of(NodeKind.FEATURE).stop == 5 and (graph.logit_weight_N > 0).sum() == 1
    assert not graph.metadata.complete


# ---------------------------------------------------------------- chats


@pytest.fixture
def chatty(model, monkeypatch):
    monkeypatch.setattr(model.adapter.tokenizer, "chat_template", CHAT)
    return model


def test_a_chat_is_written_by_the_tokenizers_own_template(chatty):
    by_text = tracer.attribute("the capital", chatty, TraceConfig(chat=True))
    assert by_text.metadata.tokens == ("<bos>", "the", "capital", "is")
    by_messages = tracer.attribute([{"role": "user", "content": "the capital"}], chatty)
    assert by_messages.graph_id == by_text.graph_id
    assert by_messages.metadata.prompt == "<bos> the capital is"


def test_a_last_message_of_the_model_is_continued(chatty):
    messages = [{"role": "user", "content": "Texas"}, {"role": "assistant", "content": "Austin"}]
    graph = tracer.attribute(messages, chatty)
    assert graph.metadata.tokens[-1] == "Austin"


def test_a_model_without_a_template_says_so(model):
    with pytest.raises(PromptError, match="tiny has no chat template; expected a model that was tuned to chat"):
        tracer.attribute("the capital", model, TraceConfig(chat=True))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"target_tokens": ("Austin - Atlantis",)}, "target token 'Atlantis' is not in the vocabulary of tiny"),
        ({"target_features": ("Texas",)}, "target feature 'Texas' is not understood; expected layer/index"),
        ({"target_features": ("3/0",)}, "target feature '3/0' does not exist: clt has layers 0 to 2"),
        ({"target_features": (f"0/{N_FEATURES}",)}, "does not exist: layer 0 of clt has features 0 to 47"),
        ({"target_position": 6}, "target position 6 does not exist; the prompt has 6 tokens, 0 to 5"),
        ({"target_position": "Ohio"}, "target position 'Ohio' is none of '<bos>', 'the'.* expected one token of the"),
        ({"answer": " "}, "the answer is empty"),
        ({"answer": "Atlantis"}, "'Atlantis' is not in the vocabulary"),
        ({"answer": "is " * 28}, "the prompt has 33 tokens; tiny can read 32"),
    ],
)
def test_a_target_that_is_not_there_is_refused_before_any_work(model, monkeypatch, wishes, message):
    monkeypatch.setattr(type(model), "linearise", lambda *_: pytest.fail("work was done"))
    with pytest.raises(PromptError, match=message):
        tracer.attribute(TEXT, model, TraceConfig(**wishes))


def test_a_token_that_stands_twice_is_no_position(model):
    with pytest.raises(PromptError, match="target position 'the' stands at positions 1, 3; expected one token"):
        tracer.attribute("the of the", model, TraceConfig(target_position="the"))


def test_a_feature_that_is_not_active_is_told_where_it_is(model, local):
    features = local.features
    row = int((features.position_A < 6).nonzero()[0])
    layer, index = int(features.layer_A[row]), int(features.index_A[row])
    here = (features.layer_A == layer) & (features.index_A == index)
    inactive = next(p for p in range(7) if p not in features.position_A[here])
    with pytest.raises(PromptError, match=f"{layer}/{index} is not active at position {inactive}.* It is active at "):
        found(model, local, target_features=(f"#L{layer}/{index}",), target_position=inactive)


def test_a_token_minus_itself_is_refused(model):
    with pytest.raises(PromptError, match="'Austin - Austin' is a token minus itself, which is zero"):
        tracer.attribute(TEXT, model, TraceConfig(target_tokens=("Austin - Austin",)))


def test_directions_beside_features_are_refused(model):
    config = TraceConfig(target_features=("1/0",))
    with pytest.raises(PromptError, match=r"directions \(probe\) beside target_features.* Trace two graphs"):
        tracer.attribute(TEXT, model, config, directions={"probe": np.ones(D_MODEL)})


@pytest.mark.parametrize(
    ("vector", "seen"),
    [
        (np.ones(3), r"has the shape \(3,\)"),
        (np.full(D_MODEL, np.nan), "holds NaN or infinity"),
        (np.zeros(D_MODEL), "is zero"),
    ],
)
def test_a_vector_that_is_no_direction_is_refused(model, vector, seen):
    with pytest.raises(
        PromptError, match=rf"direction 'probe' {seen}; expected \({D_MODEL},\) finite numbers, not all"
    ):
        tracer.attribute(PROMPT, model, directions={"probe": vector})


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"target_features": ("0/1",), "target_tokens": ("Austin",)}, "target_features is .* expected features or"),
        ({"answer": "Austin", "target_tokens": ("Austin",)}, "the answer 'Austin' stands beside target_tokens"),
        ({"answer": "Austin", "target_position": 2}, "the answer 'Austin' stands beside"),
        ({"target_features": "0/1"}, r"target_features is the text '0/1'; .* Write \('0/1',\)"),
        ({"offload": "tape"}, "offload is 'tape'; expected one of cpu, disk"),
    ],
)
def test_wishes_that_exclude_each_other_are_refused(wishes, message):
    with pytest.raises(SettingError, match=message):
        TraceConfig(**wishes)
