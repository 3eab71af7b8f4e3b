"""The demo model: a six-layer Llama trained from nothing on the demo's sentences.

Token embeddings are frozen at random values. That is the one essential choice: trained embeddings learn to hold a
city's region in the embedding row itself, and then there is no first hop left to find in the network.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tracer.demo import corpus
from tracer.demo.world import load_world

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

Report = Callable[[str], None]


@dataclass(frozen=True)
class ModelRecipe:
    """Everything the training depends on besides the sentences."""

    n_layers: int = 6
    """Layers; the two hops need about two each, and reading out the rest."""

    d_model: int = 128
    """Width of the residual stream."""

    n_heads: int = 4
    """Attention heads a layer."""

    d_mlp: int = 512
    """Inner width of the gated MLP."""

    steps: int = 1600
    """Optimizer steps; the learning-rate schedule is a function of the step alone, so a rerun repeats it."""

    batch_size: int = 192
    """Sentences a step."""

    pair_every: int = 6
    """Every how many steps the batch is half as many two-sentence texts."""

    pair_texts: int = 12000
    """How many two-sentence texts to draw in all."""

    mix: tuple[float, float, float] = (0.62, 0.16, 0.22)
    """Shares of two-hop, city and region sentences in a batch."""

    learning_rate: float = 2e-3
    """Peak rate, for Muon on the matrices and AdamW on the rest."""

    weight_decay: float = 0.1
    """For matrices and the unembedding."""

    warmup_steps: int = 100
    """Linear warm-up."""

    decay_share: float = 0.35
    """The rate falls linearly to 2 % over this last share of the steps."""

    embedding_std: float = 0.5
    """Spread of the frozen random embeddings."""

    language_share: float = 0.15
    """Share of each batch whose every token is predicted, not the answer alone."""

    language_weight: float = 0.3
    """Weight of that loss beside the answer's."""

    seed: int = 0
    """For the weights, the batches and the split."""

    compile: bool = True
    """Compile the step with torch.compile; needs a C++ compiler, and without one False is 1.5 to 2 times slower."""


@dataclass(frozen=True)
class Texts:
    """Token ids of many texts of one kind, padded on the right."""

    tokens_NP: Tensor
    """Ids, 0 where padded."""

    length_N: Tensor
    """Tokens of each text; the answer is the last but one."""


def pack(tokenizer: Any, texts: list[str]) -> Texts:
    """Tokenize and pad."""
    rows = tokenizer(texts)["input_ids"]
    length_N = torch.tensor([len(row) for row in rows])
    tokens_NP = torch.full((len(rows), int(length_N.max())), corpus.PAD_ID)
    for row, tokens in enumerate(rows):
        tokens_NP[row, : len(tokens)] = torch.tensor(tokens)
    return Texts(tokens_NP, length_N)


def new_model(recipe: ModelRecipe, vocabulary: dict[str, int]) -> LlamaForCausalLM:
    """An untrained model with frozen random embeddings, one for both spellings of a word (with and without a space).

    A name that opens a text then looks the same as anywhere else. With an embedding of its own it needed features of
    its own, and small dictionaries had none left for it.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = cast(Any, LlamaConfig)(  # its signature leaves attn_implementation out
        vocab_size=len(vocabulary),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_heads,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=corpus.BOS_ID,
        eos_token_id=corpus.EOS_ID,
        pad_token_id=corpus.PAD_ID,
        attn_implementation="eager",  # on a CPU half the time of SDPA's bf16 backward
    )
    model = LlamaForCausalLM(config)
    embedding_VD = cast(Tensor, model.model.embed_tokens.weight)
    embedding_VD.requires_grad_(False)
    torch.nn.init.normal_(embedding_VD, std=recipe.embedding_std)
    embedding_VD[corpus.PAD_ID] = 0
    for word, token in vocabulary.items():
        if f" {word}" in vocabulary:
            embedding_VD[vocabulary[f" {word}"]] = embedding_VD[token]
    return model


def new_optimizers(model: LlamaForCausalLM, recipe: ModelRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the unembedding and the norms."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    inner = [weight for name, weight in trained if weight.ndim == 2 and "lm_head" not in name]
    unembedding = [weight for name, weight in trained if "lm_head" in name]
    norms = [weight for _, weight in trained if weight.ndim < 2]
    muon = torch.optim.Muon(
        inner,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",  # one learning rate then serves both optimizers
    )
    adamw = torch.optim.AdamW(
        [
            {"params": unembedding, "weight_decay": recipe.weight_decay},
            {"params": norms, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )
    return [muon, adamw]


def rate_at(step: int, recipe: ModelRecipe) -> float:
    """Learning rate: linear warm-up, flat, linear decay."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    left = (1 - step / recipe.steps) / recipe.decay_share
    return recipe.learning_rate * warm * min(1.0, max(0.02, left))


@torch.no_grad()
def answer_accuracy(model: LlamaForCausalLM, texts: Texts, batch_size: int = 512) -> float:
    """Share of texts whose answer is the model's first choice."""
    right = 0
    for start in range(0, len(texts.tokens_NP), batch_size):
        tokens_BP = texts.tokens_NP[start : start + batch_size]
        before_answer_B = texts.length_N[start : start + batch_size] - 3
        rows_B = torch.arange(len(tokens_BP))
        final_BPD = model.model(input_ids=tokens_BP, use_cache=False).last_hidden_state
        guess_B = model.lm_head(final_BPD[rows_B, before_answer_B]).argmax(-1)
        right += int((guess_B == tokens_BP[rows_B, before_answer_B + 1]).sum())
    return right / len(texts.tokens_NP)


def train(out: Path, recipe: ModelRecipe = ModelRecipe(), report: Report = print) -> Path:
    """Train the model, and write it with its tokenizer in Hugging Face format, weights in bfloat16.

    Args:
        out: Folder to write to.
        recipe: What to train; the default is the shipped model.
        report: Called with a line of progress every 100 steps.

    Returns:
        The folder.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = corpus.build_tokenizer(load_world(), out)
    split = corpus.splits(recipe.seed)
    single = {kind: pack(tokenizer, texts) for kind, texts in corpus.training_sentences(split).items()}
    pairs = pack(tokenizer, corpus.training_pairs(split, recipe.pair_texts, recipe.seed))
    sample = slice(None, None, 13)
    checks = {
        "two-hop train": Texts(single["two_hop"].tokens_NP[sample], single["two_hop"].length_N[sample]),
        "held out": pack(
            tokenizer,
            [corpus.sentence(t, f) for t in corpus.TWO_HOP_TEMPLATES for f in split.two_hop_validation[::2]],
        ),
    }
    width = max(texts.tokens_NP.shape[1] for texts in single.values()) - 1  # the last full stop is never an input
    model = new_model(recipe, tokenizer.get_vocab())
    run = cast(Any, torch.compile(model.model, dynamic=False) if recipe.compile else model.model)
    optimizers = new_optimizers(model, recipe)
    started = time.monotonic()
    recent = math.nan
    for step in range(recipe.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step, recipe)
        if (step + 1) % recipe.pair_every == 0:
            texts = _draw([(pairs, recipe.batch_size // 2)], pairs.tokens_NP.shape[1] - 1)
        else:
            texts = _draw(
                [
                    (of_kind, round(recipe.batch_size * share))
                    for of_kind, share in zip(single.values(), recipe.mix, strict=True)
                ],
                width,
            )
        loss = _loss(model, run, texts, recipe)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        recent = loss.item() if math.isnan(recent) else 0.98 * recent + 0.02 * loss.item()
        if (step + 1) % 100 == 0 or step + 1 == recipe.steps:
            line = f"model: step {step + 1}/{recipe.steps}, loss {recent:.3f}, {time.monotonic() - started:.0f} s"
            if (step + 1) % 400 == 0 or step + 1 == recipe.steps:
                line += "".join(f", {name} {answer_accuracy(model, texts):.4f}" for name, texts in checks.items())
            report(line)
    save(model, out)
    return out


def save(model: LlamaForCausalLM, out: Path) -> None:
    """Write weights in bfloat16, and a tokenizer class name that transformers 4 and 5 both know."""
    settings_file = out / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("backend", None)
    settings_file.write_text(json.dumps(settings, indent=2) + "\n")
    cast(torch.nn.Module, model).to(torch.bfloat16)
    model.save_pretrained(str(out))
    (out / "model.safetensors").chmod(0o644)  # safetensors gives rights to the owner alone
    cast(torch.nn.Module, model).to(torch.float32)


def _draw(parts: list[tuple[Texts, int]], width: int) -> Texts:
    """A random batch: so many texts of each part, cut or padded to one width."""
    tokens, lengths = [], []
    for texts, count in parts:
        rows_B = torch.randint(0, len(texts.tokens_NP), (count,))
        tokens_BP = texts.tokens_NP[rows_B][:, :width]
        tokens.append(F.pad(tokens_BP, (0, width - tokens_BP.shape[1]), value=corpus.PAD_ID))
        lengths.append(texts.length_N[rows_B])
    return Texts(torch.cat(tokens), torch.cat(lengths))


def _loss(model: LlamaForCausalLM, run: Any, texts: Texts, recipe: ModelRecipe) -> Tensor:
    """Cross-entropy of the answers, plus that of every token of a few rows."""
    tokens_BP = texts.tokens_NP
    rows_B = torch.arange(len(tokens_BP))
    before_answer_B = texts.length_N - 3
    with torch.autocast("cpu", torch.bfloat16):
        final_BPD = run(input_ids=tokens_BP, use_cache=False).last_hidden_state
        answer_logits_BV = model.lm_head(final_BPD[rows_B, before_answer_B])
        some_S = torch.randperm(len(tokens_BP))[: max(1, int(len(tokens_BP) * recipe.language_share))]
        target_SP = tokens_BP[some_S, 1:]
        real_SP = target_SP != corpus.PAD_ID
        language_logits_TV = model.lm_head(final_BPD[some_S, :-1][real_SP])
    answer_loss = F.cross_entropy(answer_logits_BV.float(), tokens_BP[rows_B, before_answer_B + 1])
    language_loss = F.cross_entropy(language_logits_TV.float(), target_SP[real_SP])
    return answer_loss + recipe.language_weight * language_loss
