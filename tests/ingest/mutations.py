"""Graph files that are damaged in every way: bytes, types, structure. `python -m tests.ingest.mutations N [SEED]`."""

import copy
import gzip
import io
import json
import random
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ingest.load import graph_places, read_graph
from ingest.repairs import REPAIRS
from ingest.sources import Source
from ingest.writers import write_graph
from tests.ingest.made_graphs import make_graph
from tracer.errors import GraphFormatError

RAW = Path(__file__).parents[3] / "shared" / "graphs" / "raw"
LONGEST_S = 20.0  # for one small file, on a machine that is busy with other things; a hang would be minutes
NODES, LINKS = 8, 16  # of a file that is mutated: few, so that a change meets something that matters
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 3, 10**9, 10**18, 10**400, -0.0, 0.5, 1e38, 1e39, 1e-60, float("nan"), float("inf"),
    "", "0", "-1", "E", "x", "1e999", "0_1_2", "E_5_0", "\ud800", "\u0000", "\u202e", "<b>",
    "'; MATCH (n) DETACH DELETE n //",
    "cross layer transcoder", "logit", "embedding", "bias", "lorsa", "mlp reconstruction error",
    "3_lor_5_0", "3_error_attn_0", "B_0_0", "x" * 5_000, [], {}, [[]], [1], ["a"], {"node_id": "0_1_2"}, {"id": 3},
]  # fmt: skip


def originals(folder: Path) -> list[bytes]:
    """Small graph files to begin with: cut from real ones where they are, else made by our own writers."""
    paths = sorted(RAW.glob("*/*.json"), key=lambda path: path.stat().st_size)[::7]
    if not paths:
        paths = [folder / f"made{seed}.json" for seed in range(4)]
        for seed, path in enumerate(paths):
            write_graph(make_graph(seed), path, "json")
    roots = [json.loads(path.read_bytes()) for path in paths]
    graphs = [root for root in roots if "scan" in root.get("metadata", {})]  # two real files are of other tools
    return [json.dumps(_cut(root)).encode() for root in graphs]


def saved_tensors() -> bytes:
    """A `.pt` file as circuit-tracer writes it, of a feature, an error, a token and an output."""
    import torch

    effect_NN = torch.zeros(4, 4)
    effect_NN[0, 2], effect_NN[3, 0], effect_NN[3, 1] = 2.0, 3.0, -1.0
    out = io.BytesIO()
    torch.save(
        {
            "input_string": "x", "adjacency_matrix": effect_NN, "active_features": torch.tensor([[0, 0, 7]]),
            "selected_features": torch.tensor([0]), "activation_values": torch.tensor([1.5]),
            "logit_targets": torch.tensor([9]), "logit_probabilities": torch.tensor([0.5]),
            "input_tokens": torch.tensor([5]), "cfg": {"model_name": "tiny"}, "scan_name": "tiny/set", "vocab_size": 10,
        },
        out,
    )  # fmt: skip
    return out.getvalue()


def mutants(seed: int, files: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """(ending of the name, content) without end, the same for one seed."""
    chance = random.Random(seed)
    roots = [json.loads(file) for file in files]
    tensors = saved_tensors()
    while True:
        kind = chance.random()
        if kind < 0.55:
            root = copy.deepcopy(chance.choice(roots))
            for _ in range(chance.randint(1, 4)):
                _change(chance, root)
            content, ending = json.dumps(root).encode(), "json"
        elif kind < 0.85:
            content, ending = _bytes_changed(chance, chance.choice(files)), "json"
        elif kind < 0.93:
            content, ending = _bytes_changed(chance, tensors), "pt"
        else:
            content, ending = _bytes_changed(chance, _zipped(chance.choice(files))), "zip"
        if ending == "json" and chance.random() < 0.1:
            content, ending = gzip.compress(content, 1), "json.gz"
            content = _bytes_changed(chance, content) if chance.random() < 0.5 else content
        yield ending, content


def check(path: Path) -> str:
    """Read what is at this path: `read`, or `refused` with a reason; anything else is an error of ours."""
    outcome = "read"
    began = time.perf_counter()
    for place in graph_places(path):
        try:
            graph = read_graph(place)
        except GraphFormatError as refused:
            name = place.name if isinstance(place, Source) else path.name
            assert name in str(refused) and str(refused).endswith(".") and "expected" in str(refused), str(refused)
            outcome = "refused"
        else:
            assert set(graph.metadata.provenance["repairs"]) <= set(REPAIRS)
            assert graph.nodes["influence"].between(0, 1).all() and graph.edges.share.max(initial=0) <= 1
            assert graph.graph_id
    assert time.perf_counter() - began < LONGEST_S
    return outcome


def run(n: int, seed: int, folder: Path, told: Callable[[int], None] | None = None) -> Counter[str]:
    """How many of n mutants were read and refused. What fails is left in the folder as `failed.*`."""
    outcomes: Counter[str] = Counter()
    made = mutants(seed, originals(folder))
    for done in range(n):
        ending, content = next(made)
        path = folder / f"mutant.{ending}"
        path.write_bytes(content)
        try:
            outcomes[check(path)] += 1
        except BaseException:
            path.rename(folder / f"failed.{ending}")
            raise
        if told and done % 1000 == 999:
            told(done + 1)
    return outcomes


def _cut(root: dict[str, Any]) -> dict[str, Any]:
    """The first nodes of each kind, and links between them."""
    kinds: Counter[str] = Counter()
    kept = []
    for node in root["nodes"]:
        kinds[str(node.get("feature_type"))] += 1
        if kinds[str(node.get("feature_type"))] <= NODES // 4:
            kept.append(node)
    ids = {node.get("node_id") for node in kept}
    links = [each for each in root.get("links", []) if {each.get("source"), each.get("target")} <= ids]
    return root | {"nodes": kept, "links": links[:LINKS]}


def _change(chance: random.Random, root: Any) -> None:
    """Replace, remove, double or swap one value, anywhere."""
    place: Any = root
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = place[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.8:
            place = inner
            continue
        how = chance.choice(["replace", "replace", "remove", "double", "swap", "rename"])
        if how == "replace":
            place[key] = copy.deepcopy(chance.choice(ODD))
        elif how == "remove":
            del place[key]
        elif how == "double" and isinstance(place, list):
            place.append(copy.deepcopy(inner))
        elif how == "swap":
            other = chance.choice(keys)
            place[key], place[other] = place[other], place[key]
        elif how == "rename" and isinstance(place, dict):
            place[str(chance.choice(["edges", "links", "id", "qParams", f"{key}x"]))] = place.pop(key)
        return


def _bytes_changed(chance: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at : at + chance.randint(1, 40)] = b""
            case 2:
                changed[at:at] = changed[at : at + chance.randint(1, 40)]
            case 3:
                changed[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
            case _:
                changed[at : at + 1] = chance.choice(
                    [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"-", b"9", b"\0"]
                )
        if not changed:
            return b""
    return bytes(changed[: chance.randrange(len(changed))] if chance.random() < 0.1 else changed)


def _zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("graphs/one.json", content)
        archive.writestr("../two.json", b"{}")
    return out.getvalue()


if __name__ == "__main__":
    n, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**9)
    print(f"{n} mutants of seed {seed}", flush=True)
    folder = mkdtemp()
    print(f"what fails is left in {folder}", flush=True)
    print(dict(run(n, seed, Path(folder), lambda done: print(done, flush=True))))
