"""Whatever is done to a graph file, it is read or refused with a reason: no traceback, no hang."""

import pytest

from tests.ingest import mutations

CASES, ROUNDS = 20_000, 10  # 4 ms of CPU a case; more by `make fuzz`


@pytest.mark.timeout(1200)  # ten times what a round takes alone on the machine
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_mutated_file_is_read_or_refused(seed, tmp_path):
    outcomes = mutations.run(CASES // ROUNDS, seed, tmp_path)
    assert outcomes["read"] > 100 and outcomes["refused"] > 100  # else the mutants would prove nothing


def test_what_is_mutated_can_be_read_before(tmp_path):
    for at, content in enumerate(mutations.originals(tmp_path)):
        path = tmp_path / f"original{at}.json"
        path.write_bytes(content)
        assert mutations.check(path) == "read"
    path = tmp_path / "saved.pt"
    path.write_bytes(mutations.saved_tensors())
    assert mutations.check(path) == "read"
