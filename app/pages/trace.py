"""Trace a prompt: `throughline trace` in a process of its own, and its graph put into the store."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from app import cached
from app.markdown import escaped, with_code
from app.trace_order import FREQUENT, SETTINGS, Setting, TraceOrder, read_order
from app.trace_run import RUNS, TraceRun, start
from ingest.library import default_library
from ingest.load import IngestReport, ingest_paths
from tracer.config import PEER_SETTINGS, TraceConfig
from tracer.demo import PROMPTS_FILE
from tracer.errors import CircuitError

DEMO, OTHER = "Demo model", "Another model"
POLL_S = 0.5
N_EXAMPLES = 3
IN_A_ROW = 4  # fields
NONE = "not set"
LIKE_HELP = "Fill the form with this tool's choices where ours differ, to get its numbers."


def main() -> None:
    st.set_page_config(page_title="Trace · Throughline")
    take_back_address()
    order, run = ordered(), RUNS.get(st.query_params.get("run", ""))
    busy = run is not None and not run.is_over
    form = st.container()
    if run and busy:
        watch(run)
    elif run:
        show_end(run)
    elif order.is_demo and not order.reads:
        show_examples(order)
    if order.reads:
        show_command_line(order)
    with form:  # last, because a submitted form starts a run and the page anew
        ask(order, busy)


def take_back_address() -> None:
    """Coming from another page, which drops the address, be where one was."""
    state = st.session_state
    if not st.query_params and state.get("trace_address"):
        st.query_params.from_dict(state.trace_address)


def ordered() -> TraceOrder:
    """What the address asks for; the form is filled with it, and nothing runs before somebody submits."""
    given = st.query_params
    try:
        return read_order({name: given.get_all(name) for name in given})
    except CircuitError as error:
        st.warning(with_code(f"This link cannot be read: {error}"), icon=":material/link_off:")
        return TraceOrder()


def go_to(order: TraceOrder, run_id: str = "") -> None:
    """Put this order, and the run of it, into the address."""
    address = order.params() | ({"run": run_id} if run_id else {})
    st.query_params.from_dict(address)
    st.session_state.trace_address = address
    st.rerun()


def ask(order: TraceOrder, busy: bool) -> None:
    """The form; submitting starts a run, or fills it with a tool's settings beside what is typed."""
    key = f"{order.params()}"  # new fields for a new address
    which = st.segmented_control(
        "Model", [DEMO, OTHER], default=DEMO if order.is_demo else OTHER, key=f"which {key}", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    with st.form("trace", border=True):
        model, transcoders = (TraceOrder.model, TraceOrder.transcoders) if which == DEMO else model_fields(order, key)
        prompt = st.text_area(
            "Prompt", order.prompt, key=f"prompt {key}", height=68,
            placeholder="Fact: the capital of the state containing Dallas is",
        )  # fmt: skip
        frequent = [SETTINGS[name] for name in FREQUENT]
        values = setting_fields(frequent, order.config, key, len(FREQUENT))
        with st.expander("More settings", icon=":material/tune:"):
            rest = [setting for setting in SETTINGS.values() if setting.name not in FREQUENT]
            values |= setting_fields(rest, order.config, key, IN_A_ROW)
            token_ids = st.text_input(
                "Token ids", order.token_ids, key=f"token_ids {key}", placeholder="2,17,5",
                help="Read instead of a prompt, as they are.",
            )  # fmt: skip
        with st.container(horizontal=True):
            submitted = st.form_submit_button(
                "Trace", type="primary", icon=":material/play_arrow:", disabled=busy,
                help="One trace at a time in each tab." if busy else None,
            )  # fmt: skip
            likes = [
                peer for peer in PEER_SETTINGS
                if st.form_submit_button(f"Settings of {peer}", key=f"like {peer}", disabled=busy, help=LIKE_HELP)
            ]  # fmt: skip
    if busy or not (submitted or likes):
        return
    for peer in likes:
        values |= PEER_SETTINGS[peer]
    try:
        asked = TraceOrder(prompt or "", model, transcoders, TraceConfig(**values), token_ids or "")
        if likes:
            go_to(asked)
        asked.check()
        run = start_once(asked)
    except CircuitError as error:
        st.error(with_code(str(error)), icon=":material/error:")
    else:
        go_to(asked, run.id)


def start_once(order: TraceOrder) -> TraceRun:
    """The run of this tab that is going, else a new one: a double click submits twice."""
    tab: dict[str, str] = st.session_state.setdefault("tab", {})
    # From here on nothing of Streamlit is touched: it would stop this run of the page for the second click,
    # between starting the process and noting it.
    going = RUNS.get(tab.get("run", ""))
    run = going if going and not going.is_over else start(order, keep)
    tab["run"] = run.id
    return run


def model_fields(order: TraceOrder, key: str) -> tuple[str, str]:
    """Model and transcoders as typed."""
    given = ("", "") if order.is_demo else (order.model, order.transcoders)
    left, right = st.columns(2)
    model = left.text_input(
        "Model", given[0], key=f"model {key}", placeholder="google/gemma-2-2b",
        help="Folder of a Hugging Face model, or its name on the hub.",
    )  # fmt: skip
    transcoders = right.text_input(
        "Transcoders", given[1], key=f"transcoders {key}", placeholder="mntss/gemma-scope-transcoders",
        help="Folder of the model's transcoders, or their name on the hub.",
    )  # fmt: skip
    return (model or "").strip(), (transcoders or "").strip()


def setting_fields(settings: Sequence[Setting], config: TraceConfig, key: str, in_a_row: int) -> dict[str, Any]:
    """A field for each setting, several in a row; gives the values by name."""
    values = {}
    for at in range(0, len(settings), in_a_row):
        columns = st.columns(in_a_row)
        for setting, column in zip(settings[at : at + in_a_row], columns, strict=False):
            with column:
                values[setting.name] = field(setting, getattr(config, setting.name), f"{setting.name} {key}")
    return values


def field(setting: Setting, value: Any, key: str) -> Any:
    """One setting to fill in, with its own words for help."""
    about: dict[str, Any] = {
        "label": setting.name.replace("_", " ").capitalize(), "key": key, "help": setting.meaning.replace("~", r"\~")
    }  # fmt: skip
    match setting.kind:
        case "switch":
            return st.checkbox(value=value, **about)
        case "choice":
            at = setting.choices.index(value)
            return st.selectbox(options=setting.choices, index=at, format_func=lambda one: one or NONE, **about)
        case "whole":
            return st.number_input(value=value, step=1, **about)
        case "number":
            return st.number_input(value=value, step=0.01, format="%g", **about)
        case "list":
            text = st.text_area(value="\n".join(value), height=68, placeholder="one a line", **about)
            return setting.read([line for line in (text or "").splitlines() if line.strip()])
        case "text":
            return setting.read([st.text_input(value=str(value), **about) or ""])


def keep(folder: Path) -> IngestReport:
    """Take the graph in this folder in, as `throughline ingest` does."""
    [report] = ingest_paths([folder], cached.store(), default_library())
    cached.graphs.clear()
    return report


def watch(run: TraceRun) -> None:
    """How far the run is, with a way to end it, until it is over."""

    @st.fragment(run_every=POLL_S)
    def show() -> None:
        if run.is_over:
            st.rerun()
        done, total, what = run.progress
        if run.state == "loading":
            done, total, text = 1, 1, "Loading the graph into the database"
        else:
            counts = f": {done:,} of {total:,}" if total > 1 else ""
            text = f"{what.capitalize()}{counts}" if total else "Loading the model"
        with st.container(border=True):
            bar, button = st.columns([6, 1], vertical_alignment="center")
            bar.progress(done / total if total else 0.0, text=escaped(f"{text} · {run.seconds:.0f} s"))
            if button.button("Cancel", icon=":material/stop:", width="stretch", disabled=run.state == "loading"):
                run.cancel()
            if run.said:
                st.code("\n".join(run.said), language=None, wrap_lines=True)

    show()


def show_end(run: TraceRun) -> None:
    """The graph that came of it, or why there is none."""
    if run.state == "cancelled":
        st.info("Cancelled; nothing of it was kept.", icon=":material/stop_circle:")
    elif run.state == "failed":
        st.error(with_code(run.error), icon=":material/error:")
    if run.report and run.state == "done":
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            there = "; it was in the database already" if run.report.status == "unchanged" else ""
            facts = f"{run.report.nodes:,} nodes and {run.report.edges:,} direct effects in {run.seconds:.1f} s{there}"
            left.markdown(f"**{escaped(run.order.reads)}**  \n{escaped(facts)}")
            right.page_link(
                "pages/graph.py", label="Open graph", icon=":material/account_tree:",
                query_params={"g": run.report.graph_id},
            )  # fmt: skip
    rest = run.said[:-1] if run.state == "failed" else run.said
    if rest:
        with st.expander("What the tracer said", icon=":material/notes:"):
            st.code("\n".join(rest), language=None, wrap_lines=True)


def show_examples(order: TraceOrder) -> None:
    """Before the first prompt: some that the demo model knows."""
    st.caption("The demo model knows cities, states and countries of its own small world. For example")
    with st.container(horizontal=True):
        for text in example_prompts():
            if st.button(escaped(text), key=f"example {text}"):
                go_to(replace(order, prompt=text))


def example_prompts() -> list[str]:
    """The first of the prompts that ship."""
    lines = PROMPTS_FILE.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[:N_EXAMPLES]]


def show_command_line(order: TraceOrder) -> None:
    """The same without the page."""
    with st.expander("The same on the command line", icon=":material/terminal:"):
        trace = shlex.join(["throughline", *order.arguments()])
        st.code(f"{trace}\nthroughline ingest graphs", language="bash", wrap_lines=True)


if __name__ == "__main__":
    main()
