"""Views too long for a link are kept beside the library, and come back unchanged."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from ingest.library import Library
from ingest.views import ViewStore
from tracer.errors import GraphFormatError, StoreError

TEXTS = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(some.dictionaries(TEXTS, TEXTS, max_size=4))
def test_a_view_comes_back_and_the_same_view_has_the_same_id(tmp_path, view):
    store = ViewStore(Library(tmp_path))
    view_id = store.add(view)
    assert ViewStore(Library(tmp_path)).get(view_id) == view
    assert store.add(dict(reversed(view.items()))) == view_id


@pytest.mark.parametrize("view_id", ["000000000000", "../labels/x", "", "ABCDEF123456"])
def test_what_is_no_view_is_refused(tmp_path, view_id):
    with pytest.raises(GraphFormatError, match="there is no view"):
        ViewStore(Library(tmp_path)).get(view_id)


def test_a_damaged_file_counts_as_none(tmp_path):
    store = ViewStore(Library(tmp_path))
    view_id = store.add({"pins": "1_4_3"})
    for damage in ("{", "[1]", '"text"'):
        (tmp_path / "views" / f"{view_id}.json").write_text(damage)
        with pytest.raises(GraphFormatError, match="there is no view"):
            store.get(view_id)


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    (tmp_path / "views").write_text("a file in the way")
    with pytest.raises(StoreError, match="cannot be kept"):
        ViewStore(Library(tmp_path)).add({"pins": "1_4_3"})


def test_views_are_no_graphs_of_the_library(tmp_path):
    ViewStore(Library(tmp_path)).add({"pins": "1_4_3"})
    assert Library(tmp_path).ids() == []
