"""Small random models and dictionaries on disk, made from the library's own config classes."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto import AutoModelForCausalLM

N_LAYERS, D_MODEL, N_VOCAB, N_FEATURES = 3, 32, 64, 48
PROMPT = (2, 17, 5, 40, 9, 33, 21)  # longer than the sliding window
WORDS = ("<pad>", "<eos>", "<bos>", "<unk>", "Dallas", "Texas", "Austin", "the", "capital", "of", "is")

COMMON = {
    "vocab_size": N_VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,  # not hidden_size / heads
    "max_position_embeddings": 32,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "initializer_range": 0.25,  # large, so that every part has a say
}
WITHOUT_HEAD_DIM = {name: value for name, value in COMMON.items() if name != "head_dim"}
NEOX = {name: value for name, value in WITHOUT_HEAD_DIM.items() if name != "num_key_value_heads"}
NEOX["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 16}
GEMMA3 = COMMON | {
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "query_pre_attn_scalar": 12,
}
VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
ARCHITECTURES = {
    "llama": lambda: LlamaConfig(**COMMON, attention_bias=True, tie_word_embeddings=False),
    "gemma2": lambda: Gemma2Config(
        **COMMON, sliding_window=4, attn_logit_softcapping=5.0, final_logit_softcapping=8.0, query_pre_attn_scalar=12
    ),
    "gemma3_text": lambda: Gemma3TextConfig(
        **GEMMA3, attention_bias=True, attn_logit_softcapping=5.0, final_logit_softcapping=8.0
    ),
    "gemma3": lambda: Gemma3Config(
        text_config=GEMMA3,
        vision_config=VISION | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=N_VOCAB - 1,
    ),
    "mistral": lambda: MistralConfig(**COMMON, sliding_window=4),
    "qwen2": lambda: Qwen2Config(
        **WITHOUT_HEAD_DIM, use_sliding_window=True, sliding_window=4, max_window_layers=1, tie_word_embeddings=True
    ),
    "qwen3": lambda: Qwen3Config(**COMMON, tie_word_embeddings=True),
    "olmo2": lambda: Olmo2Config(**COMMON, attention_bias=True),
    "gpt_oss": lambda: GptOssConfig(
        **COMMON, sliding_window=4, num_local_experts=4, num_experts_per_tok=2, rope_parameters=YARN
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=N_VOCAB, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=4, n_positions=32, initializer_range=0.25
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**NEOX),
    "gpt_neox-serial": lambda: GPTNeoXConfig(**NEOX, use_parallel_residual=False),
}


@dataclass(frozen=True)
class Dictionary:
    """A kind of dictionary to write."""

    cross_layer: bool = False
    threshold: bool = True
    skip: bool = False
    read_hook: str = "mlp.hook_in"
    write_hook: str = "hook_mlp_out"
    dtype: torch.dtype = torch.float32


def write_model(folder: Path, architecture: str, seed: int = 0, **changes) -> Path:
    """A random model of this architecture, every weight of it random, norms and biases too."""
    torch.manual_seed(seed)
    config = ARCHITECTURES[architecture]()
    for name, value in changes.items():
        setattr(config, name, value)
    model = AutoModelForCausalLM.from_config(config)
    for weight in (w for name, w in model.named_parameters() if w.ndim == 1 or name.endswith("bias")):
        weight.data += 0.3 * torch.randn_like(weight)  # norms, biases, sinks
    model.save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, add_bos: bool, words: tuple[str, ...] = WORDS) -> Path:
    """A word-level tokenizer that adds the first token by its own rule, or does not."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    if add_bos:
        tokenizer.post_processor = TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", words.index("<bos>"))]
        )
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def write_dictionary(
    folder: Path, kind: Dictionary, n_layers: int = N_LAYERS, d_model: int = D_MODEL, seed: int = 0
) -> Path:
    """A random dictionary in circuit-tracer's format; about a third of its features fire."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return (scale * torch.randn(*shape, generator=random)).to(kind.dtype).contiguous()

    for i in range(n_layers):
        encoder = {"W_enc": draw(N_FEATURES, d_model, scale=0.3), "b_enc": draw(N_FEATURES, scale=0.2)}
        encoder["b_dec"] = draw(d_model, scale=0.2)
        if kind.threshold:
            encoder["threshold"] = draw(N_FEATURES, scale=0.3).abs()
        if kind.skip:
            encoder["W_skip"] = draw(d_model, d_model, scale=0.15)
        n_out = n_layers - i if kind.cross_layer else 1
        decoder = draw(N_FEATURES, n_out, d_model, scale=0.2)
        _write_layer(folder, kind, i, encoder, decoder)
    config = {"feature_input_hook": kind.read_hook, "feature_output_hook": kind.write_hook, "scan": None}
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    return folder


def _write_layer(folder: Path, kind: Dictionary, i: int, encoder: dict, decoder: torch.Tensor) -> None:
    if kind.cross_layer:
        save_file({f"{name}_{i}": value for name, value in encoder.items()}, folder / f"W_enc_{i}.safetensors")
        save_file({f"W_dec_{i}": decoder}, folder / f"W_dec_{i}.safetensors")
        return
    if "threshold" in encoder:
        encoder["activation_function.threshold"] = encoder.pop("threshold")
    save_file(encoder | {"W_dec": decoder[:, 0].contiguous()}, folder / f"layer_{i}.safetensors")


FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])  # the numbers of MXFP4; bit 3 of a code is the sign


def write_mxfp4(folder: Path, plain: Path, seed: int = 0) -> tuple[Path, Path]:
    """A GPT-OSS folder with experts in MXFP4, as published, and one with the same numbers in full: (folder, plain)."""
    write_model(plain, "gpt_oss", intermediate_size=32)
    weights, random = load_file(plain / "model.safetensors"), torch.Generator().manual_seed(seed)
    packed = dict(weights)
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        n_experts, n_in, n_out = weights[name].shape
        code = torch.randint(0, 16, (n_experts, n_out, n_in // 32, 32), generator=random, dtype=torch.uint8)
        scale = torch.randint(124, 127, code.shape[:3], generator=random, dtype=torch.uint8)  # exponents, plus 127
        value = FP4[(code & 7).long()] * torch.where(code > 7, -1, 1) * 2.0 ** (scale.float() - 127)[..., None]
        weights[name] = value.reshape(n_experts, n_out, n_in).transpose(1, 2).contiguous()
        del packed[name]
        packed |= {f"{name}_blocks": code[..., ::2] | code[..., 1::2] << 4, f"{name}_scales": scale}
    save_file(weights, plain / "model.safetensors", metadata={"format": "pt"})
    shutil.copytree(plain, folder)
    save_file(packed, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((plain / "config.json").read_text())
    left = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": left}
    (folder / "config.json").write_text(json.dumps(config))
    return folder, plain
