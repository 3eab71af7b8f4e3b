"""The demo model's dictionaries: one cross-layer and one per-layer transcoder set, in circuit-tracer's file format.

Both are trained on what the MLPs read and write on training sentences: BatchTopK chooses the active features while
training, and its running threshold becomes the JumpReLU threshold of the shipped files. The input is the MLP's own
(`mlp.hook_in`, after the norm and its weight), the output what the MLP adds to the residual stream.

Sources: Bussmann et al. 2024, "BatchTopK Sparse Autoencoders", https://arxiv.org/abs/2412.06410; Gao et al. 2024,
"Scaling and evaluating sparse autoencoders" (the auxiliary loss of dead features), https://arxiv.org/abs/2406.04093;
Ameisen et al. 2025, "Circuit Tracing" (cross-layer transcoders),
https://transformer-circuits.pub/2025/attribution-graphs/methods.html
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tracer.demo import corpus

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

Report = Callable[[str], None]


@dataclass(frozen=True)
class TranscoderRecipe:
    """Everything the training of one set depends on besides the model."""

    cross_layer: bool
    """Whether a feature writes to its own layer and all later ones, or to its own only."""

    n_features: int
    """Features a layer."""

    active: float
    """Mean number of active features a token and layer at the end; a cross-layer set shares it out among layers."""

    steps: int
    """Optimizer steps."""

    batch_size: int = 512
    """Tokens a step."""

    learning_rate: float = 2e-3
    """Peak rate of Adam."""

    prefix_copies: int = 10
    """How many tokens with one and the same text before them are kept; more gives common openings more weight."""

    pair_texts: int = 2500
    """Two-sentence texts among the training tokens."""

    first_token_share: float = 0.01
    """Share of the training tokens that are <bos>, whose activations are the same in every text."""

    joint_steps: int = 400
    """Steps after these in which all MLPs are replaced at once and the answer's distribution is to stay the same."""

    joint_rows: int = 128
    """Prompts a joint step."""

    joint_rate: float = 5e-4
    """Peak rate of the joint steps; it falls linearly to 0."""

    joint_weight: float = 1.0
    """Weight of the reconstruction error beside the divergence of the answer in the joint steps."""

    dead_after: int = 100
    """Steps without firing after which the auxiliary loss takes care of a feature."""

    seed: int = 0
    """For the weights and the batches."""


# Small on purpose. With more features each region's work is split among several of them, next to features of single
# cities, and the region drops off the strongest paths: with 512 features from 0.95 to 0.90 of the validation prompts.
CLT_RECIPE = TranscoderRecipe(cross_layer=True, n_features=384, active=4, steps=2500)
PLT_RECIPE = TranscoderRecipe(cross_layer=False, n_features=384, active=4, steps=2500, joint_steps=300)


class TranscoderSet(nn.Module):
    """Sparse stand-ins for all MLPs of a model.

    `W_dec[l]` has axes F (feature), T (layer written to, counted from l) and D; T is 1 in a per-layer set.
    """

    def __init__(self, n_layers: int, d_model: int, n_features: int, cross_layer: bool):
        super().__init__()
        self.n_layers, self.d_model, self.n_features, self.cross_layer = n_layers, d_model, n_features, cross_layer
        directions_LFD = torch.randn(n_layers, n_features, d_model)
        self.W_enc_LFD = nn.Parameter(directions_LFD / directions_LFD.norm(dim=-1, keepdim=True))
        self.b_enc_LF = nn.Parameter(torch.zeros(n_layers, n_features))
        self.b_dec_LD = nn.Parameter(torch.zeros(n_layers, d_model))
        spread = 0.02 if cross_layer else 0.05
        self.W_dec = nn.ParameterList(
            torch.randn(n_features, n_layers - layer if cross_layer else 1, d_model) * spread
            for layer in range(n_layers)
        )
        self.register_buffer("threshold_LF", torch.zeros(n_layers, n_features))
        self.threshold_LF: Tensor

    def pre_activations(self, layer: int, input_BD: Tensor) -> Tensor:
        """What the features of one layer would be before the threshold."""
        return input_BD @ self.W_enc_LFD[layer].T + self.b_enc_LF[layer]

    def encode(self, layer: int, input_BD: Tensor) -> Tensor:
        """JumpReLU activations of one layer's features."""
        pre_BF = self.pre_activations(layer, input_BD)
        return pre_BF * (pre_BF > self.threshold_LF[layer])

    def output(self, layer: int, activations: list[Tensor]) -> Tensor:
        """The MLP output of one layer that the features of it and of earlier layers stand for."""
        output_BD = self.b_dec_LD[layer]
        for source, activations_BF in enumerate(activations[: layer + 1]):
            if layer - source < self.W_dec[source].shape[1]:
                output_BD = output_BD + activations_BF @ self.W_dec[source][:, layer - source]
        return output_BD

    def decode(self, activations: list[Tensor]) -> list[Tensor]:
        """The MLP outputs of layers 0 to len(activations) - 1 that the features stand for."""
        return [self.output(layer, activations) for layer in range(len(activations))]

    def write(self, folder: Path) -> None:
        """Save in circuit-tracer's file format, in bfloat16."""
        folder.mkdir(parents=True, exist_ok=True)

        def stored(tensor: Tensor) -> Tensor:
            return tensor.detach().to(torch.bfloat16).contiguous()

        hooks = "feature_input_hook: mlp.hook_in\nfeature_output_hook: hook_mlp_out\n"
        for layer in range(self.n_layers):
            encoder, bias = stored(self.W_enc_LFD[layer]), stored(self.b_enc_LF[layer])
            offset, threshold = stored(self.b_dec_LD[layer]), stored(self.threshold_LF[layer])
            if self.cross_layer:
                save_file(
                    {
                        f"W_enc_{layer}": encoder,
                        f"b_enc_{layer}": bias,
                        f"b_dec_{layer}": offset,
                        f"threshold_{layer}": threshold,
                    },
                    folder / f"W_enc_{layer}.safetensors",
                )
                save_file({f"W_dec_{layer}": stored(self.W_dec[layer])}, folder / f"W_dec_{layer}.safetensors")
            else:
                save_file(
                    {
                        "W_enc": encoder,
                        "b_enc": bias,
                        "W_dec": stored(self.W_dec[layer][:, 0]),
                        "b_dec": offset,
                        "activation_function.threshold": threshold,
                    },
                    folder / f"layer_{layer}.safetensors",
                )
        kind = "cross_layer_transcoder" if self.cross_layer else "transcoder_set"
        text = f"{hooks}model_kind: {kind}\nmodel_name: throughline-demo\nscan: null\n"
        if not self.cross_layer:
            text += "transcoders:\n" + "".join(f"- layer_{layer}.safetensors\n" for layer in range(self.n_layers))
        (folder / "config.yaml").write_text(text)

    @classmethod
    def read(cls, folder: Path) -> TranscoderSet:
        """The set that `write` put into a folder, in float32."""
        cross_layer = (folder / "W_enc_0.safetensors").exists()
        tensors = []
        for layer in range(len(list(folder.glob("W_enc_*.safetensors" if cross_layer else "layer_*.safetensors")))):
            if cross_layer:
                of_layer = load_file(folder / f"W_enc_{layer}.safetensors") | load_file(
                    folder / f"W_dec_{layer}.safetensors"
                )
                of_layer = {name.removesuffix(f"_{layer}"): tensor for name, tensor in of_layer.items()}
            else:
                of_layer = load_file(folder / f"layer_{layer}.safetensors")
                of_layer["threshold"] = of_layer.pop("activation_function.threshold")
                of_layer["W_dec"] = of_layer["W_dec"][:, None]
            tensors.append({name: tensor.float() for name, tensor in of_layer.items()})
        n_features, d_model = tensors[0]["W_enc"].shape
        loaded = cls(len(tensors), d_model, n_features, cross_layer)
        with torch.no_grad():
            for layer, of_layer in enumerate(tensors):
                loaded.W_enc_LFD[layer] = of_layer["W_enc"]
                loaded.b_enc_LF[layer] = of_layer["b_enc"]
                loaded.b_dec_LD[layer] = of_layer["b_dec"]
                loaded.threshold_LF[layer] = of_layer["threshold"]
                loaded.W_dec[layer].copy_(of_layer["W_dec"])
        return loaded.requires_grad_(False)


def load_model(folder: Path) -> tuple[LlamaForCausalLM, Any]:
    """The demo model in float32, and its tokenizer."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(str(folder))


def mlps_of(model: LlamaForCausalLM) -> list[nn.Module]:
    return [cast(nn.Module, layer.mlp) for layer in model.model.layers]


class MlpTap:
    """Records what every MLP reads and writes while it is open: `with MlpTap(model) as tap: model(...)`."""

    def __init__(self, model: LlamaForCausalLM):
        self._mlps = mlps_of(model)
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._handles: list[Any] = []

    def __enter__(self) -> MlpTap:
        def record(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            self.inputs.append(arguments[0])
            self.outputs.append(output)

        self._handles = [mlp.register_forward_hook(record) for mlp in self._mlps]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def clear(self) -> None:
        """Forget what was recorded."""
        self.inputs.clear()
        self.outputs.clear()


def batches_of_one_length(rows: list[list[int]], batch_size: int = 256) -> list[list[int]]:
    """Indices of rows, in batches whose rows are equally long, so that none needs padding."""
    by_length: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(index)
    return [
        indices[start : start + batch_size]
        for indices in by_length.values()
        for start in range(0, len(indices), batch_size)
    ]


@torch.no_grad()
def replacement_agreement(model: LlamaForCausalLM, transcoders: TranscoderSet, rows: list[list[int]]) -> Tensor:
    """(N,) whether the model's first choice after each prompt stays the same when all its MLPs are replaced at once.

    The MLPs of <bos> stay, as in attribution with circuit-tracer. Nothing corrects the errors on the way, so this is
    harder than explaining each layer by itself.
    """
    same_N = torch.zeros(len(rows), dtype=torch.bool)
    for indices in batches_of_one_length(rows):
        tokens_BP = torch.tensor([rows[index] for index in indices])
        own_B = last_logits(model, tokens_BP).argmax(-1)
        with mlps_replaced(model, transcoders):
            replaced_B = last_logits(model, tokens_BP).argmax(-1)
        same_N[indices] = own_B == replaced_B
    return same_N


def last_logits(model: LlamaForCausalLM, tokens_BP: Tensor) -> Tensor:
    """(B, V) logits after the last token of each row, without those of the other positions."""
    final_BPD = model.model(input_ids=tokens_BP, use_cache=False).last_hidden_state
    return model.lm_head(final_BPD[:, -1])


@contextmanager
def mlps_replaced(model: LlamaForCausalLM, transcoders: TranscoderSet) -> Iterator[None]:
    """Every MLP but that of <bos> answers with the transcoders' output, for one forward pass."""
    activations: list[Tensor] = []

    def replace(_: nn.Module, arguments: tuple[Tensor, ...], output_BPD: Tensor) -> Tensor:
        activations.append(transcoders.encode(len(activations), arguments[0]))
        stand_in_BPD = transcoders.output(len(activations) - 1, activations)
        return torch.cat([output_BPD[:, :1], stand_in_BPD[:, 1:]], dim=1)

    handles = [mlp.register_forward_hook(replace) for mlp in mlps_of(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def training_rows(tokenizer: Any, recipe: TranscoderRecipe) -> list[list[int]]:
    """Token ids of the training prompts: single sentences and pairs, each up to its answer.

    The answer and the full stop are left out: nobody traces past the answer, and being different in every sentence
    they would take half of the dictionary.
    """
    split = corpus.splits()
    texts = [text for of_kind in corpus.training_sentences(split).values() for text in of_kind]
    texts += corpus.training_pairs(split, recipe.pair_texts, seed=1)
    return [row[:-2] for row in tokenizer(texts)["input_ids"]]


@torch.no_grad()
def collect(model: LlamaForCausalLM, rows: list[list[int]], recipe: TranscoderRecipe) -> tuple[Tensor, Tensor]:
    """MLP inputs and outputs (half precision, axes token, layer, D) of the rows' tokens; those of <bos> come last.

    Of tokens with the same text before them, which have the same activations, only `prefix_copies` are kept.
    """
    seen: Counter[tuple[int, ...]] = Counter()
    inputs, outputs = [], []
    with MlpTap(model) as tap:
        for indices in batches_of_one_length(rows):
            keep = []
            for index in indices:
                for position in range(1, len(rows[index])):
                    prefix = tuple(rows[index][: position + 1])
                    seen[prefix] += 1
                    keep.append(seen[prefix] <= recipe.prefix_copies)
            tap.clear()
            model.model(input_ids=torch.tensor([rows[index] for index in indices]), use_cache=False)
            keep_N = torch.tensor(keep)
            for recorded, kept in ((tap.inputs, inputs), (tap.outputs, outputs)):
                of_batch = torch.stack([tensor[:, 1:].flatten(0, 1) for tensor in recorded], dim=1)
                kept.append(of_batch[keep_N].half())
        first_tokens = round(recipe.first_token_share * sum(map(len, inputs)))
        for recorded, kept in ((tap.inputs, inputs), (tap.outputs, outputs)):
            first_1LD = torch.stack([tensor[:1, 0] for tensor in recorded], dim=1)
            kept.append(first_1LD.half().expand(first_tokens, -1, -1))
    return torch.cat(inputs), torch.cat(outputs)


def train(model_dir: Path, out: Path, recipe: TranscoderRecipe, report: Report = print) -> TranscoderSet:
    """Train one set on the model in `model_dir` and write it to `out`.

    Args:
        model_dir: The demo model.
        out: Folder for the set.
        recipe: CLT_RECIPE and PLT_RECIPE are the shipped ones.
        report: Called with a line of progress every 250 steps.

    Returns:
        The set, as written: in units of the model, thresholds included.
    """
    model, tokenizer = load_model(model_dir)
    rows = training_rows(tokenizer, recipe)
    input_NLD, output_NLD = collect(model, rows, recipe)
    report(f"{out.name}: {len(input_NLD)} training tokens")
    torch.manual_seed(recipe.seed)
    transcoders = TranscoderSet(
        model.config.num_hidden_layers, model.config.hidden_size, recipe.n_features, recipe.cross_layer
    )
    # In units in which every layer's inputs and outputs have mean square 1, so that no layer dominates the loss.
    input_scale_L = input_NLD.float().pow(2).mean((0, 2)).sqrt()
    output_scale_L = output_NLD.float().pow(2).mean((0, 2)).sqrt()
    mean_LD = output_NLD.float().mean(0) / output_scale_L[:, None]
    with torch.no_grad():
        transcoders.b_dec_LD.copy_(mean_LD)
    optimizer = torch.optim.Adam(transcoders.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    silent_LF = torch.zeros(transcoders.n_layers, recipe.n_features)
    threshold_L = torch.zeros(transcoders.n_layers)
    started = time.monotonic()
    for step in range(recipe.steps):
        done = step / recipe.steps
        rate = recipe.learning_rate * min(1.0, (step + 1) / 100) * min(1.0, max(0.02, (1 - done) / 0.4))
        for group in optimizer.param_groups:
            group["lr"] = rate
        picked_B = torch.randint(0, len(input_NLD), (recipe.batch_size,))
        input_BLD = input_NLD[picked_B].float() / input_scale_L[:, None]
        target_BLD = output_NLD[picked_B].float() / output_scale_L[:, None]
        # Starts with four times as many active features, so that most find a use before the choice gets narrow.
        active = recipe.active * (1 + 3 * max(0.0, 1 - done / 0.2))
        activations, chosen_threshold_L = _batch_top_k(transcoders, input_BLD, active)
        output_BLD = torch.stack(transcoders.decode(activations), dim=1)
        unexplained_L = _unexplained(output_BLD, target_BLD)
        loss = unexplained_L.sum()
        with torch.no_grad():
            fired_LF = torch.stack([(activations_BF > 0).any(0) for activations_BF in activations])
            silent_LF = torch.where(fired_LF, torch.zeros_like(silent_LF), silent_LF + 1)
            threshold_L = chosen_threshold_L if step < 10 else 0.99 * threshold_L + 0.01 * chosen_threshold_L
        dead_LF = silent_LF > recipe.dead_after
        if step % 2 == 0 and done < 0.8:
            loss = loss + _dead_feature_loss(transcoders, input_BLD, (target_BLD - output_BLD).detach(), dead_LF)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(transcoders.parameters(), 5.0)
        optimizer.step()
        if (step + 1) % 250 == 0 or step + 1 == recipe.steps:
            explained = " ".join(f"{1 - float(value):.3f}" for value in unexplained_L.detach())
            report(
                f"{out.name}: step {step + 1}/{recipe.steps}, {time.monotonic() - started:.0f} s, "
                f"explained by layer {explained}, silent features {int(dead_LF.sum())}"
            )
    with torch.no_grad():
        transcoders.threshold_LF.copy_(threshold_L.clamp(min=0)[:, None].expand_as(transcoders.threshold_LF))
        transcoders.W_enc_LFD.div_(input_scale_L[:, None, None])
        transcoders.b_dec_LD.mul_(output_scale_L[:, None])
        for layer in range(transcoders.n_layers):
            reach = transcoders.W_dec[layer].shape[1]
            transcoders.W_dec[layer].mul_(output_scale_L[layer : layer + reach, None])
    _train_jointly(model, transcoders, rows, output_scale_L, recipe, lambda line: report(f"{out.name}: {line}"))
    transcoders.write(out)
    return TranscoderSet.read(out)


def _train_jointly(
    model: LlamaForCausalLM,
    transcoders: TranscoderSet,
    rows: list[list[int]],
    output_scale_L: Tensor,
    recipe: TranscoderRecipe,
    report: Report,
) -> None:
    """Teach the set to stand in for all MLPs at once, where errors of early layers reach later ones.

    Thresholds stay. Beside the divergence of the answer's distribution counts, as before, how well each layer imitates
    its own MLP, on the inputs that it gets here: otherwise features would drift to what helps and is not there.
    """
    draw = random.Random(recipe.seed)
    optimizer = torch.optim.Adam(transcoders.parameters(), lr=recipe.joint_rate, betas=(0.9, 0.99))
    batches: list[list[int]] = []
    started = time.monotonic()
    for step in range(recipe.joint_steps):
        if not batches:
            shuffled = draw.sample(range(len(rows)), len(rows))
            batches = [
                [shuffled[index] for index in indices]
                for indices in batches_of_one_length([rows[index] for index in shuffled], recipe.joint_rows)
            ]
            draw.shuffle(batches)
        tokens_BP = torch.tensor([rows[index] for index in batches.pop()])
        for group in optimizer.param_groups:
            group["lr"] = recipe.joint_rate * min(1.0, (step + 1) / 20) * (1 - step / recipe.joint_steps)
        with torch.no_grad():
            own_BV = last_logits(model, tokens_BP).log_softmax(-1)
        with MlpTap(model) as own, mlps_replaced(model, transcoders), MlpTap(model) as stand_in:
            replaced_BV = last_logits(model, tokens_BP).log_softmax(-1)
        divergence = F.kl_div(replaced_BV, own_BV, reduction="batchmean", log_target=True)
        scale_LD = output_scale_L[:, None]
        output_BLD, target_BLD = (
            torch.stack([output_BPD[:, 1:].flatten(0, 1) for output_BPD in tap.outputs], 1) / scale_LD
            for tap in (stand_in, own)
        )
        unexplained = _unexplained(output_BLD, target_BLD.detach()).sum()
        loss = divergence + recipe.joint_weight * unexplained
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(transcoders.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            report(
                f"joint step {step + 1}/{recipe.joint_steps}, {time.monotonic() - started:.0f} s, "
                f"divergence {float(divergence.detach()):.4f}, unexplained {float(unexplained.detach()):.3f}"
            )


def _unexplained(output_BLD: Tensor, target_BLD: Tensor) -> Tensor:
    """(L,) mean error by layer.

    In late layers the outputs before the last position are many times larger than those that give the answer: an error
    counts in proportion to the size of what it is an error of, down to a quarter of the mean square.
    """
    weight_BL = 1 / (0.25 + target_BLD.pow(2).mean(-1))
    return ((output_BLD - target_BLD).pow(2).mean(-1) * weight_BL).mean(0)


def _batch_top_k(transcoders: TranscoderSet, input_BLD: Tensor, active: float) -> tuple[list[Tensor], Tensor]:
    """The batch's largest activations, `active` a token and layer on average, and the threshold this came to.

    A cross-layer set chooses among all layers at once, so a layer that needs more features gets more.
    """
    n_layers = transcoders.n_layers
    pre = [transcoders.pre_activations(layer, input_BLD[:, layer]).relu() for layer in range(n_layers)]
    count = int(active * len(input_BLD))
    if transcoders.cross_layer:
        everything = torch.cat([pre_BF.detach().flatten() for pre_BF in pre])
        shared = torch.topk(everything, count * n_layers, sorted=False).values.min()
        threshold_L = shared.expand(n_layers)
    else:
        threshold_L = torch.stack([torch.topk(p.detach().flatten(), count, sorted=False).values.min() for p in pre])
    return [pre_BF * (pre_BF >= threshold) for pre_BF, threshold in zip(pre, threshold_L, strict=True)], threshold_L


def _dead_feature_loss(transcoders: TranscoderSet, input_BLD: Tensor, residual_BLD: Tensor, dead_LF: Tensor) -> Tensor:
    """Lets features that no longer fire predict what the others miss in their own layer, which brings them back."""
    loss = torch.zeros(())
    for layer in range(transcoders.n_layers):
        dead_F = dead_LF[layer]
        if int(dead_F.sum()) <= 8:  # too few to be worth the time
            continue
        pre_BF = transcoders.pre_activations(layer, input_BLD[:, layer])[:, dead_F]
        value_BK, index_BK = torch.topk(pre_BF, min(24, pre_BF.shape[1]), dim=1)
        sparse_BF = torch.zeros_like(pre_BF).scatter(1, index_BK, value_BK)
        missed_BD = residual_BLD[:, layer]
        error = (sparse_BF @ transcoders.W_dec[layer][:, 0][dead_F] - missed_BD).pow(2).sum(-1).mean()
        loss = loss + 0.03 * error / missed_BD.pow(2).sum(-1).mean()
    return loss
