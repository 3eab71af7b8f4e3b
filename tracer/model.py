"""load_model: a Hugging Face model behind the adapter of its architecture, checked before it is used."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging
from transformers.utils.quantization_config import Mxfp4Config

from tracer.adapter import Adapter
from tracer.architectures import ADAPTERS, WHAT_AN_ADAPTER_PROVIDES
from tracer.errors import SettingError, UnsupportedModelError
from tracer.selfcheck import check_adapter

Fit = Callable[[str, int, int], None]
"""Told a model's name, layers and width before its weights are read; raises where something does not fit."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


def load_model(
    folder_or_name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "float32", fits: Fit | None = None
) -> Adapter:
    """The model in this folder, or of this name on the hub, checked and ready to be traced.

    Nothing is downloaded unless a hub name is given; HF_HUB_OFFLINE is honoured.

    Raises:
        UnsupportedModelError: There is no such model, no adapter for its architecture, its files are incomplete or
            hold NaN, or the adapter's own check fails.
        SettingError: The device or dtype does not exist here.
    """
    adapter = open_model(folder_or_name, device=device, dtype=dtype, fits=fits)
    check_adapter(adapter)
    return adapter


def open_model(
    folder_or_name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "float32", fits: Fit | None = None
) -> Adapter:
    """As `load_model`, but the adapter's check is left to the caller."""
    place = resolve_device(device)
    source = find_folder(folder_or_name, "config.json", "a Hugging Face model folder", UnsupportedModelError)
    config = _read(source, "configuration", AutoConfig.from_pretrained)
    kind = getattr(config, "model_type", "unknown")
    if kind not in ADAPTERS:
        raise UnsupportedModelError(
            f"{source}: architecture {kind!r} has no adapter; there are adapters for {', '.join(ADAPTERS)}. "
            f"To add one, provide {WHAT_AN_ADAPTER_PROVIDES}."
        )
    name = Path(source).name if os.path.isdir(source) else source
    if fits:
        fits(name, config.get_text_config().num_hidden_layers, config.get_text_config().hidden_size)
    model = _read_weights(source, config, resolve_dtype(dtype)).to(place).eval().requires_grad_(False)
    folder = Path(source) if os.path.isdir(source) else Path(str(cached_file(source, "config.json"))).parent
    return ADAPTERS[kind](model, _read_tokenizer(source), name, folder)


def resolve_device(name: str) -> torch.device:
    """The device of this name; `auto` is a GPU if there is one. Raises SettingError where it is not there.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
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


def find_folder(folder_or_name: str | os.PathLike[str], must_have: str, what: str, error: type[Exception]) -> str:
    """The folder as an absolute path, or the hub name unchanged. Raises `error` where it is neither.

    A hub name has an owner: without a slash it is a folder that is not there, and the hub is not asked.
    """
    text = os.fspath(folder_or_name)
    path = Path(text).expanduser()
    if text and path.is_dir():
        if not (path / must_have).is_file():
            raise error(f"{text}: no {must_have} in this folder; expected {what}. Give the folder that holds it.")
        return str(path.resolve())
    looks_like_path = path.exists() or path.is_absolute() or text.startswith((".", "~")) or "\\" in text
    if looks_like_path or text.count("/") != 1:
        raise error(f"{text!r}: no such folder; expected {what}, or a hub name such as `owner/name`. Check the path.")
    return text


def _read(source: str, what: str, reader: Any, **options: Any) -> Any:
    """Call a reader of transformers and turn its failure into our error."""
    try:
        return reader(source, **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        remedy = "Check the files." if os.path.isdir(source) else "Check the name, or give a local folder."
        raise UnsupportedModelError(
            f"{source}: its {what} cannot be read ({reason}); expected a Hugging Face model. {remedy}"
        ) from error


def _read_weights(source: str, config: Any, dtype: torch.dtype) -> Any:
    options = {"attn_implementation": "eager", "dtype": dtype, "output_loading_info": True}
    options["experts_implementation"] = "eager"  # the grouped products of mixtures of experts know no float64
    if (getattr(config, "quantization_config", None) or {}).get("quant_method") == "mxfp4":
        options["quantization_config"] = Mxfp4Config(dequantize=True)  # GPT-OSS as published; packed it needs more
    with _no_progress_bar():
        model, info = _read(source, "weights", AutoModelForCausalLM.from_pretrained, **options)
    for weight in model.parameters():  # transformers 5.0 leaves unpacked experts in a format of its own
        weight.data = weight.data.to(dtype)
    missing = sorted(info["missing_keys"])
    if missing:
        raise UnsupportedModelError(
            f"{source}: {len(missing)} weights are missing, the first is {missing[0]!r}; expected all weights of a "
            f"{type(model).__name__}. Fetch the model again."
        )
    return model


def _read_tokenizer(source: str) -> Any:
    """The tokenizer, or None for a folder without one: such a model is traced by token ids."""
    if os.path.isdir(source) and not any((Path(source) / name).is_file() for name in TOKENIZER_FILES):
        return None
    return _read(source, "tokenizer", AutoTokenizer.from_pretrained)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers' bar over weights quiet; ours shows the steps that take long."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
