"""`throughline labels` and the options of `throughline ingest` that need no database."""

import json

import pytest

from app.cli import main
from tests.ingest.test_load import PUBLISHED


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["labels", "import"], "no labels were named"),
        (["labels", "import", "--from", "neuronpedia"], "no labels were named"),
        (["labels", "import", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["labels", "edit", "m/set", "7", "x"], "'7' is no feature; expected layer/index"),
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
