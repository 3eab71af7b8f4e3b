"""The model that the tracer is timed on: Gemma 2 in shape, random weights, dictionaries fitted to what its MLPs write.

Random, but not arbitrary: weights keep every part of the model at work, features fire at a given mean rate with rates
spread log-normally, and decoders are least-squares fits, so that graphs have the density of real ones.
"""

import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import Gemma2Config, PreTrainedTokenizerFast
from transformers.models.auto import AutoModelForCausalLM

from tracer.model import load_model

VERSION = "1"  # of this recipe: folders made by another one are made anew
N_VOCAB = 8192
N_ACTIVE = {"plt": 41, "clt": 24}  # mean active features by layer and token
READ_HOOK = {"plt": "ln2.hook_normalized", "clt": "hook_resid_mid"}
N_SAMPLES, SAMPLE_LENGTH = 32, 128
BOS = 2


@dataclass(frozen=True)
class Shape:
    """Of a random model and its dictionaries."""

    name: str
    n_layers: int
    d_model: int
    d_head: int
    d_mlp: int
    n_features: dict[str, int]
    """By layer, of each kind of dictionary that is made."""


SMALL = Shape("gemma2-random", 12, 512, 64, 2048, {"plt": 8192, "clt": 2048})
LARGE = Shape("gemma2-2b-random", 26, 2304, 256, 9216, {"plt": 16384})  # gemma-2-2b but for its vocabulary


def prompt(n_tokens: int) -> list[int]:
    """A prompt of so many tokens, always the same; frequent ids are as frequent as words are."""
    return [BOS, *_draw_tokens(torch.Generator().manual_seed(n_tokens), n_tokens - 1).tolist()]


def bench_folder() -> Path:
    """Where measurements keep what takes long to make: in the user's cache."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "throughline" / "bench"


def random_model(shape: Shape = SMALL, device: str = "cpu") -> Path:
    """The folder with `model` and its dictionaries, made on first use on this device."""
    folder = bench_folder() / shape.name
    done = folder / "version"
    if not done.is_file() or done.read_text() != VERSION:
        with torch.device(device):
            _make(folder, shape, torch.Generator(device).manual_seed(21))
        done.write_text(VERSION)
    return folder


@torch.no_grad()
def _make(folder: Path, shape: Shape, random: torch.Generator) -> None:
    config = Gemma2Config(
        num_hidden_layers=shape.n_layers,
        hidden_size=shape.d_model,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=shape.d_head,
        intermediate_size=shape.d_mlp,
        vocab_size=N_VOCAB,
        query_pre_attn_scalar=shape.d_head,
        sliding_window=256,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for name, weight in model.named_parameters():
        weight.copy_(_deviation(name, weight) * torch.randn(weight.shape, generator=random))
    model.save_pretrained(folder / "model")
    words = {"<pad>": 0, "<eos>": 1, "<bos>": BOS, "<unk>": 3} | {f"w{i}": i for i in range(4, N_VOCAB)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "model")
    about_tokenizer = folder / "model" / "tokenizer_config.json"  # the peer's older library knows the older name
    about_tokenizer.write_text(about_tokenizer.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
    for kind, n_features in shape.n_features.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        read_SLD, written_SLD = _observe(folder / "model", READ_HOOK[kind], random)
        write = _write_own_layers if kind == "plt" else _write_cross_layers
        write(folder / kind, n_features, read_SLD, written_SLD, random)
        about = {
            "model_kind": "transcoder_set" if kind == "plt" else "cross_layer_transcoder",
            "model_name": shape.name,
            "feature_input_hook": READ_HOOK[kind],
            "feature_output_hook": "hook_mlp_out",
            "scan": None,
        }
        if kind == "plt":
            about["transcoders"] = [f"layer_{layer}.safetensors" for layer in range(shape.n_layers)]
        (folder / kind / "config.yaml").write_text(json.dumps(about))  # JSON is YAML


def _deviation(name: str, weight: Tensor) -> float:
    """Standard deviation of the weights of this name, such that no part of the model drowns the others."""
    if "norm" in name:
        return 0.2
    gains = {"embed": 3, "lm_head": 3, "q_proj": 1.4, "k_proj": 1.4, "o_proj": 0.8, "gate_proj": 1.5, "up_proj": 1.5}
    gain = next((gain for part, gain in gains.items() if part in name), 1.0)
    return gain / math.sqrt(weight.shape[1])


def _draw_tokens(random: torch.Generator, n: int) -> Tensor:
    frequency_V = 1 / torch.arange(10, N_VOCAB + 6, device=random.device)
    return 4 + torch.multinomial(frequency_V, n, replacement=True, generator=random)


def _observe(model: Path, read_hook: str, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(samples, L, D) what features read, and what MLPs write."""
    adapter = load_model(model, device=str(random.device))
    reads, written = [], []
    for _ in range(N_SAMPLES):
        token_P = torch.cat([torch.tensor([BOS], device=random.device), _draw_tokens(random, SAMPLE_LENGTH - 1)])
        forward = adapter.observe(token_P)
        reads.append(adapter.read_LPD(forward, read_hook)[:, 1:].transpose(0, 1))
        written.append(adapter.written_LPD(forward, "hook_mlp_out")[:, 1:].transpose(0, 1))
    return torch.cat(reads), torch.cat(written)


def _encoder(read_SD: Tensor, n: int, n_active: int, random: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Encoder, bias and threshold of one layer of n features, and the (samples, F) activations they give."""
    d_model = read_SD.shape[1]
    weight_FD = torch.randn(n, d_model, generator=random)
    weight_FD *= (0.7 + 0.6 * torch.rand(n, 1, generator=random)) / weight_FD.norm(dim=1, keepdim=True)
    weight_FD *= math.sqrt(d_model) / read_SD.norm(dim=1).mean()
    rate_F = torch.exp(torch.randn(n, generator=random))
    rate_F = (rate_F / rate_F.mean() * n_active / n).clamp(max=0.5)
    pre_SF = read_SD @ weight_FD.T
    rank_F = (rate_F * len(pre_SF)).round().long().clamp(1, len(pre_SF) - 1)
    threshold_F = pre_SF.sort(dim=0, descending=True).values.gather(0, rank_F[None])[0]
    bias_F = 0.1 * torch.randn(n, generator=random)
    bias_F += (0.05 - threshold_F - bias_F).clamp(min=0)  # active values are positive
    threshold_F += bias_F
    pre_SF += bias_F
    return {"W_enc": weight_FD, "b_enc": bias_F, "threshold": threshold_F}, pre_SF * (pre_SF > threshold_F)


def _decoder(active_SF: Tensor, wanted_SD: Tensor, random: torch.Generator) -> Tensor:
    """(F, D) each feature's own least-squares fit with noise, scaled so that together they fit best."""
    decoder_FD = active_SF.T @ wanted_SD / (active_SF.square().sum(0)[:, None] + 1e-6)
    noise_FD = torch.randn(decoder_FD.shape, generator=random) / math.sqrt(wanted_SD.shape[1])
    decoder_FD += 0.5 * decoder_FD.norm(dim=1, keepdim=True) * noise_FD
    return decoder_FD * _best_scale(active_SF @ decoder_FD, wanted_SD)


def _best_scale(made_SD: Tensor, wanted_SD: Tensor) -> Tensor:
    return (made_SD * wanted_SD).sum() / made_SD.square().sum().clamp(min=1e-9)


def _layers(read_SLD: Tensor) -> Iterator[Tensor]:
    return (read_SLD[:, layer].contiguous() for layer in range(read_SLD.shape[1]))


def _write_own_layers(
    folder: Path, n_features: int, read_SLD: Tensor, written_SLD: Tensor, random: torch.Generator
) -> None:
    for layer, read_SD in enumerate(_layers(read_SLD)):
        parts, active_SF = _encoder(read_SD, n_features, N_ACTIVE["plt"], random)
        written_SD = written_SLD[:, layer]
        bias_D = written_SD.mean(0)
        parts |= {"W_dec": _decoder(active_SF, written_SD - bias_D, random), "b_dec": bias_D}
        parts["activation_function.threshold"] = parts.pop("threshold")
        _save(parts, folder / f"layer_{layer}.safetensors")


def _write_cross_layers(
    folder: Path, n_features: int, read_SLD: Tensor, written_SLD: Tensor, random: torch.Generator
) -> None:
    made = (_encoder(read_SD, n_features, N_ACTIVE["clt"], random) for read_SD in _layers(read_SLD))
    (encoders, active), n_layers = zip(*made, strict=True), read_SLD.shape[1]
    decoders: list[list[Tensor]] = [[] for _ in range(n_layers)]
    for layer in range(n_layers):
        written_SD = written_SLD[:, layer]
        encoders[layer]["b_dec"] = written_SD.mean(0)
        wanted_SD = written_SD - encoders[layer]["b_dec"]
        parts = [_decoder(active[i], wanted_SD, random) / (1 + layer - i) for i in range(layer + 1)]
        made_SD = sum(values @ part for values, part in zip(active, parts, strict=False))
        scale = _best_scale(made_SD, wanted_SD)  # type: ignore[arg-type]  # at least one part
        for i, part in enumerate(parts):
            decoders[i].append(part * scale)
    for layer in range(n_layers):
        _save(
            {f"{name}_{layer}": value for name, value in encoders[layer].items()}, folder / f"W_enc_{layer}.safetensors"
        )
        _save({f"W_dec_{layer}": torch.stack(decoders[layer], 1)}, folder / f"W_dec_{layer}.safetensors")


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
