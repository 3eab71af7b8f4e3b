"""load_model: a Hugging Face model behind the adapter of its architecture, checked before it is used."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging
from transformers.utils.quantization_config import Mxfp4Config

from tracer.adapter import Adapter, is_parallel
from tracer.architectures import ADAPTERS, WHAT_AN_ADAPTER_PROVIDES
from tracer.errors import SettingError, UnsupportedModelError
from tracer.memory import is_out_of_memory, load_told
from tracer.published import looks_like_path, parse_hub_name
from tracer.selfcheck import check_adapter
from tracer.transcoders import TranscoderSet

VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
TOKENIZER_FILES = (*VOCABULARY_FILES, "tokenizer_config.json")
PASSED_OVER = re.compile(r"vision|\.(attn|attention)\.(masked_)?bias$|\.inv_freq$")  # towers; masks, angles of old


class Source(NamedTuple):
    """Where a model's files are: a folder here, or a repository on the hub."""

    place: str
    revision: str | None = None
    """Commit, branch or tag on the hub; None: the newest."""

    @property
    def is_folder(self) -> bool:
        return os.path.isdir(self.place)

    def __str__(self) -> str:
        return self.place + (f"@{self.revision}" if self.revision else "")


def load_model(folder_or_name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "float32") -> Adapter:
    """The model in this folder, or of this name on the hub, checked and ready to be traced.

    Nothing is downloaded unless a hub name is given, `owner/name` or `owner/name@revision`; HF_HUB_OFFLINE is honoured.

    Raises:
        UnsupportedModelError: There is no such model, no adapter for its architecture, its files are incomplete, hold
            NaN or weights that the model has no place for, or the adapter's own check fails.
        SettingError: The device or dtype does not exist here, or its memory does not suffice.
    """
    adapter = open_model(folder_or_name, device=device, dtype=dtype)
    check_adapter(adapter)
    return adapter


def open_model(
    folder_or_name: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "float32",
    transcoders: TranscoderSet | None = None,
) -> Adapter:
    """As `load_model`, but the adapter's check is left to the caller.

    Args:
        transcoders: A dictionary that has to fit; raises DictionaryError, before weights are read, where it does not.
    """
    place = resolve_device(device)
    source = find_model(folder_or_name)
    config = _read(source, "configuration", AutoConfig.from_pretrained)
    kind = getattr(config, "model_type", "unknown")
    if kind not in ADAPTERS:
        raise UnsupportedModelError(
            f"{source}: architecture {kind!r} has no adapter; there are adapters for {', '.join(ADAPTERS)}. "
            f"To add one, provide {WHAT_AN_ADAPTER_PROVIDES}."
        )
    adapter, name = ADAPTERS[kind], Path(source.place).name if source.is_folder else source.place
    if transcoders:
        text = config.get_text_config()
        transcoders.check_fits(name, text.num_hidden_layers, text.hidden_size)
        adapter.check_read_hook(transcoders.read_hook, name, is_parallel(text))
    form = resolve_dtype(dtype)
    with load_told(str(source), place, form):
        model = _read_weights(source, config, form, adapter).to(place).eval().requires_grad_(False)
    folder = Path(str(cached_file(source.place, "config.json", revision=source.revision))).parent
    return adapter(model, _read_tokenizer(source, folder), name, folder)


def resolve_device(name: str) -> torch.device:
    """The device of this name; `auto` is a GPU if there is one. Raises SettingError where it is not there.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # what has no values, as `meta`, is no place to compute
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SettingError(
            f"device {name!r} cannot be used here ({reason}); expected auto, cpu, or a GPU that torch sees. "
            "Use device='auto'."
        ) from None
    return device


def resolve_dtype(name: str) -> torch.dtype:
    """The number format of this name. Raises SettingError where it is not one the tracer computes in."""
    names = ("float32", "float64", "bfloat16", "float16")
    if name not in names:
        raise SettingError(f"dtype is {name!r}; expected one of {', '.join(names)}. Use one of these.")
    return getattr(torch, name)


def find_model(folder_or_name: str | os.PathLike[str]) -> Source:
    """The folder as an absolute path, or the repository on the hub, which is not asked yet.

    A hub name has an owner: without a slash it is a folder that is not there.

    >>> find_model("google/gemma-2-2b@main")
    Source(place='google/gemma-2-2b', revision='main')
    """
    text, what = os.fspath(folder_or_name), "a Hugging Face model folder"
    path = Path(text).expanduser()
    if text and path.is_dir():
        if not (path / "config.json").is_file():
            raise UnsupportedModelError(
                f"{text}: no config.json in this folder; expected {what}. Give the folder that holds it."
            )
        return Source(str(path.resolve()))
    hub = None if looks_like_path(text) else parse_hub_name(text)
    if hub is None or hub.inside:
        raise UnsupportedModelError(
            f"{text!r}: no such folder; expected {what}, or a hub name such as `owner/name` or `owner/name@revision`. "
            "Check the path."
        )
    return Source(hub.repo, hub.revision)


def _read(source: Source, what: str, reader: Any, **options: Any) -> Any:
    """Call a reader of transformers and turn its failure into our error."""
    failures = (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError, SafetensorError)
    try:
        return reader(source.place, revision=source.revision, **options)
    except (*failures, StrictDataclassError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300]
        remedy = "Check the files." if source.is_folder else "Check the name, or give a local folder."
        raise UnsupportedModelError(
            f"{source}: its {what} cannot be read ({reason}); expected a Hugging Face model. {remedy}"
        ) from error


def _read_weights(source: Source, config: Any, dtype: torch.dtype, adapter: type[Adapter]) -> Any:
    options = {"attn_implementation": "eager", "dtype": dtype, "output_loading_info": True}
    options["experts_implementation"] = "eager"  # the grouped products of mixtures of experts know no float64
    if (getattr(config, "quantization_config", None) or {}).get("quant_method") == "mxfp4":
        options["quantization_config"] = Mxfp4Config(dequantize=True)  # GPT-OSS as published; packed it needs more
    with _quiet():
        model, info = _read(source, "weights", AutoModelForCausalLM.from_pretrained, **options)
    for weight in model.parameters():  # transformers 5.0 leaves unpacked experts in a format of its own
        weight.data = weight.data.to(dtype)
    missing = sorted(info["missing_keys"])
    if missing:
        raise UnsupportedModelError(
            f"{source}: {len(missing)} weights are missing, the first is {missing[0]!r}; expected all weights of a "
            f"{type(model).__name__}. Fetch the model again."
        )
    in_blocks = re.compile(rf"(^|\.){adapter.layout.blocks.rpartition('.')[2]}\.\d+\.")
    unused = [key for key in sorted(info["unexpected_keys"]) if in_blocks.search(key) and not PASSED_OVER.search(key)]
    if unused:
        raise UnsupportedModelError(
            f"{source}: {len(unused)} weights of blocks have no place in the model that config.json describes, the "
            f"first is {unused[0]!r}; expected none, since they may change what it computes. Correct config.json "
            "(number of layers, biases), or fetch the model again."
        )
    return model


def _read_tokenizer(source: Source, folder: Path) -> Any:
    """The tokenizer, or None where the model's folder has none: such a model is traced by token ids."""
    if source.is_folder and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    try:
        return _read(source, "tokenizer", AutoTokenizer.from_pretrained)
    except UnsupportedModelError:
        if any((folder / name).is_file() for name in VOCABULARY_FILES):
            raise
        return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bar over weights and its report on them quiet; what is wrong with them we say ourselves."""
    bar, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
