"""The command line: bad input is one sentence and exit code 2, an interrupt says what it leaves."""

import csv
import io
import json
import os
import shutil
import sys

import pytest
from rich.text import Text

import app.__main__
import app.trace
from app.cli import main
from app.roles import read_roles
from app.terminal import new_console, notes, print_json_lines, print_rows, say
from app.trace import read_prompts
from tests.ingest.made_graphs import explaining_a_feature, make_graph
from tests.tracer.small import WORDS, Dictionary, write_dictionary, write_model, write_tokenizer
from tracer.demo import CLT_DIR, MODEL_DIR
from tracer.errors import PatternError, PromptError
from tracer.graph import AttributionGraph, read_metadata
from tracer.schema import slug_of

NO_PROMPTS = (
    '{"messages": ["a"]}',
    '{"text": "half \\ud800"}',
    '{"messages": [{"role": "user", "content": 1}]}',
    '{"messages": [{"content": "a"}]}',
    '{"messages": 1}',
    '{"messages": 0, "text": "a"}',
    '{"token_ids": 0, "text": "a"}',
    '{"token_ids": {}, "text": "a"}',
    '{"messages": [{"role": "user", "content": "a"}], "text": "b"}',
    '{"messages": [{"role": "user", "content": "a"}], "token_ids": [1]}',
)
TRACE = ["trace", "--model", str(MODEL_DIR), "--transcoders", str(CLT_DIR)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trace", "--model", "nowhere", "--transcoders", str(CLT_DIR), "x"], "'nowhere': no such folder"),
        ([*TRACE, ""], "the prompt is empty"),
        ([*TRACE, "Fact: " * 100], "tokens; throughline-demo can read 64"),
        (TRACE, "no prompt was given"),
        ([*TRACE, "--file", os.devnull], f"no prompt was given ({os.devnull} has none)"),
        ([*TRACE, "--file", "nowhere.txt"], "nowhere.txt: No such file or directory; expected a text file"),
        ([*TRACE, "--token-ids", "2,x"], "are no token ids; expected numbers"),
        ([*TRACE, "--token-ids", "2,,5"], "are no token ids; expected numbers"),
        ([*TRACE, "--token-ids", "2,99999"], "token id 99999 at position 1 is out of range"),
        ([*TRACE, "--like", "another", "x"], "--like"),
        (["check", "nowhere"], "'nowhere': no such folder"),
        (["show", "nowhere"], "nowhere: nothing is there"),
        (["export", "nowhere", "--out", "x.txt"], "does not say in which format"),
        (["query", "nosuch"], "there is no query 'nosuch'"),
        (["query", "strongest_sources", "--param", "graph_id"], "has no value"),
        (["circuits", "a -> b", "--limit", "0"], "limit"),
        (["ingest"], "no path was given"),
        (["nosuch"], "Unknown command"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    seen = capsys.readouterr()
    assert said in " ".join(seen.err.split()) and "Traceback" not in seen.err
    assert seen.out == ""


HOSTILE = "\x1b]0;pwned\x07\x1b[31mred\x9b2J\x7f\u202ecba\r\n<b>x</b> $(id)"


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_what_a_label_says_no_terminal_obeys(format, capsys, monkeypatch):
    """Its control characters, and those that turn the direction of writing, are seen and not sent."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    rows = [{"label": HOSTILE, "labels": [HOSTILE]}]
    print_rows(["label", "labels"], rows, format)
    say(HOSTILE)
    notes.print(HOSTILE, markup=False)
    new_console().print(Text(HOSTILE))
    said = capsys.readouterr()
    ours = (said.out + said.err).replace("\x1b[1m", "").replace("\x1b[0m", "")  # headings are bold
    assert not {"\x1b", "\x07", "\x9b", "\x7f", "\u202e"} & set(ours)
    assert "pwned" in said.out and "<b>x</b> $(id)" in said.out and "pwned" in said.err


def test_what_a_file_is_written_with_is_what_there_is(capsys):
    print_rows(["label"], [{"label": HOSTILE}], "csv")
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [["label"], [HOSTILE]]
    print_json_lines([{"label": HOSTILE}])
    assert json.loads(capsys.readouterr().out) == [{"label": HOSTILE}]


def test_rows_are_told_as_they_come_and_those_before_a_failure_are_told_too(capsys):
    def rows():
        yield {"at": 1}
        assert capsys.readouterr().out == '[{"at": 1}'
        yield {"at": 2}
        raise RuntimeError("the server is gone")

    with pytest.raises(RuntimeError):
        print_json_lines(rows())
    assert capsys.readouterr().out == ',\n{"at": 2}]\n'


def test_an_interrupt_says_what_it_leaves(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ingest.server.LocalServer.status", interrupted)
    with pytest.raises(SystemExit) as left:
        main(["db", "status"])
    assert left.value.code == 130
    assert "Interrupted" in capsys.readouterr().err


def test_memory_that_runs_out_anywhere_is_one_sentence(monkeypatch, capsys):
    def too_much(*_):
        return bytearray(1 << 62)

    monkeypatch.setattr("ingest.server.LocalServer.status", too_much)
    with pytest.raises(SystemExit) as left:
        main(["db", "status"])
    told = capsys.readouterr().err
    assert left.value.code == 2 and told.startswith("Memory ran out; expected") and "Traceback" not in told


def test_one_prompt_is_traced_into_the_folder_named_and_again_into_the_same_graph(tmp_path, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit) as left:
            main([*TRACE, "--out", str(tmp_path / "g"), "Fact: the capital of the state containing Dallas is"])
        assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1] and "graph_id" in lines[0]


def test_a_file_of_prompts_is_resumed(tmp_path, capsys):
    rows = [{"text": f"Fact: the capital of the state containing {city} is"} for city in ("Dallas", "Oakland")]
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    for expected in ("graph_id", "kept"):
        with pytest.raises(SystemExit):
            main([*TRACE, "--file", str(file), "--out", str(tmp_path / "out")])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2 and all(expected in line for line in lines)


def test_what_changes_only_the_cost_of_a_trace_lets_it_stand_and_what_changes_the_graph_does_not(tmp_path, capsys):
    file = tmp_path / "prompts.txt"
    file.write_text("Fact: the capital of the state containing Dallas is")
    for words, expected in (
        ([], "graph_id"),
        (["--batch-size", "7", "--offload", "disk", "--verbose"], "kept"),
        (["--max-n-logits", "1", "--node-threshold", "0.5"], "graph_id"),
    ):
        with pytest.raises(SystemExit):
            main([*TRACE, *words, "--file", str(file), "--out", str(tmp_path / "out")])
        assert expected in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_line_may_hold_the_messages_of_a_chat_which_the_models_own_template_renders(tmp_path, capsys):
    model = write_tokenizer(write_model(tmp_path / "m", "llama"), add_bos=True)
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }} {% endfor %}")
    dictionary = write_dictionary(tmp_path / "d", Dictionary())
    user, answer = ({"role": role, "content": text} for role, text in (("user", WORDS[5]), ("assistant", WORDS[6])))
    file = tmp_path / "chats.jsonl"
    rows = [{"messages": [user]}, {"messages": [user, answer, user], "slug": "two"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    words = ["trace", "--model", str(model), "--transcoders", str(dictionary), "--file", str(file)]
    for expected in ("graph_id", "kept"):
        with pytest.raises(SystemExit) as left:
            main([*words, "--out", str(tmp_path / "out")])
        lines = capsys.readouterr().out.splitlines()
        assert left.value.code == 0 and len(lines) == 2 and all(expected in line for line in lines), lines
    graphs = [AttributionGraph.load(str(place)) for place in sorted((tmp_path / "out").iterdir())]
    read = {graph.metadata.slug: graph.metadata.prompt.split() for graph in graphs}
    assert read == {slug_of(WORDS[5]): [WORDS[5]], "two": [WORDS[5], WORDS[6], WORDS[5]]}


def test_the_same_text_with_other_roles_is_another_graph_in_a_folder_of_its_own(tmp_path, capsys):
    text = "Fact: the capital of the state containing Dallas is"
    rows = [{"text": text, "roles": {role: "Dallas"}} for role in "ab"]
    file = tmp_path / "prompts.jsonl"
    for some in (rows[:1], rows):
        file.write_text("\n".join(map(json.dumps, some)))
        with pytest.raises(SystemExit):
            main([*TRACE, "--file", str(file), "--out", str(tmp_path / "out")])
    assert ["kept" in line for line in capsys.readouterr().out.splitlines()] == [False, True, False]
    found = [read_metadata(str(place))["roles"] for place in (tmp_path / "out").iterdir()]
    assert sorted(found, key=str) == [{"a": "Dallas"}, {"b": "Dallas"}]


@pytest.mark.parametrize(
    "line", ['{"text": 5}', '{"text": "a", "roles": ["b"]}', *NO_PROMPTS, "[]", "{", '{"slug": "a"}']
)
def test_a_line_that_is_no_prompt_is_refused_by_its_place(line, tmp_path):
    (tmp_path / "prompts.jsonl").write_text(line)
    with pytest.raises(PromptError, match="line 1"):
        read_prompts([], tmp_path / "prompts.jsonl")


def test_lines_of_a_prompt_file_end_where_its_lines_end_and_nowhere_else(tmp_path):
    texts = ["one\u2028two", "three\x0cfour", "five\x85six"]
    for ending, mark in (("\n", ""), ("\r\n", ""), ("\r", ""), ("\n", "\ufeff")):
        plain, rows = tmp_path / "a.txt", tmp_path / "a.jsonl"
        plain.write_bytes((mark + ending.join(texts) + ending).encode())
        lines = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
        rows.write_bytes((mark + ending.join(lines) + ending).encode())
        for file in (plain, rows):
            assert [prompt.text for prompt in read_prompts([], file)] == texts


def test_roles_of_another_form_are_refused(tmp_path):
    (tmp_path / "roles.json").write_text('{"city": "Dallas"}')
    with pytest.raises(PatternError, match="role"):
        read_roles(tmp_path / "roles.json")


@pytest.fixture
def asked(monkeypatch):
    """The settings with which the command line asks for a trace."""
    seen = []
    monkeypatch.setattr(app.trace, "trace_prompts", lambda *args, **_: seen.append(args[4]) or 0)
    return seen


def test_a_peers_settings_give_way_to_what_was_chosen_also_where_that_is_our_default(asked):
    for words in ([], ["--keep-errors", "--max-n-logits", "3"], ["--no-keep-errors"]):
        with pytest.raises(SystemExit) as left:
            main([*TRACE, "--like", "circuit-tracer", *words, "x"])
        assert left.value.code == 0
    plain, chosen, same = asked
    assert (plain.keep_errors, plain.keep_first_position, plain.max_n_logits) == (False, False, 10)
    assert (chosen.keep_errors, chosen.keep_first_position, chosen.max_n_logits) == (True, False, 3)
    assert same == plain


def test_a_graph_is_traced_again_when_the_model_at_its_place_has_changed(tmp_path, capsys):
    for name, place in (("model", MODEL_DIR), ("clt", CLT_DIR)):
        shutil.copytree(place, tmp_path / name)
    file = tmp_path / "prompts.txt"
    file.write_text("Fact: the capital of the state containing Dallas is")
    words = ["trace", "--model", str(tmp_path / "model"), "--transcoders", str(tmp_path / "clt")]
    for change, expected in ((False, ["graph_id"]), (False, ["kept"]), (True, ["changed since", "graph_id"])):
        if change:
            with (tmp_path / "model" / "config.json").open("a") as out:
                out.write("\n")
        with pytest.raises(SystemExit):
            main([*words, "--file", str(file), "--out", str(tmp_path / "out")])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(expected) and all(text in line for text, line in zip(expected, lines, strict=True))
    assert len(list((tmp_path / "out").iterdir())) == 1  # one prompt in a file is a folder below all the same


def test_token_ids_are_traced_as_they_are(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main([*TRACE, "--token-ids", "2,17,5", "--out", str(tmp_path / "g")])
    assert left.value.code == 0, capsys.readouterr().err
    assert read_metadata(str(tmp_path / "g"))["provenance"]["token_ids"] == [2, 17, 5]


def test_an_interrupt_while_the_commands_are_loaded_is_one_line(monkeypatch, capsys):
    class Interrupts:
        """A finder of modules, at which the user presses Ctrl-C."""

        def find_spec(self, name, path=None, target=None):
            if name == "app.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "app.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    with pytest.raises(SystemExit) as left:
        app.__main__.main()
    assert left.value.code == 130 and capsys.readouterr().err == "Interrupted before anything was begun.\n"


def test_a_file_in_the_place_of_a_folder_is_named_and_stays(tmp_path, capsys):
    (tmp_path / "g").write_text("mine")
    with pytest.raises(SystemExit) as left:
        main([*TRACE, "--token-ids", "2,17,5", "--out", str(tmp_path / "g")])
    assert left.value.code == 2 and "a file; expected a folder" in capsys.readouterr().err
    assert (tmp_path / "g").read_text() == "mine"


def test_verbose_says_what_is_being_done(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*TRACE, "--token-ids", "2,17,5", "--out", str(tmp_path / "g"), "--verbose"])
    assert "active features" in capsys.readouterr().err


def test_check_prints_what_was_seen_and_leaves_with_2_where_something_fails(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["check", str(MODEL_DIR), "--transcoders", str(CLT_DIR), "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert left.value.code == 0 and all(row["passed"] for row in rows)
    assert any("attention rows sum to 1" in row["name"] for row in rows)
    shutil.copytree(CLT_DIR, tmp_path / "clt")
    config = tmp_path / "clt" / "config.yaml"
    config.write_text(config.read_text().replace("mlp.hook_in", "hook_resid_mid"))
    with pytest.raises(SystemExit) as left:
        main(["check", str(MODEL_DIR), "--transcoders", str(tmp_path / "clt")])
    assert left.value.code == 2 and "checks failed, the first that the dictionary" in capsys.readouterr().err


def test_show_prints_the_top_of_a_graph(tmp_path, capsys):
    graph = make_graph(1)
    graph.save(str(tmp_path / "g"))
    for words in (["--format", "table"], ["--format", "json"], ["--format", "csv"]):
        with pytest.raises(SystemExit) as left:
            main(["show", str(tmp_path / "g"), "--n", "3", *words])
        assert left.value.code == 0
        printed = capsys.readouterr().out
        if words[1] == "json":
            top = json.loads(printed)
            into = graph.edges.target == graph.row_of(top["outputs"][0]["node_id"])
            assert abs(top["edges_into"][0]["effect"]) == abs(graph.edges.effect[into]).max()
            influence = graph.nodes.loc[graph.nodes["kind"] == "feature", "influence"]
            assert [row["influence"] for row in top["features"]] == influence.nlargest(3).tolist()
            assert top["outputs"][0]["probability"] == graph.nodes["probability"].max()
            assert len(top["paths"]) == 3 and top["paths"][0]["strength"] >= top["paths"][1]["strength"]
        elif words[1] == "csv":
            assert printed.splitlines()[0] == "part,rank,text,node_id,measure,value" and "path,3," in printed
        else:
            assert graph.metadata.prompt in printed and graph.graph_id in printed and "replacement score" in printed


def test_show_tells_features_that_are_explained_with_the_effects_and_paths_into_them(tmp_path, capsys):
    graph = explaining_a_feature()
    graph.save(str(tmp_path / "g"))
    for words in (["--format", "table"], ["--format", "json"]):
        with pytest.raises(SystemExit) as left:
            main(["show", str(tmp_path / "g"), "--n", "3", *words])
        assert left.value.code == 0
        printed = capsys.readouterr().out
        if words[1] == "table":
            assert "Features that are explained" in printed and "to an explained feature" in printed
            continue
        top = json.loads(printed)
        (explained,) = top["explained"]
        into = graph.edges.target == graph.row_of(explained["node_id"])
        assert abs(top["edges_into"][0]["effect"]) == abs(graph.edges.effect[into]).max()
        assert top["paths"] and all(path["nodes"][-1]["node_id"] == explained["node_id"] for path in top["paths"])


def test_a_folder_with_one_graph_below_is_that_graph_and_with_two_is_refused(tmp_path, capsys):
    make_graph(1).save(str(tmp_path / "one"))
    with pytest.raises(SystemExit) as left:
        main(["export", str(tmp_path), "--out", str(tmp_path / "out" / "g"), "--format", "parquet"])
    assert left.value.code == 0
    assert AttributionGraph.load(str(tmp_path / "out" / "g")).graph_id == make_graph(1).graph_id
    with pytest.raises(SystemExit) as left:
        main(["show", str(tmp_path)])
    assert left.value.code == 2 and "2 graphs are below" in capsys.readouterr().err


def test_a_graph_is_also_named_by_its_id_in_the_library(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("THROUGHLINE_LIBRARY", str(tmp_path))
    make_graph(1).save(str(tmp_path / make_graph(1).graph_id))
    with pytest.raises(SystemExit) as left:
        main(["show", make_graph(1).graph_id])
    assert left.value.code == 0 and make_graph(1).metadata.prompt in capsys.readouterr().out
