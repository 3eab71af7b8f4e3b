"""estimate: what a trace will take in arithmetic and memory, before any work is done.

With N tokens, T traced features, A active features in all, and of the model L layers, width D, H heads and K key/value
heads of E dimensions, a dictionary of F features a layer, numbers of b bytes:

    one hop       hop(n)  = 2 n D (H + K) E + 2 n^2 H E      output and value products, pattern product, n positions
    rows          T ((L / 2) hop(N / 2) + 2 D A / 4)         half the layers and half the positions lie below a row
    forward       2 N (weights) + 4 N L F D                  the model once, and the encoders
    memory        b (L H N^2 + 9 L N D + R V + 3 M F)        patterns, streams, logits of R positions, one encoder's
                                                             values at M = min(N, replacement.ENCODED) positions
                  + b D min(A, L F) (1 + writes)             encoder and decoder rows; a CLT writes to (L + 1) / 2
                  + 100 A (writes)                           what is known of each feature, and of what it writes where
                  + rows under way + edges                   both have a limit of their own: batches.Room and
                                                             its write_bytes, max_edges_per_node

Rows of the outputs and biases are few and not counted. Where sources and targets meet in the middle (see
`effects.middle_of`) there is less to do than this says. Weights that are loaded already are not counted either.
`python -m bench.tracer --scaling` compares this with measurements.
"""

import time
from dataclasses import dataclass, replace
from functools import cache

import torch

from tracer.adapter import Adapter
from tracer.batches import CPU, Room, room_of
from tracer.config import TraceConfig
from tracer.errors import SettingError
from tracer.replacement import ENCODED
from tracer.rows import EDGE_BYTES
from tracer.transcoders import TranscoderSet

ACTIVE = 40  # features a layer and token, where it is not known yet: what published dictionaries have, more or less
FEW_EDGES = 5_000  # into one node: still most of the sizes of all effects
PRODUCT = 1024  # rows of the matrices by which the machine is timed
ALLOCATOR = 1.15  # memory that is taken over what is used


@dataclass(frozen=True)
class Sizes:
    """What the cost of a trace depends on."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_vocab: int
    n_weights: int
    """Of the model."""
    n_features: int
    """Of the dictionary, by layer."""
    cross_layer: bool
    n_tokens: int
    n_traced: int
    """Features whose rows are computed."""
    batch_size: int = 256
    max_edges_per_node: int = 100_000
    on_disk: bool = False
    """Whether edges wait in a file."""
    number_bytes: int = 4
    active: float = ACTIVE
    """Active features by layer and token."""
    n_read: int = 1
    """Positions whose logits are kept: from the first that is explained."""
    room: Room = CPU
    """What the device has for rows under way."""

    @property
    def n_active(self) -> int:
        """Active features in all."""
        return round(self.active * self.n_layers * self.n_tokens)


@dataclass(frozen=True)
class Estimate:
    """What a trace takes."""

    flop: float
    """Floating point operations."""
    memory_bytes: float
    """At most at once, beside the weights of the model."""

    def seconds(self, flop_per_s: float) -> float:
        """Time at this rate of the machine's matrix products."""
        return self.flop / flop_per_s


def estimate(sizes: Sizes) -> Estimate:
    """What a trace of this size takes; the module has the formula.

    >>> tiny = Sizes(12, 512, 8, 4, 64, 8192, 50_000_000, 8192, False, n_tokens=10, n_traced=1000)
    >>> round(estimate(tiny).flop / 1e9), round(estimate(replace(tiny, n_tokens=20)).flop / 1e9)
    (28, 56)
    """
    n, s, active = sizes.n_tokens, sizes, sizes.n_active
    traced = min(s.n_traced, active)
    reach = n / 2
    hop = 2 * reach * s.d_model * (s.n_heads + s.n_kv_heads) * s.d_head + 2 * reach**2 * s.n_heads * s.d_head
    flop = traced * (s.n_layers / 2 * hop + s.d_model * active / 2)
    flop += 2 * n * s.n_weights + 4 * n * s.n_layers * s.n_features * s.d_model
    writes = (s.n_layers + 1) / 2 if s.cross_layer else 1
    n_sources = active + (s.n_layers + 1) * n
    numbers = s.n_layers * s.n_heads * n**2 + 9 * s.n_layers * n * s.d_model + s.n_read * s.d_vocab
    numbers += 3 * min(n, ENCODED) * s.n_features
    numbers += s.d_model * min(active, s.n_layers * s.n_features) * (1 + writes)
    row = s.number_bytes * (n * (2 * s.d_model + 3 * s.n_heads * s.d_head + s.n_kv_heads * s.d_head))
    gradients = s.room.bytes_for(row)
    written = min(s.room.write_bytes, s.number_bytes * s.d_model * active * writes)
    under_way = min(gradients, s.batch_size * row) + written
    batch = max(1, min(s.batch_size, gradients // row)) * n_sources * s.number_bytes * 3
    kept = traced * min(n_sources / 2, s.max_edges_per_node)  # half of the sources lie after a row, or above it
    edges = 0 if s.on_disk else kept * EDGE_BYTES * 2  # once more while they are put together
    memory = s.number_bytes * numbers + 100 * active * writes + under_way + batch + edges
    return Estimate(flop, ALLOCATOR * memory)


@cache
def flop_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations a second of a matrix product here, the best of three."""
    square_DD = torch.ones(PRODUCT, PRODUCT, device=device, dtype=dtype)
    best_s = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        (square_DD @ square_DD)[0, 0].item()  # waits for a GPU
        best_s = min(best_s, time.perf_counter() - began)
    return 2 * PRODUCT**3 / best_s


def sizes_of(
    adapter: Adapter, transcoders: TranscoderSet, n_tokens: int, config: TraceConfig, n_read: int = 1
) -> Sizes:
    """The sizes of one trace, of which the logits of `n_read` positions are needed."""
    return Sizes(
        n_layers=adapter.n_layers,
        d_model=adapter.d_model,
        n_heads=adapter.n_heads,
        n_kv_heads=adapter.n_kv_heads,
        d_head=adapter.d_head,
        d_vocab=len(adapter.unembed_VD),
        n_weights=sum(weight.numel() for weight in adapter.model.parameters()),
        n_features=max(layer.n_features for layer in transcoders.layers),
        cross_layer=transcoders.cross_layer,
        n_tokens=n_tokens,
        n_traced=config.max_feature_nodes,
        batch_size=config.batch_size,
        max_edges_per_node=config.max_edges_per_node,
        on_disk=config.offload == "disk",
        number_bytes=adapter.dtype.itemsize,
        n_read=n_read,
        room=room_of(adapter.device),
    )


def check_fits(sizes: Sizes, free_bytes: float) -> Estimate:
    """The estimate of a trace that fits into this memory.

    Raises:
        SettingError: It does not; the message names a setting with which it would, or else the longest prompt.
    """
    needed = estimate(sizes)
    if needed.memory_bytes <= free_bytes:
        return needed
    fits, too_long = 0, sizes.n_tokens
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if estimate(replace(sizes, n_tokens=middle)).memory_bytes <= free_bytes:
            fits = middle
        else:
            too_long = middle
    remedies = {
        "Set offload='disk'": replace(sizes, on_disk=True),
        f"Set max_edges_per_node={FEW_EDGES}": replace(
            sizes, max_edges_per_node=min(sizes.max_edges_per_node, FEW_EDGES)
        ),
        "Set batch_size=1": replace(sizes, batch_size=1),
        "Set offload='disk' and batch_size=1": replace(sizes, on_disk=True, batch_size=1),
    }
    enough = (remedy for remedy, smaller in remedies.items() if estimate(smaller).memory_bytes <= free_bytes)
    shorter = f"Shorten the prompt to {fits:,} tokens" if fits else "No prompt fits: free memory"
    traced = min(sizes.n_traced, sizes.n_active)
    raise SettingError(
        f"{sizes.n_tokens:,} tokens and {traced:,} features would take about {_told(needed.memory_bytes)}; "
        f"{_told(free_bytes)} are free. {next(enough, shorter)}, or use a machine with more."
    )


def _told(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.0f} MB"
