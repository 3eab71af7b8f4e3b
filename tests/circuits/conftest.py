"""The graph that the tests of this folder draw on."""

import pytest

from tests.circuits.small_graphs import AUSTIN, DALLAS, FEATURE, LOGIT, STATE, TEXAS, TOKEN, make_graph
from tracer.graph import AttributionGraph


@pytest.fixture
def dallas() -> AttributionGraph:
    """Dallas -> Texas -> Austin with a by-way: Texas gets 3/4 from Dallas, Austin 1/2 from Texas."""
    nodes = [(FEATURE, 1, "Texas"), (FEATURE, 0, "state"), (TOKEN, -1, " Dallas"), (LOGIT, 4, " Austin")]
    effects = {
        (DALLAS, TEXAS): 3.0,
        (STATE, TEXAS): -1.0,
        (DALLAS, STATE): 2.0,
        (TEXAS, AUSTIN): 2.0,
        (DALLAS, AUSTIN): 1.0,
        (STATE, AUSTIN): -1.0,
    }
    return make_graph(nodes, effects)
