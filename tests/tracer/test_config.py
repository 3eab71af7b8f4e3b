"""TraceConfig refuses values that make no sense, and knows the peer's choices."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tracer.config import PEER_SETTINGS, TraceConfig
from tracer.errors import SettingError


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"node_threshold": 1.5}, "node_threshold is 1.5; expected a share from 0 to 1. Write 1.5 % as 0.015"),
        ({"edge_threshold": -0.1}, "edge_threshold is -0.1; expected a share from 0 to 1. Choose"),
        ({"node_threshold": float("nan")}, "node_threshold is nan; expected a share"),
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"max_n_logits": -1}, "max_n_logits is -1; expected at least 1"),
        ({"target": "logits"}, "target is 'logits'; expected one of logit, log-odds"),
        ({"dtype": "int8"}, "dtype is 'int8'; expected one of float32"),
        ({"target_tokens": "Austin"}, r"target_tokens is the text 'Austin'; .* Write \('Austin',\)"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(setting, message):
    with pytest.raises(SettingError, match=message):
        TraceConfig(**setting)


def test_the_peers_settings_can_be_mixed_with_own_ones():
    config = TraceConfig.like("circuit-tracer", batch_size=7, keep_errors=True)
    assert (config.batch_size, config.keep_errors, config.keep_first_position) == (7, True, False)
    assert replace(TraceConfig(), **PEER_SETTINGS["circuit-tracer"]) == TraceConfig.like("circuit-tracer")


def test_an_unknown_peer_is_refused():
    with pytest.raises(SettingError, match="like is 'other'; expected one of circuit-tracer"):
        TraceConfig.like("other")


def test_settings_errors_and_labels_load_without_torch():
    code = "import sys, tracer, tracer.config, tracer.influence, tracer.labels, tracer.graph; "
    code += "tracer.TraceConfig(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=sys.path[0] or None)


def test_a_name_that_tracer_does_not_have():
    import tracer

    with pytest.raises(AttributeError, match="has no attribute 'trace'"):
        tracer.trace  # noqa: B018
