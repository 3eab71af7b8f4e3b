"""TraceConfig: every choice of one trace, with its default and what it means."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from tracer.errors import SettingError

Target = Literal["logit", "log-odds"]
Dtype = Literal["float32", "float64", "bfloat16", "float16"]
COST_SETTINGS = ("batch_size", "device", "offload", "verbose")  # how the work is done; what comes out is the same
TARGET_SETTINGS = (  # texts, and how they are read into ids
    *("chat", "first_token", "answer", "target_tokens", "target_features", "target_position"),
)
PEER_SETTINGS: dict[str, dict[str, bool]] = {  # where another tracer's numbers come from other choices than ours
    "circuit-tracer": {
        "keep_errors": False,
        "keep_first_position": False,
        "normalise_weights": False,
        "bias_nodes": False,
        "count_left_out": False,
        "first_token": True,
    },
}


@dataclass(frozen=True)
class TraceConfig:
    """How one prompt is traced. The command line and the page build from this, so each default exists once.

    >>> TraceConfig(max_n_logits=3).max_n_logits
    3
    >>> TraceConfig(node_threshold=80)
    Traceback (most recent call last):
    ...
    tracer.errors.SettingError: node_threshold is 80; expected a share from 0 to 1. Write 80 % as 0.8.
    """

    max_n_logits: int = 10
    """At most this many output tokens become logit nodes."""
    desired_logit_prob: float = 0.95
    """Output tokens are taken from the most likely on, until together they have this probability."""
    max_feature_nodes: int = 7500
    """At most this many active features become nodes: those with the most influence on the outputs. What the others
    put into a node stands in its `left_out`."""
    batch_size: int = 256
    """How many rows are computed at once: more is faster, takes more memory, and changes nothing but rounding."""
    max_edges_per_node: int = 100_000
    """Of the effects on one node, those of all active features among them, at most so many become edges: the largest.
    What the rest sums to stands in its `left_out`, and shares are of all."""
    rank_every: int = 1024
    """When features must be chosen, their influence is estimated anew after this many rows."""
    node_threshold: float = 0.8
    """The pruned graph keeps the nodes that carry this share of all influence."""
    edge_threshold: float = 0.98
    """The pruned graph keeps the edges that carry this share of the influence between kept nodes."""
    target: Target = "logit"
    """What an output node stands for: its `logit` minus the mean logit, or its `log-odds` against all other tokens."""
    target_tokens: tuple[str, ...] = ()
    """Output tokens to trace, each by its text, or a difference of two such as ` Austin - Dallas`; empty: the most
    likely ones (with `log-odds` the single most likely)."""
    target_features: tuple[str, ...] = ()
    """Features to explain instead of outputs, each as layer/index, such as 20/15589: what makes up their pre-activation
    at `target_position`."""
    target_position: int | str = -1
    """Position whose outputs or features are explained: a number, from the end if negative, or the token's text."""
    answer: str = ""
    """Text that follows the prompt: each of its tokens is explained at the position before it."""
    chat: bool = False
    """The prompt is what a user says; the tokenizer's own chat template is put around it."""
    first_token: bool = False
    """A text whose tokenizer has no first token, as that of Qwen, gets the one that ends texts before it. The peer does
    so: its graphs of Qwen begin with `<|im_end|>`."""
    keep_errors: bool = True
    """Error nodes are never pruned: what the dictionary misses stays in sight. The peer prunes them."""
    keep_first_position: bool = True
    """Features and errors of the first token are nodes. The peer drops them, and their effects with them."""
    bias_nodes: bool = True
    """Constant terms (biases, position embeddings, a first position that is left out) are nodes, so that the effects
    into a node and its `left_out` sum to its value; what is missing from that stands in its `remainder`. The peer
    leaves them out."""
    count_left_out: bool = True
    """Effects that `max_feature_nodes` and `max_edges_per_node` leave out count in influence, pruning and scores as
    those of errors do: not explained. The peer forgets them, which raises the scores."""
    normalise_weights: bool = True
    """Output weights are scaled to sum to 1, so that influence is a chance. The peer uses bare probabilities."""
    device: str = "auto"
    """Where tensors live: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: Dtype = "float32"
    """Number format of the computation; effects are kept as float32 in any. On the demo model the effects into a node
    miss its value by at most 5e-7 of the sum of their sizes in float32, 1e-3 in float16, 7e-3 in bfloat16, where 2 % of
    the active features are others (`bench/ledger.py`)."""
    offload: Literal["cpu", "disk"] | None = None
    """Where rows of effects wait while others are computed: in the CPU's memory or in a file; None: where they are."""
    verbose: bool = False
    """Say what is being done on the log `tracer`."""

    def __post_init__(self) -> None:
        for name in ("node_threshold", "edge_threshold", "desired_logit_prob"):
            _check_share(name, getattr(self, name))
        for name in ("max_n_logits", "max_feature_nodes", "max_edges_per_node", "batch_size", "rank_every"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; expected at least 1. Raise it.")
        _check_choice("target", self.target, get_args(Target))
        _check_choice("dtype", self.dtype, get_args(Dtype))
        if self.offload is not None:
            _check_choice("offload", self.offload, ("cpu", "disk"))
        for name in ("target_tokens", "target_features"):
            if isinstance(value := getattr(self, name), str):
                raise SettingError(f"{name} is the text {value!r}; expected a tuple of texts. Write ({value!r},).")
        self._check_targets()

    def _check_targets(self) -> None:
        """Refuse what cannot be explained in one graph, and positions that an answer gives already."""
        if self.target_features and (self.target_tokens or self.answer):
            raise SettingError(
                f"target_features is {self.target_features!r} beside target_tokens or an answer; expected features or "
                "outputs. Trace two graphs."
            )
        if self.answer and (self.target_tokens or self.target_position != -1):
            raise SettingError(
                f"the answer {self.answer!r} stands beside target_tokens or target_position; expected one of these: an "
                "answer's tokens are the targets, each at the position before it. Leave the others out."
            )

    @classmethod
    def like(cls, peer: str, **changes: object) -> "TraceConfig":
        """The settings that reproduce another tracer's numbers; `changes` go on top.

        >>> TraceConfig.like("circuit-tracer", batch_size=64).keep_errors
        False
        """
        _check_choice("like", peer, tuple(PEER_SETTINGS))
        return replace(cls(**PEER_SETTINGS[peer]), **changes)  # type: ignore[arg-type]  # the dataclass refuses what is wrong


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        remedy = f"Write {value:g} % as {value / 100:g}." if 1 < value <= 100 else "Choose a number between them."
        raise SettingError(f"{name} is {value:g}; expected a share from 0 to 1. {remedy}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"{name} is {value!r}; expected one of {', '.join(choices)}. Use one of these.")
