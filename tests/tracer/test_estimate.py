"""Estimates: the formula counts what is done, grows as it should, and what does not fit is refused with what would."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracer
from tests.tracer.small import D_MODEL, N_FEATURES, N_LAYERS, N_VOCAB, Dictionary, write_dictionary, write_model
from tracer.errors import SettingError
from tracer.estimate import ALLOCATOR, Sizes, check_fits, estimate, sizes_of

GEMMA = Sizes(26, 2304, 8, 4, 256, 256_000, 2_600_000_000, 16_384, False, n_tokens=100, n_traced=7500)


@given(
    n_tokens=st.integers(1, 10_000), n_traced=st.integers(1, 100_000), field=st.sampled_from(["n_tokens", "n_traced"])
)
def test_more_work_never_takes_less(n_tokens, n_traced, field):
    sizes = replace(GEMMA, n_tokens=n_tokens, n_traced=n_traced)
    less, more = estimate(sizes), estimate(replace(sizes, **{field: 2 * getattr(sizes, field)}))
    assert more.flop >= less.flop
    assert more.memory_bytes >= less.memory_bytes


def test_one_hop_at_a_time_by_hand():
    """One token, one layer, one feature: forward and encoder, half a hop at half a position, one meeting."""
    sizes = Sizes(1, 2, 1, 1, 3, 5, 7, 11, False, n_tokens=1, n_traced=1, active=1)
    hop = 2 * 0.5 * 2 * 2 * 3 + 2 * 0.25 * 3
    assert estimate(sizes).flop == 0.5 * hop + 2 / 2 + 2 * 7 + 4 * 11 * 2


@given(free_gb=st.floats(0.5, 1000))
def test_the_prompt_that_would_fit_fits_and_one_token_more_does_not(free_gb):
    sizes = replace(GEMMA, n_tokens=1_000_000)
    with pytest.raises(SettingError, match=r"1,000,000 tokens and 7,500 features would take about") as told:
        check_fits(sizes, free_gb * 1e9)
    if "max_edges_per_node" in str(told.value):
        return
    if "No prompt fits" in str(told.value):
        fits = 0
    else:
        fits = int(str(told.value).split("Shorten the prompt to ")[1].split(" ")[0].replace(",", ""))
        assert check_fits(replace(sizes, n_tokens=fits), free_gb * 1e9).memory_bytes <= free_gb * 1e9
    with pytest.raises(SettingError):
        check_fits(replace(sizes, n_tokens=fits + 1), free_gb * 1e9)


@given(
    n_tokens=st.integers(10, 3000),
    batch_size=st.sampled_from([1, 256, 4096]),
    most=st.sampled_from([100, 5_000, 100_000]),
    part=st.floats(0.2, 0.99),
)
def test_a_setting_that_is_offered_for_want_of_memory_is_enough(n_tokens, batch_size, most, part):
    sizes = replace(GEMMA, n_tokens=n_tokens, batch_size=batch_size, max_edges_per_node=most)
    free_bytes = part * estimate(sizes).memory_bytes
    with pytest.raises(SettingError) as told:
        check_fits(sizes, free_bytes)
    offered = re.search(r"Set (.*), or use", str(told.value))
    if offered:
        changes = dict(change.split("=") for change in offered[1].split(" and "))
        on_disk = changes.pop("offload", "") == "'disk'"
        smaller = replace(sizes, on_disk=on_disk, **{name: int(value) for name, value in changes.items()})
        assert smaller != sizes and check_fits(smaller, free_bytes)
    else:
        for smaller in (replace(sizes, on_disk=True), replace(sizes, on_disk=True, batch_size=1)):
            assert estimate(smaller).memory_bytes > free_bytes


def test_sizes_are_those_of_model_and_dictionary(tmp_path):
    folders = write_model(tmp_path / "m", "llama"), write_dictionary(tmp_path / "clt", Dictionary(cross_layer=True))
    model = tracer.load(*folders, dtype="float64")
    sizes = sizes_of(model.adapter, model.transcoders, 7, tracer.TraceConfig())
    assert (sizes.n_layers, sizes.d_model, sizes.n_heads, sizes.n_kv_heads, sizes.d_head) == (
        N_LAYERS,
        D_MODEL,
        4,
        2,
        12,
    )
    assert (sizes.d_vocab, sizes.n_features, sizes.cross_layer, sizes.number_bytes) == (N_VOCAB, N_FEATURES, True, 8)


def test_the_cost_of_a_prompt_is_told_without_running_the_model(tmp_path, monkeypatch):
    folders = write_model(tmp_path / "m", "llama"), write_dictionary(tmp_path / "plt", Dictionary())
    model = tracer.load(*folders)
    monkeypatch.setattr(model.adapter, "observe", None)
    short, long = (tracer.expected_cost([1, 2, 3] * n, model) for n in (1, 2))
    assert 0 < short.memory_bytes < long.memory_bytes
    assert 0 < short.flop < long.flop


def test_only_logits_of_positions_that_are_explained_take_memory():
    long = replace(GEMMA, n_tokens=6000)
    more = estimate(replace(long, n_read=6000)).memory_bytes - estimate(long).memory_bytes
    assert more == pytest.approx(ALLOCATOR * 4 * 5999 * GEMMA.d_vocab)
