"""A second way to direct effects: autograd through the real model, with patterns, norm scales and MLPs detached."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tracer.replacement import ReplacementModel


def autograd_effects(model: ReplacementModel, token_P: Tensor, keep_first_position: bool) -> Tensor:
    """(A + V, A + LP + P): effects on each feature's pre-activation and on each raw logit at the last position.

    Rows are features, then the whole vocabulary; columns are features, errors, tokens. Everything is taken from the
    dictionary's files as dense tensors, and from the Hugging Face model by hooks; no code of ours computes it.
    """
    token_P = token_P.to(model.adapter.device)
    with _detached(model) as seen:
        raw = seen["model"](token_P[None], use_cache=False)
    del raw
    n_layers, n_pos = len(seen["read"]), len(token_P)
    weights = [_dense(model, layer) for layer in range(n_layers)]
    values = [_activations(weights[layer], seen["read"][layer]) for layer in range(n_layers)]
    if not keep_first_position:
        for value_PF in values:
            value_PF[0] = 0
    active = [(layer, *at) for layer in range(n_layers) for at in values[layer].nonzero().tolist()]
    error_LPD = _errors(model, weights, values, seen, keep_first_position)

    targets = [seen["read"][layer][p] @ weights[layer]["W_enc"][i] for layer, p, i in active]
    targets += list(model.adapter.unembed_VD @ seen["final"][-1])
    grads = [_gradients(target, [*seen["leaf"], seen["embed"]]) for target in targets]
    written = [_written(feature, values, weights, seen["embed"][0]) for feature in active]
    others = [*error_LPD, seen["embed"][0].detach()]
    written += [_one(layer, p, others) for layer in range(n_layers + 1) for p in range(n_pos)]
    return torch.stack(grads).flatten(1) @ torch.stack(written).flatten(1).T


def _gradients(target: Tensor, leaves: list[Tensor]) -> Tensor:
    """(L + 1, P, D) in each layer's written place, then in the embedding."""
    grads = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
    return torch.stack([torch.zeros_like(leaves[0][0]) if grad is None else grad[0] for grad in grads])


def _written(feature: tuple[int, int, int], values, weights, like_PD: Tensor) -> Tensor:
    """(L + 1, P, D) what one feature writes."""
    layer, p, i = feature
    written = like_PD.new_zeros(len(values) + 1, *like_PD.shape)
    decoder = weights[layer]["W_dec"][i].reshape(-1, like_PD.shape[-1])
    written[layer : layer + len(decoder), p] = values[layer][p, i] * decoder
    return written


def _one(layer: int, p: int, value_LPD: list[Tensor]) -> Tensor:
    """(L + 1, P, D) with nothing but the value at one layer and position."""
    written = value_LPD[0].new_zeros(len(value_LPD), *value_LPD[0].shape)
    written[layer, p] = value_LPD[layer][p]
    return written


def _dense(model: ReplacementModel, layer: int) -> dict[str, Tensor]:
    """The weights of one layer as they lie in the folder, their bypass to be applied as read @ skip."""
    folder, cross_layer, device = model.transcoders.folder, model.transcoders.cross_layer, model.adapter.device
    if cross_layer:
        files = load_file(folder / f"W_enc_{layer}.safetensors") | load_file(folder / f"W_dec_{layer}.safetensors")
        found = {name.removesuffix(f"_{layer}"): value.float().to(device) for name, value in files.items()}
    else:
        files = load_file(folder / f"layer_{layer}.safetensors")
        found = {name.removeprefix("activation_function."): value.float().to(device) for name, value in files.items()}
    if "W_skip" in found:  # stored by the two formats in opposite orientation
        found["skip"] = found["W_skip"] if cross_layer else found["W_skip"].T
    return found


def _activations(weights: dict[str, Tensor], read_PD: Tensor) -> Tensor:
    pre_PF = (read_PD @ weights["W_enc"].T + weights["b_enc"]).detach()
    return torch.where(pre_PF > weights["threshold"], pre_PF, 0) if "threshold" in weights else pre_PF.clamp(min=0)


def _errors(model, weights, values, seen, keep_first_position) -> list[Tensor]:
    errors = []
    for layer, true_PD in enumerate(seen["written"]):
        guess_PD = weights[layer]["b_dec"].repeat(len(true_PD), 1)
        if model.transcoders.cross_layer:
            for earlier in range(layer + 1):
                guess_PD = guess_PD + values[earlier] @ weights[earlier]["W_dec"][:, layer - earlier]
        else:
            guess_PD = guess_PD + values[layer] @ weights[layer]["W_dec"]
        if "skip" in weights[layer]:
            guess_PD = guess_PD + seen["read"][layer].detach() @ weights[layer]["skip"]
        errors.append(true_PD - guess_PD)
        if not keep_first_position:
            errors[-1][0] = 0
    return errors


def input_gradient(model: ReplacementModel, token_P: Tensor, vector_V: Tensor) -> Tensor:
    """(P, D) gradient of a direction of the last raw logits in the token embeddings; MLPs fixed but for a bypass."""
    token_P = token_P.to(model.adapter.device)
    with _detached(model) as seen:
        seen["model"](token_P[None], use_cache=False)
    return torch.autograd.grad(vector_V @ model.adapter.unembed_VD @ seen["final"][-1], seen["embed"])[0][0]


@contextmanager
def _detached(model: ReplacementModel) -> Iterator[dict]:
    """The real model with everything detached that is held fixed, and a leaf at each place a dictionary writes."""
    adapter, transcoders, hf = model.adapter, model.transcoders, model.adapter.model
    seen = {"model": hf, "read": [], "written": [], "leaf": [], "final": None, "embed": None, "normed": {}}
    modelling = sys.modules[type(hf).__module__]
    eager, forwards = modelling.eager_attention_forward, {}
    layout = adapter.layout

    def attention(module, query, key, value, mask, **options):
        pattern = eager(module, query, key, value, mask, **options)[1].detach()
        wide = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
        return (pattern @ wide).transpose(1, 2).contiguous(), pattern

    def norm_forward(norm):
        def forward(x):
            moved = x - x.mean(-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else x
            eps = getattr(norm, "variance_epsilon", None) or norm.eps
            scaled = moved * (moved.pow(2).mean(-1, keepdim=True) + eps).rsqrt().detach()
            after = scaled * (norm.weight + type(norm).__name__.startswith("Gemma"))
            if isinstance(norm, nn.LayerNorm):
                after = after + norm.bias
            seen["normed"][norm] = (x, scaled, after)
            return after

        return forward

    def hear_input(module, args):
        seen["normed"][module] = (args[0],) * 3

    def read(block):
        norm = block.get_submodule(layout.mlp_norm or layout.mlp)
        before, scaled, after = seen["normed"][norm]
        return {"ln2.hook_normalized": scaled, "mlp.hook_in": after}.get(transcoders.read_hook, before)[0]

    def write(layer, block):
        def hook(module, args, output):
            output, *rest = output if isinstance(output, tuple) else (output,)
            x_PD = read(block)
            skip = _dense(model, layer).get("skip")
            leaf = torch.zeros_like(output, requires_grad=True)
            bypass = 0 if skip is None else (x_PD @ skip)[None]
            seen["read"].append(x_PD)
            seen["written"].append(output[0].detach())
            seen["leaf"].append(leaf)
            written = bypass + (output - bypass).detach() + leaf
            return (written, *rest) if rest else written

        return hook

    def embed(module, args, output):
        seen["embed"] = output.detach().requires_grad_()
        return seen["embed"]

    handles = [hf.get_input_embeddings().register_forward_hook(embed)]
    final = hf.get_submodule(layout.final_norm)
    handles.append(final.register_forward_hook(lambda m, a, output: seen.__setitem__("final", output[0])))
    for name, norm in hf.named_modules():
        if type(norm).__name__.endswith(("RMSNorm", "LayerNorm")) and layout.attention + "." not in name:
            forwards[norm] = norm.forward
            norm.forward = norm_forward(norm)
    for layer, block in enumerate(adapter.blocks):
        handles.append(block.get_submodule(layout.mlp).register_forward_pre_hook(hear_input))
        post = layout.mlp_post_norm if transcoders.write_hook == "hook_mlp_out" else None
        handles.append(block.get_submodule(post or layout.mlp).register_forward_hook(write(layer, block)))
    setattr(modelling, "eager_attention_forward", attention)  # noqa: B010  pyright knows no such name of a module
    try:
        yield seen
    finally:
        setattr(modelling, "eager_attention_forward", eager)  # noqa: B010
        for norm in forwards:
            del norm.forward
        for handle in handles:
            handle.remove()
