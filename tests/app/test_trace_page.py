"""Tracing from the page: the order as command line, the run in a process of its own, and a person at the form."""

import os
import re
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Locator, Page, expect

from app.cli import cli
from app.trace_order import SETTINGS, Setting, TraceOrder, read_order
from app.trace_run import TraceRun
from ingest.library import default_library
from ingest.load import IngestReport, ingest_paths
from ingest.store import GraphStore
from tests.app.test_pages import open_page
from tracer.config import TraceConfig
from tracer.errors import CircuitError, PromptError, SettingError
from tracer.graph import read_metadata

PROMPT = "Fact: the capital of the state containing Dallas is"
UNKNOWN = "Fact: the capital of the state containing Qwertz is"
TRACE_LIMIT_S = 240  # importing torch on a busy machine
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
LINES = st.lists(TEXTS.filter(str.strip), max_size=3).map(tuple)


def values(setting: Setting) -> st.SearchStrategy:
    """What the page's field of a setting can give."""
    match setting.kind:
        case "switch":
            return st.booleans()
        case "choice":
            return st.sampled_from(setting.choices)
        case "whole":
            return st.integers(1, 10**6)
        case "number":
            return st.floats(0, 1)
        case "list":
            return LINES
        case "text":
            return TEXTS.map(lambda text: setting.read([text]))


@st.composite
def configs(draw: st.DrawFn) -> TraceConfig:
    """Settings that go together."""
    chosen = {name: draw(values(setting)) for name, setting in SETTINGS.items()}
    if chosen["target_features"]:
        chosen |= {"target_tokens": (), "answer": ""}
    if chosen["answer"]:
        chosen |= {"target_tokens": (), "target_position": -1}
    return TraceConfig(**chosen)


class TestOrder:
    @settings(deadline=None, max_examples=60)
    @given(configs(), TEXTS.filter(str.strip), TEXTS.filter(str.strip))
    @example(TraceConfig(target_tokens=("--help", " -", "[1]")), "--help", "-1")
    @example(TraceConfig(answer="-x", device="None"), "--", "[]")
    def test_the_command_line_reads_what_the_form_gave(self, config: TraceConfig, prompt: str, model: str):
        order = TraceOrder(prompt, model, "some/transcoders", config)
        _, read, _ = cli.parse_args(order.arguments(Path("x")), exit_on_error=False, print_error=False)
        given = read.arguments
        assert (given["prompt"], given["model"], given["transcoders"]) == ((prompt,), model, "some/transcoders")
        assert given["out"] == Path("x")
        assert given.get("config", TraceConfig()) == config

    @settings(deadline=None)
    @given(configs(), TEXTS)
    def test_an_address_brings_the_order_back(self, config: TraceConfig, prompt: str):
        order = TraceOrder(prompt, config=config)
        given = {name: [value] if isinstance(value, str) else value for name, value in order.params().items()}
        assert read_order(given) == order

    def test_what_is_not_changed_is_not_said(self):
        assert TraceOrder("a b", "m", "t").arguments() == ["trace", "--model=m", "--transcoders=t", "--", "a b"]
        assert TraceOrder().params() == {}

    def test_every_setting_has_its_default_and_meaning_from_the_dataclass(self):
        assert [(each.name, each.default) for each in SETTINGS.values()] == [
            (field.name, field.default) for field in fields(TraceConfig)
        ]
        assert all(each.meaning.endswith(".") for each in SETTINGS.values())
        assert SETTINGS["edge_threshold"].meaning.startswith("The pruned graph keeps the edges that carry")

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("dtype", "float8", "expected one of float32, float64"),
            ("max_n_logits", "many", "expected a whole number"),
            ("chat", "maybe", "expected yes or no"),
            ("node_threshold", "80", "Write 80 % as 0.8"),
        ],
    )
    def test_an_address_that_asks_for_what_cannot_be_is_told(self, name: str, text: str, expected: str):
        with pytest.raises(SettingError, match=expected):
            read_order({name: [text]})

    def test_an_order_without_a_prompt_or_a_model_is_refused(self):
        with pytest.raises(PromptError, match="there is no prompt"):
            TraceOrder(" ").check()
        with pytest.raises(SettingError, match="the field model is empty"):
            TraceOrder("a", "").check()

    def test_token_ids_stand_in_the_place_of_a_prompt(self):
        order = TraceOrder(model="m", transcoders="t", token_ids="2,17,5")
        order.check()
        assert order.arguments() == ["trace", "--model=m", "--transcoders=t", "--token-ids=2,17,5"]
        assert read_order({"token_ids": ["2,17,5"]}).reads == "2,17,5"
        with pytest.raises(PromptError, match="expected one of them"):
            TraceOrder("a", token_ids="1").check()


def refuse(folder: Path) -> IngestReport:
    """Nothing may come in."""
    raise AssertionError(f"{folder} was taken in")


def folders() -> set[str]:
    """The temporary folders of all runs."""
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("throughline-trace-")}


class TestRun:
    def test_two_runs_at_once_give_two_graphs_and_leave_no_folder(self):
        before, kept = folders(), {}

        def look(folder: Path) -> IngestReport:
            about = read_metadata(str(folder))
            kept[about["prompt"]] = folder
            return IngestReport(str(folder), "ingested", about["graph_id"])

        prompts = [PROMPT, PROMPT.replace("Dallas", "Houston")]
        runs = [TraceRun(TraceOrder(prompt), look) for prompt in prompts]
        assert len(folders() - before) == 2
        assert [run.wait(TRACE_LIMIT_S) for run in runs] == ["done", "done"], [run.said for run in runs]
        assert sorted(text.removeprefix("<bos>").strip() for text in kept) == sorted(prompts)
        assert len(set(kept.values())) == len({run.report.graph_id for run in runs if run.report}) == 2
        assert all(run.progress[0] == run.progress[1] > 0 for run in runs)
        assert folders() == before

    def test_a_cancelled_run_ends_its_process_and_keeps_nothing(self):
        before = folders()
        run = TraceRun(TraceOrder(PROMPT), refuse)
        run.cancel()
        assert run.wait(10) == "cancelled"
        assert run._process.poll() is not None
        assert folders() == before

    def test_a_process_that_the_system_ends_is_said_to_have_run_out_of_memory(self):
        run = TraceRun(TraceOrder(PROMPT), refuse)
        run._process.kill()
        assert run.wait(10) == "failed"
        assert "memory ran out" in run.error

    def test_a_prompt_too_long_for_a_command_line_is_told(self):
        with pytest.raises(CircuitError, match="the tracer cannot be started"):
            TraceRun(TraceOrder("word " * 10**6), refuse)


def test_a_link_fills_the_form_and_runs_nothing(loaded: dict[str, str]):
    before = folders()
    test = open_page("trace", prompt=PROMPT, max_n_logits="3", target_tokens=" Austin")
    assert not test.exception
    fields = {widget.label: widget.value for widget in [*test.text_area, *test.number_input, *test.selectbox]}
    assert (fields["Prompt"], fields["Max n logits"], fields["Target tokens"]) == (PROMPT, 3, " Austin")
    assert fields["Batch size"] == TraceConfig().batch_size
    assert "--max-n-logits=3" in test.code[0].value
    assert folders() == before


def test_the_settings_of_the_peer_are_one_click(loaded: dict[str, str]):
    test = open_page("trace", prompt=PROMPT, max_n_logits="3")
    test.button(key="like circuit-tracer").click().run(timeout=60)
    assert not test.exception
    assert "--max-n-logits=3 --first-token --no-keep-errors --no-keep-first-position" in test.code[0].value


def test_a_link_that_cannot_be_read_is_told(loaded: dict[str, str]):
    test = open_page("trace", target="loudest")
    assert "expected one of logit, log" in test.warning[0].value


def trace_button(page: Page) -> Locator:
    return page.get_by_test_id("stFormSubmitButton").get_by_role("button", name="Trace", exact=True)


def fill(page: Page, prompt: str) -> None:
    page.goto("/trace")
    field = page.get_by_role("textbox", name="Prompt")
    field.fill(prompt, timeout=30_000)
    field.press("Control+Enter")


def test_a_prompt_is_traced_and_its_graph_opened(page: Page, empty_store: GraphStore):
    fill(page, PROMPT)
    expect(page.get_by_role("progressbar")).to_be_visible(timeout=30_000)
    expect(trace_button(page)).to_be_disabled()
    expect(page).to_have_url(re.compile(r"prompt=Fact.*run="))
    page.reload()  # the run goes on, and is found again
    page.get_by_role("link", name="Open graph").click(timeout=1000 * TRACE_LIMIT_S)
    expect(page.locator(".ag[data-ready]")).to_be_visible(timeout=30_000)
    [graph] = [row for row in empty_store.graphs() if row["model"] == "throughline-demo"]
    assert graph["graph_id"] in page.url
    assert graph["graph_id"] in default_library()


def test_the_page_and_the_command_line_make_the_same_graph(empty_store: GraphStore, tmp_path: Path):
    """After the test above: what the command traces is there already."""
    from app.cli import main

    with pytest.raises(SystemExit) as ended:
        main(TraceOrder(PROMPT).arguments(tmp_path / "graph"))
    assert ended.value.code == 0
    [report] = ingest_paths([tmp_path], empty_store, default_library())
    assert report.status == "unchanged"


def test_a_word_that_the_model_does_not_know_gets_the_tracers_sentence(page: Page, empty_store: GraphStore):
    before = len(empty_store.graphs())
    fill(page, UNKNOWN)
    said = page.get_by_text("'Qwertz' is not in the vocabulary of throughline-demo")
    expect(said).to_be_visible(timeout=1000 * TRACE_LIMIT_S)
    expect(trace_button(page)).to_be_enabled()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value(UNKNOWN)
    assert len(empty_store.graphs()) == before


def test_without_a_prompt_the_page_says_so_before_anything_runs(page: Page):
    before = folders()
    fill(page, "")
    expect(page.get_by_text("there is no prompt")).to_be_visible(timeout=30_000)
    assert folders() == before


def test_cancel_ends_the_trace_and_nothing_is_left(page: Page, empty_store: GraphStore):
    cancelled = page.get_by_text("Cancelled; nothing of it was kept.")
    for _ in range(10):  # a trace may end before the click is heard, even one of a long prompt, on a busy machine
        before, graphs = folders(), len(empty_store.graphs())
        fill(page, " ".join([PROMPT] * 5))
        page.get_by_role("button", name="Cancel").click(timeout=30_000)
        expect(cancelled.or_(page.get_by_role("link", name="Open graph")).first).to_be_visible(timeout=30_000)
        if cancelled.is_visible():
            break
    expect(cancelled).to_be_visible()
    until = time.monotonic() + 10
    while folders() != before and time.monotonic() < until:
        time.sleep(0.1)
    assert folders() == before
    assert len(empty_store.graphs()) == graphs


def test_settings_of_the_peer_are_filled_in_beside_what_was_typed(page: Page):
    before = folders()
    page.goto("/trace")
    page.get_by_role("textbox", name="Prompt").fill(PROMPT, timeout=30_000)
    page.get_by_role("button", name="Settings of circuit-tracer").click()
    expect(page).to_have_url(re.compile("first_token=yes"), timeout=30_000)
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value(PROMPT)
    assert folders() == before, "nothing runs before somebody asks for it"


def test_a_double_click_starts_one_trace(page: Page):
    before = folders()
    page.goto("/trace")
    page.get_by_role("textbox", name="Prompt").fill(PROMPT, timeout=30_000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    trace_button(page).dblclick()  # now that nothing moves any more
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible(timeout=30_000)
    time.sleep(1)  # for a second one to begin
    assert len(folders() - before) == 1
    cancel.click()
    expect(page.get_by_text("Cancelled; nothing of it was kept.")).to_be_visible(timeout=30_000)
