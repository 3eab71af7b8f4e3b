"""`throughline labels` and the options of `throughline ingest` that need no database."""

import csv
import io
import json
from contextlib import nullcontext

import pytest

from app.cli import main
from ingest.labels import Label, LabelStore, now
from ingest.library import default_library
from tests.app.graphs import capital_graph
from tests.ingest.test_load import PUBLISHED
from tracer.errors import CircuitError, StoreError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("THROUGHLINE_LIBRARY", raising=False)
    return tmp_path


def run(capsys, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    seen = capsys.readouterr()
    assert "Traceback" not in seen.err
    return int(left.value.code or 0), seen.out, " ".join(seen.err.split())


def test_labels_are_imported_edited_listed_and_exported(home, capsys):
    table = home / "given.csv"
    table.write_text("source_set,layer,index,label,by\nm/set,20,7,Texas,Ann\nm/set,20,8,[b]Ohio[/b],Ann\n")
    assert run(capsys, "labels", "import", table)[1] == "2 new labels of 2; 0 graphs show them.\n"
    assert run(capsys, "labels", "import", table)[1] == "0 new labels of 2; 0 graphs show them.\n"
    code, out, _ = run(capsys, "labels", "edit", "m/set", "20/7", "the state of Texas", "--by", "me")
    assert code == 0 and "shown in 0 graphs" in out
    rows = json.loads(run(capsys, "labels", "list", "m/set", "--feature", "20/7", "--format", "json")[1])
    assert [(row["label"], row["kind"], row["by"]) for row in rows] == [
        ("Texas", "import", "Ann"), ("the state of Texas", "edit", "me"),
    ]  # fmt: skip
    assert "[b]Ohio[/b]" in run(capsys, "labels", "list")[1]  # a label is no markup
    out = home / "out.csv"
    assert "3 labels" in run(capsys, "labels", "export", out)[1] and "the state of Texas" in out.read_text()


def test_edits_that_take_a_label_away_notes_and_labels_of_graphs_come_into_another_home(home, capsys, monkeypatch):
    run(capsys, "labels", "edit", "m/set", "20/7", "", "--by", "me")
    run(capsys, "labels", "note", "m/set", "20/7", "fires on maps", "--by", "Ann")
    LabelStore(default_library()).add("m:set", [Label(1, 2, "Texas", "graph", "Bob", "0123456789abcdef", "2026-01-02")])
    for ending in ("csv", "jsonl"):
        out = home / f"out.{ending}"
        kept = run(capsys, "labels", "list", "--format", "json")[1]
        run(capsys, "labels", "export", out)
        assert run(capsys, "labels", "import", out)[1].startswith("0 new labels of 3;")
        monkeypatch.setenv("THROUGHLINE_HOME", str(home / ending))
        assert run(capsys, "labels", "import", out)[1].startswith("3 new labels of 3;")
        assert run(capsys, "labels", "list", "--format", "json")[1] == kept


@pytest.mark.parametrize("index", ["x", "1_0", "-1", "1.5", "1e400", "nan", ""])
def test_of_a_table_that_is_refused_for_one_row_nothing_is_taken(home, capsys, index):
    table = home / "given.csv"
    table.write_text(f"source_set,layer,index,label\nm/set,20,7,Texas\nm/set,20,{index},Ohio\n")
    code, out, err = run(capsys, "labels", "import", table)
    assert code == 2 and "row 2 cannot be used" in err and "Nothing of the table was taken." in err and out == ""
    assert json.loads(run(capsys, "labels", "list", "--format", "json")[1]) == []


def test_texts_with_any_line_end_come_back_from_a_table_as_they_were(home, capsys):
    texts = ["a\rb", "\r", "c\r\nd", "e\nf", 'g,"h"', " i "]
    LabelStore(default_library()).add("m/set", [Label(0, at, text, "edit") for at, text in enumerate(texts)])
    code, out, _ = run(capsys, "labels", "list", "--format", "csv")
    assert code == 0 and "\r\n" not in out.replace("c\r\nd", "")
    rows = csv.DictReader(io.StringIO(out, newline=""))
    assert [row["label"] for row in rows] == texts


def test_a_damaged_file_of_one_dictionary_keeps_the_whole_table_out(home, capsys):
    table = home / "given.csv"
    table.write_text("source_set,layer,index,label\nfirst,20,7,Texas\nsecond,20,7,Ohio\n")
    LabelStore(default_library()).add("second", [Label(0, 1, "x", "edit")])
    (home / "home" / "library" / "labels" / "second.jsonl").write_text("half")
    code, _, err = run(capsys, "labels", "import", table)
    assert code == 2 and "not labels" in err and LabelStore(default_library()).source_sets() == ["second"]


class Shown:
    """A database that shows what it is told to."""

    def has(self, graph_id):
        return True

    def set_labels(self, graph):
        pass


@pytest.fixture
def graph_id(monkeypatch):
    """Of a graph of tiny/hand in the library, with a database for it; its feature 2/5 has no label."""
    monkeypatch.setattr("ingest.store.open_store", lambda *_: nullcontext(Shown()))
    default_library().add(graph := capital_graph())
    return graph.graph_id


def test_what_neuronpedia_gave_before_it_failed_is_kept_and_shown(capsys, monkeypatch, graph_id):
    def labels(*_):
        yield Label(2, 5, "fetched", "import", "Neuronpedia", "", now())
        raise CircuitError("Neuronpedia wants no more requests now")

    monkeypatch.setattr("ingest.neuronpedia.Neuronpedia.labels", labels)
    code, out, err = run(capsys, "labels", "import", "--from", "neuronpedia", "--source-set", "tiny/hand")
    assert code == 2 and "wants no more" in err and out == "1 new labels of 1; 1 graphs show them.\n"
    assert "fetched" in set(default_library().load(graph_id).nodes["label"])


def test_labels_that_were_kept_when_the_database_failed_are_shown_by_the_next_import(
    home, capsys, monkeypatch, graph_id
):
    table = home / "given.csv"
    table.write_text("source_set,layer,index,label\ntiny/hand,2,5,of a table\n")
    with monkeypatch.context() as patch:
        patch.setattr(Shown, "set_labels", lambda *_: (_ for _ in ()).throw(StoreError("the server is gone")))
        assert run(capsys, "labels", "import", table)[0] == 2
    assert run(capsys, "labels", "import", table)[1] == "0 new labels of 1; 1 graphs show them.\n"
    assert "of a table" in set(default_library().load(graph_id).nodes["label"])


def test_labels_that_are_all_there_are_shown_without_reading_any_graph(home, capsys, monkeypatch, graph_id):
    table = home / "given.csv"
    table.write_text("source_set,layer,index,label\ntiny/hand,2,5,of a table\n")
    assert run(capsys, "labels", "import", table)[1] == "1 new labels of 1; 1 graphs show them.\n"
    monkeypatch.setattr("ingest.load.relabel", lambda *_: pytest.fail("nothing new came"))
    assert run(capsys, "labels", "import", table)[1] == "0 new labels of 1; 0 graphs show them.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["labels", "import"], "no labels were named"),
        (["labels", "import", "--from", "neuronpedia"], "no labels were named"),
        (["labels", "import", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["labels", "edit", "m/set", "7", "x"], "'7' is no feature; expected layer/index"),
        (["labels", "edit", "m/set", "0/99999999999999999999999", "x"], "is no feature; expected layer/index"),
        (["labels", "edit", "m/set", "0/٣", "x"], "is no feature; expected layer/index"),
        (["labels", "edit", "m/set", "0/5", "a\udcffb"], "'a\\udcffb' holds bytes that are no text; expected UTF-8"),
        (["labels", "note", "m/set", "0/5", "x", "--by", "a\udcffb"], "holds bytes that are no text; expected UTF-8"),
    ],
)
def test_bad_input_is_one_sentence(words, said, capsys):
    code, out, err = run(capsys, *words)
    assert code == 2 and said in err and out == ""


def test_a_dry_run_prints_a_line_of_json_for_each_file(home, capsys):
    (home / "one.json").write_text(json.dumps(PUBLISHED))
    (home / "bad.json").write_text("{")
    code, out, err = run(capsys, "ingest", home / "one.json", home / "bad.json", "--dry-run", "--format", "json")
    lines = [json.loads(line.strip("[],")) for line in out.splitlines()]
    assert [line["status"] for line in lines] == ["ingested", "refused"] == [row["status"] for row in json.loads(out)]
    assert lines[0]["nodes_by_kind"] == {"feature": 1, "token": 1, "logit": 1} and lines[1]["reason"]
    assert code == 2 and "1 of 2 files were refused" in err
