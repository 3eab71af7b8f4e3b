"""Graphs that circuit-tracer saved as `.pt`: read as they are, and nothing in them is ever run."""

import io
import pickle
import zipfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ingest.readers import read_graph_file
from tests.ingest.mutations import saved_tensors
from tracer.errors import GraphFormatError
from tracer.influence import influence

N_LAYERS, N_POS, N_ACTIVE, N_OUTPUTS = 3, 2, 6, 2


@dataclass
class Config:
    """Stands for the object in which the peer keeps the model's settings."""

    model_name: str = "tiny-model"
    n_layers: int = N_LAYERS


class Target(NamedTuple):
    """Stands for the peer's output, which is a named tuple there, too."""

    token_str: str
    vocab_idx: int


class Wicked:
    """Would write a file while it is unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def saved(**changes: Any) -> dict[str, Any]:
    """A graph of five chosen features in the peer's order: features, errors by layer, tokens, outputs."""
    random = np.random.default_rng(3)
    chosen = [0, 1, 3, 4, 5]
    active = torch.tensor([[0, 0, 7], [0, 1, 8], [1, 0, 9], [1, 1, 10], [2, 0, 11], [2, 1, 12]])
    layer = np.concatenate([active[chosen, 0], np.repeat(range(N_LAYERS), N_POS), [-1] * N_POS, [3] * N_OUTPUTS])
    is_target = np.concatenate([np.ones(5, bool), np.zeros(N_LAYERS * N_POS + N_POS, bool), np.ones(2, bool)])
    effect_NN = random.normal(size=(len(layer),) * 2) * ((layer[:, None] > layer[None, :]) & is_target[:, None])
    return {
        "input_string": "Dallas is",
        "adjacency_matrix": torch.tensor(effect_NN, dtype=torch.float32),
        "cfg": Config(),
        "active_features": active,
        "logit_targets": [Target(" Austin", 40), Target(" Houston", 41)],
        "logit_probabilities": torch.tensor([0.6, 0.3]),
        "vocab_size": 50,
        "input_tokens": torch.tensor([20, 21]),
        "selected_features": torch.tensor(chosen),
        "activation_values": torch.arange(6) + 0.5,
        "scan_name": "tiny/set",
    } | changes


@pytest.fixture
def read(tmp_path):
    def write_and_read(value: Any, **options: Any):
        path = tmp_path / "saved.pt"
        if isinstance(value, bytes):
            path.write_bytes(value)
        else:
            torch.save(value, path, **options)
        return read_graph_file(path)

    return write_and_read


def test_a_saved_graph_is_read_whole(read):
    given = saved()
    graph = read(given)
    assert graph.nodes["node_id"].tolist() == [
        "0_7_0", "0_8_1", "1_10_1", "2_11_0", "2_12_1",
        "0_-1_0", "0_-1_1", "1_-1_0", "1_-1_1", "2_-1_0", "2_-1_1",
        "E_20_0", "E_21_1", "4_40_1", "4_41_1",
    ]  # fmt: skip
    assert graph.nodes["activation"].tolist()[:5] == [0.5, 1.5, 3.5, 4.5, 5.5]
    assert graph.nodes["label"].tolist()[-4:] == ["#20", "#21", " Austin", " Houston"]
    found_NN = np.zeros((15, 15), np.float32)
    found_NN[graph.edges.target, graph.edges.source] = graph.edges.effect
    assert np.array_equal(found_NN, given["adjacency_matrix"].numpy())
    about = graph.metadata
    assert (about.model, about.source_set, about.n_layers) == ("tiny-model", "tiny/set", N_LAYERS)
    assert (about.prompt, about.origin, about.complete) == ("Dallas is", "circuit-tracer", False)
    assert about.provenance["shares"] == "of the 5 features of 6 that were chosen"
    assert about.provenance["repairs"] == {"tokens_by_number": 2}


def test_influence_is_that_of_the_whole_matrix(read):
    graph = read(saved())
    weight_N = np.zeros(15)
    weight_N[-2:] = 0.6, 0.3
    expected = influence(graph.edges.source, graph.edges.target, graph.edges.effect, weight_N) + weight_N
    assert np.allclose(graph.nodes["influence"], np.minimum(expected, 1), atol=1e-6)


def test_all_features_chosen_make_the_graph_complete(read):
    given = saved()
    given["selected_features"] = torch.arange(5)
    given["active_features"] = given["active_features"][[0, 1, 3, 4, 5]]
    given["activation_values"] = torch.ones(5)
    assert read(given).metadata.complete


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_and_layouts_are_read(read, dtype):
    matrix = saved()["adjacency_matrix"].to(dtype)
    graph = read(saved(adjacency_matrix=matrix.t().contiguous().t()))  # columns first in the file
    found_NN = np.zeros((15, 15), np.float32)
    found_NN[graph.edges.target, graph.edges.source] = graph.edges.effect
    assert np.array_equal(found_NN, matrix.float().numpy())


def test_older_files_have_outputs_as_a_tensor_and_another_name_for_the_dictionary(read):
    given = saved(logit_tokens=torch.tensor([40, 41]), scan="old/set")
    del given["logit_targets"], given["scan_name"]
    graph = read(given)
    assert graph.nodes["label"].tolist()[-2:] == ["#40", "#41"]
    assert graph.metadata.source_set == "old/set"


def test_code_in_the_pickle_is_never_run(read, tmp_path):
    victim = tmp_path / "written"
    graph = read(saved(cfg=[Wicked(str(victim))]))  # a call that is recorded and looked at by nobody
    assert not victim.exists() and graph.metadata.model == "tiny/set"
    with pytest.raises(GraphFormatError, match="tensors that do not fit together"):
        read(saved(adjacency_matrix=Wicked(str(victim))))
    with pytest.raises(GraphFormatError, match="not the values"):
        read(Wicked(str(victim)))
    assert not victim.exists()
    pickle.loads(pickle.dumps(Wicked(str(victim)))).close()
    assert victim.exists()  # so it would have been, by an unpickler


def replaced(content: bytes, change) -> bytes:
    """The archive with its pickle changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return out.getvalue()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda data: data[:40], "its pickle is broken"),
        (lambda data: b"\x80\x02(i" + b"os\nsystem\n.", "its pickle is broken or holds more .*the instruction INST"),
        (lambda data: data.replace(b"adjacency_matrix", b"adjacency_matriX"), "not the values"),
        (lambda data: data.replace(b"FloatStorage", b"OddStorage__"), "a tensor of type"),
        (lambda data: data.replace(b"K\x04K\x04\x86", b"K\x05K\x04\x86"), r"a tensor of shape \(5, 4\)"),
    ],
)
def test_a_damaged_pickle_is_refused(read, change, said):
    with pytest.raises(GraphFormatError, match=said) as refused:
        read(replaced(saved_tensors(), change))
    assert str(refused.value).startswith("saved.pt: ") and "expected a graph as circuit-tracer" in str(refused.value)


def test_what_is_no_archive_of_torch_is_refused(read):
    with pytest.raises(GraphFormatError, match=r"saved.pt: no archive of tensors"):
        read(b"\x80\x02}.")
    old = io.BytesIO()
    torch.save(saved(), old, _use_new_zipfile_serialization=False)
    with pytest.raises(GraphFormatError, match=r"saved.pt: no archive of tensors"):
        read(old.getvalue())


@pytest.mark.parametrize(
    "changes",
    [
        {"input_tokens": torch.tensor([20, 21, 22, 23])},
        {"selected_features": torch.tensor([0, 1, 2, 3, 99])},
        {"logit_probabilities": torch.tensor([0.5])},
        {"logit_probabilities": torch.tensor([50.0, 1.0])},
        {"active_features": torch.tensor([[9, 0, 7]] * 6)},
        {"adjacency_matrix": torch.ones(15, 15)},
        {"adjacency_matrix": torch.full((15, 15), float("nan"))},
        {"adjacency_matrix": torch.ones(15)},
        {"input_string": 3},
        {"activation_values": torch.tensor([1.0, float("inf"), 1, 1, 1, 1])},
        {"active_features": torch.tensor([[0.0, 0.0, 5.7]] * 6)},
        {"input_tokens": torch.tensor([20, 21.5])},
        {"selected_features": torch.tensor([0, 1.9, 2, 3, 4])},
        {"cfg": None, "scan_name": None},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_values_that_do_not_fit_are_refused(read, changes):
    with pytest.raises(GraphFormatError, match=r"saved.pt: .*expected"):
        read(saved(**changes))


def test_half_characters_are_replaced_and_counted(read):
    graph = read(saved(input_string="half \ud800"))
    assert graph.metadata.prompt == "half ?" and graph.metadata.provenance["repairs"]["half_characters"] == 1
