"""The `.pt` files in which circuit-tracer saves whole graphs, read without running anything that stands in them.

Such a file is a zip archive of a pickle and of the bytes of its tensors. Unpickling may call any function, and
`torch.load(weights_only=True)` refuses these files, which hold the model's configuration as an object. So the pickle's
instructions are read with `pickletools`, which runs nothing, and carried out here for plain values only: what would be
a call or an object becomes a `_Record` of its name and values. No torch is needed.
"""

import dataclasses
import math
import pickletools
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pandas as pd

from ingest.documents import whole_characters
from ingest.sources import Source
from tracer.errors import GraphFormatError
from tracer.graph import AttributionGraph, GraphMetadata, weights_of
from tracer.influence import prune, scores
from tracer.schema import NodeKind, node_id, slug_of

MOST_PICKLE = 64 << 20  # bytes; that of a graph has thousands, its tensors stand beside it
DTYPES = {  # torch's names of storages and of number formats
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "?",
}  # fmt: skip
NEEDED = ("input_string", "adjacency_matrix", "active_features", "logit_probabilities", "input_tokens")


@dataclass
class _Record:
    """What the pickle would make an object of: the name of a class or function and the values given to it."""

    name: str
    values: Any = ()
    state: dict[Any, Any] = field(default_factory=dict)


class _Mark:
    """Where a list of values begins on the stack."""


def read_tensor_graph(source: Source, provenance: dict[str, Any]) -> AttributionGraph:
    """The whole graph in a `.pt` file of circuit-tracer, with the pruned one marked in it.

    Token texts are not in such files: tokens are named by their number in the vocabulary, `#1234`.

    What would be called while it is unpickled is not: it stands for itself where it is not needed, and is refused
    where it is.

    Raises:
        GraphFormatError: It is no such file, or is damaged.
    """
    with source.open() as packed:
        saved, repairs = _saved(source, packed)
    if not isinstance(saved, dict) or any(name not in saved for name in NEEDED):
        raise _refused(source, f"not the values {', '.join(NEEDED)}")
    try:
        return _graph(source, saved, provenance, repairs)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise _refused(source, f"tensors that do not fit together ({error})") from None


def _saved(source: Source, packed: IO[bytes]) -> tuple[Any, Counter[str]]:
    try:
        with zipfile.ZipFile(packed) as archive:
            reader = _Saved(archive)
            return reader.value(), reader.repairs
    except RecursionError:
        raise _refused(source, "its pickle is nested too deeply") from None
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise _refused(source, f"no archive of tensors ({error})") from None
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        raise _refused(source, f"its pickle is broken or holds more than tensors and plain values ({error})") from None


def _refused(source: Source, seen: str) -> GraphFormatError:
    return GraphFormatError(
        f"{source.name}: {seen}; expected a graph as circuit-tracer's `to_pt` writes it. Save it again, or export it "
        "as JSON."
    )


# ----------------------------------------------------------------------------------------- from the pickle to values


class _Saved:
    """An archive that `torch.save` wrote."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive, self.repairs = archive, Counter[str]()
        pickles = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLE:
            raise ValueError(f"{len(pickles)} pickles, expected one of at most {MOST_PICKLE} bytes")
        self._pickle = pickles[0].filename
        self._folder = self._pickle.rpartition("/")[0]

    def value(self) -> Any:
        """What was saved: tensors as arrays, objects as records."""
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(self._archive.read(self._pickle)):
            if opcode.name == "STOP":
                return stack.pop()
            self._step(opcode.name, argument, stack, memo)
        raise ValueError("it does not end")

    def _step(self, name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_Mark())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "SHORT_BINBYTES" | "BINBYTES":
                stack.append(whole_characters(self.repairs, argument))
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": (), "EMPTY_SET": []}[name])
            case "TUPLE":
                stack.append(tuple(_popped(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(reversed([stack.pop() for _ in range(int(name[-1]))])))
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if name == "APPEND" else _popped(stack)
                _of(list, stack[-1]).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else _popped(stack)
                _of(dict, stack[-1]).update(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_Record(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                last, first = _of(str, stack.pop()), _of(str, stack.pop())
                stack.append(_Record(f"{first}.{last}"))
            case "REDUCE" | "NEWOBJ":
                values = _of(tuple, stack.pop())
                stack.append(self._made(_of(_Record, stack.pop()).name, values))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], _Record) and isinstance(state, dict):
                    stack[-1].state.update(state)
            case "BINPERSID":
                stack.append(_Record("storage", _of(tuple, stack.pop())))
            case _:
                raise ValueError(f"the instruction {name}")

    def _made(self, name: str, values: tuple) -> Any:
        """What a call stands for: an array for a tensor, a dictionary for an ordered one, else a record of it."""
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return self._array(*values[:4])
        if name == "torch._utils._rebuild_parameter":
            return values[0]
        if name == "collections.OrderedDict":
            return {}
        return _Record(name, values)

    def _array(self, storage: Any, offset: Any, shape: Any, strides: Any) -> np.ndarray:
        """A tensor's values; its extent is checked against the bytes that are there."""
        _, kind, key, _, n = _of(_Record, storage).values
        name = _of(_Record, kind).name.rpartition(".")[2]
        if name not in DTYPES:
            raise ValueError(f"a tensor of type {name}")
        stored = DTYPES[name]
        dtype = np.dtype("<u2" if stored == "bfloat16" else stored)
        sizes = [_count(each) for each in (offset, n, *shape, *strides)]
        offset, n = sizes[:2]
        if len(shape) != len(strides) or len(shape) > 8:
            raise ValueError(f"a tensor of shape {shape} with strides {strides}")
        last = offset + sum(max(size - 1, 0) * stride for size, stride in zip(shape, strides, strict=True))
        count = math.prod(shape)
        if count and (last >= n or count > n):
            raise ValueError(f"a tensor of shape {shape} with {n} values")
        info = self._archive.getinfo(f"{self._folder}/data/{_of(str, key)}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != n * dtype.itemsize:
            raise ValueError(f"{info.file_size} bytes for {n} values of {name}")
        if not count:
            return np.empty(shape, np.float32 if stored == "bfloat16" else dtype)
        flat = np.frombuffer(self._archive.read(info), dtype)[offset:]
        if stored == "bfloat16":  # the upper half of a float32
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return np.lib.stride_tricks.as_strided(flat, shape, [stride * flat.itemsize for stride in strides])


def _popped(stack: list[Any]) -> list[Any]:
    """The values above the last mark, taken off with it."""
    values = []
    while not isinstance(value := stack.pop(), _Mark):
        values.append(value)
    return values[::-1]


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"the size {value!r}")
    return value


# --------------------------------------------------------------------------------------------- from values to a graph


def _graph(
    source: Source, saved: dict[str, Any], provenance: dict[str, Any], repairs: Counter[str]
) -> AttributionGraph:
    effect_NN = _of(np.ndarray, saved["adjacency_matrix"])
    active = _whole(saved["active_features"]).reshape(-1, 3)  # layer, position, index
    chosen = _whole(np.asarray(saved.get("selected_features", np.arange(len(active)))))
    activation = np.asarray(saved.get("activation_values", np.full(len(active), np.nan))).astype(np.float32)
    token_ids = _whole(saved["input_tokens"]).ravel()
    outputs = _outputs(saved)
    n, n_pos = len(effect_NN), len(token_ids)
    n_errors = n - len(chosen) - n_pos - len(outputs)
    if effect_NN.shape != (n, n) or not n_pos or n_errors < 0 or n_errors % n_pos or not outputs:
        raise ValueError(
            f"a matrix of shape {effect_NN.shape} for {len(chosen)} features, {n_pos} tokens and {len(outputs)} outputs"
        )
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(active)):
        raise ValueError(f"selected features up to {chosen.max()} of {len(active)}")
    n_layers = n_errors // n_pos
    values = activation[chosen] if len(activation) == len(active) else activation
    nodes = _nodes(active[chosen], values, token_ids, outputs, n_layers)
    target, at = np.nonzero(effect_NN)
    table, about = pd.DataFrame(nodes), _about(source, saved, token_ids, n_layers)
    effect = effect_NN[target, at].astype(np.float32)
    whole = len(chosen) == len(active)
    weight_N, kind_N = weights_of(table), table["kind"].to_numpy()
    # a check of the effects, and of their direction, before anything is computed from them
    AttributionGraph.build(table, at, target, effect, about)
    pruning = prune(at, target, effect, kind_N, weight_N)
    score = scores(at, target, effect, kind_N, weight_N)
    table["influence"] = np.clip(pruning.influence_N + weight_N, 0, 1)
    table["kept"] = pruning.kept_N
    about = dataclasses.replace(
        about,
        origin="circuit-tracer",
        complete=whole,
        replacement_score=score.replacement,
        completeness_score=score.completeness,
        provenance=provenance
        | {
            "repairs": {"tokens_by_number": n_pos} | dict(+repairs),
            "pruning": None,
            "shares": "of all nodes" if whole else f"of the {len(chosen)} features of {len(active)} that were chosen",
            "pins": [],
            "supernodes": [],
        },
    )
    return AttributionGraph.build(table, at, target, effect, about, pruning.kept_E)


def _whole(value: Any) -> np.ndarray:
    """Whole numbers, in whatever format they are saved."""
    whole = _of(np.ndarray, value).astype(np.int64)
    if (wrong := whole != value).any():
        raise ValueError(f"{value[wrong].ravel()[0]} where a whole number belongs")
    return whole


def _outputs(saved: dict[str, Any]) -> list[tuple[int, str, float]]:
    """(id in the vocabulary, text, probability) of each output, from either of the forms in use."""
    chance = _of(np.ndarray, saved["logit_probabilities"]).astype(np.float64).ravel().tolist()
    targets = saved.get("logit_targets", saved.get("logit_tokens"))
    if isinstance(targets, np.ndarray):
        targets = [(int(each), "") for each in targets.ravel()]
    else:
        targets = [_output(each) for each in _of(list, targets)]
    if len(targets) != len(chance) or not all(0 <= each <= 1.001 for each in chance):
        raise ValueError(f"{len(targets)} outputs with the probabilities {chance[:3]}")
    return [(index, text or f"#{index}", each) for (index, text), each in zip(targets, chance, strict=True)]


def _output(target: Any) -> tuple[int, str]:
    record = _of(_Record, target)
    text, index = record.state.get("token_str"), record.state.get("vocab_idx")
    if index is None and len(record.values) == 2:  # a named tuple is made from its values
        text, index = record.values
    return _count(index), _of(str, text)


def _nodes(
    features: np.ndarray, activation: np.ndarray, token_ids: np.ndarray, outputs: list, n_layers: int
) -> list[dict[str, Any]]:
    if len(activation) != len(features):
        raise ValueError(f"{len(activation)} activations of {len(features)} features")
    if np.isinf(activation).any():
        raise ValueError("an infinite activation")
    n_pos = len(token_ids)
    places: list[tuple] = [
        (NodeKind.FEATURE, layer, position, index, "", value, math.nan)
        for (layer, position, index), value in zip(features.tolist(), activation.tolist(), strict=True)
    ]
    places += [
        (NodeKind.ERROR, layer, position, -1, "", math.nan, math.nan)
        for layer in range(n_layers)
        for position in range(n_pos)
    ]
    places += [
        (NodeKind.TOKEN, -1, at, index, f"#{index}", math.nan, math.nan) for at, index in enumerate(token_ids.tolist())
    ]
    places += [(NodeKind.LOGIT, n_layers, n_pos - 1, index, text, math.nan, chance) for index, text, chance in outputs]
    names = ("kind", "layer", "position", "index", "label", "activation", "probability")
    for kind, layer, position, index, *_ in places:
        if not (-1 <= layer <= n_layers and 0 <= position < n_pos and index >= -1):
            raise ValueError(f"a {kind} of layer {layer} at position {position} with index {index}")
    return [
        {"node_id": node_id(place[0], place[1], place[2], place[3], n_layers)} | dict(zip(names, place, strict=True))
        for place in places
    ]


def _about(source: Source, saved: dict[str, Any], token_ids: np.ndarray, n_layers: int) -> GraphMetadata:
    cfg, scan = saved.get("cfg"), saved.get("scan_name", saved.get("scan"))
    names = cfg.state if isinstance(cfg, _Record) else cfg if isinstance(cfg, dict) else {}
    scan = " + ".join(str(each) for each in scan) if isinstance(scan, list) else scan
    model = next(
        (names[name] for name in ("model_name", "tokenizer_name") if isinstance(names.get(name), str)),
        scan if isinstance(scan, str) else "",
    )
    if not model:
        raise ValueError("no model_name in cfg and no scan_name")
    prompt = _of(str, saved["input_string"])
    return GraphMetadata(
        slug=slug_of(prompt) if prompt.strip() else source.name.partition(".")[0],
        prompt=prompt,
        tokens=tuple(f"#{index}" for index in token_ids.tolist()),
        model=model,
        source_set=scan if isinstance(scan, str) and scan else model,
        n_layers=n_layers,
    )
