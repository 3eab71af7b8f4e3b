"""The command line: bad input is one sentence and exit code 2, an interrupt says what it leaves."""

import json

import pytest

from app.cli import main, settings_like
from app.roles import read_roles
from app.trace import read_prompts
from tracer.config import TraceConfig
from tracer.demo import CLT_DIR, MODEL_DIR
from tracer.errors import PatternError, PromptError

TRACE = ["trace", "--model", str(MODEL_DIR), "--transcoders", str(CLT_DIR)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trace", "--model", "nowhere", "--transcoders", str(CLT_DIR), "x"], "'nowhere': no such folder"),
        ([*TRACE, ""], "the prompt is empty"),
        ([*TRACE, "Fact: " * 100], "tokens; throughline-demo can read 64"),
        (TRACE, "no prompt was given"),
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


def test_an_interrupt_says_what_it_leaves(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ingest.server.LocalServer.status", interrupted)
    with pytest.raises(SystemExit) as left:
        main(["db", "status"])
    assert left.value.code == 130
    assert "Interrupted" in capsys.readouterr().err


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


@pytest.mark.parametrize("line", ['{"text": 5}', '{"text": "a", "roles": ["b"]}', "[]", "{", '{"slug": "a"}'])
def test_a_line_that_is_no_prompt_is_refused_by_its_place(line, tmp_path):
    (tmp_path / "prompts.jsonl").write_text(line)
    with pytest.raises(PromptError, match="line 1"):
        read_prompts([], tmp_path / "prompts.jsonl")


def test_roles_of_another_form_are_refused(tmp_path):
    (tmp_path / "roles.json").write_text('{"city": "Dallas"}')
    with pytest.raises(PatternError, match="role"):
        read_roles(tmp_path / "roles.json")


def test_a_peers_settings_keep_what_was_chosen():
    chosen = settings_like("circuit-tracer", TraceConfig(max_n_logits=3))
    assert (chosen.keep_errors, chosen.keep_first_position, chosen.max_n_logits) == (False, False, 3)
