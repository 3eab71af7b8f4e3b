"""Which prompts run through these waypoints, how strongly, and along which paths."""

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from app import cached
from app.ask import KEPT, MOST_PATHS, Question, join_steps, read_question
from app.circuits_report import matters_texts
from app.component import net
from app.frames import (
    binding_text,
    circuits_frame,
    circuits_table,
    edges_frame,
    graph_params,
    matters_frame,
    path_picture,
)
from app.graphlist import caption, prompt_text, version_of
from app.keptpanel import keep_button, show_kept
from app.looking import look
from app.markdown import escaped, with_code
from app.messages import show_nothing_loaded
from app.theme import theme
from circuits.config import SIGNS
from ingest.search import CircuitSearch
from tracer.errors import CircuitError, StoreError

ROW = 36  # pixels
SIGN_NAMES = {"any": "all effects", "positive": "promoting effects only"}
STEPS, PATTERN = "Steps", "Pattern"
MATTERS_IN_TABLE = ("without it, flow falls by", "along the way")
MATTERS_COLUMNS = {
    "node": st.column_config.TextColumn("Node", width="medium"),
    "role": st.column_config.TextColumn("Along the way", width="medium"),
    "part": st.column_config.ProgressColumn(
        "Flow lost without it", format="%.0f%%", min_value=0, max_value=100, help="At 100 % nothing is left"
    ),
    "kept": st.column_config.ProgressColumn(
        "Prunings that keep it", format="%.0f%%", min_value=0, max_value=100, help="At 100 % it is core"
    ),
}
WORDS = (
    "A word fits tokens and outputs that are this word, and labels that contain it; `*` and `?` are wildcards, quotes "
    "mean exactly this text, `20/15589` is a feature by layer and index, `{city}` a role: any one of its terms, "
    "`Texas|Texan` either, `@L10-20` layers, `@pos:-1` a position. Between steps `-|` inhibits, `-{2,4}->` takes 2 "
    "to 4 links."
)


def main() -> None:
    rows = cached.graphs()
    if not rows:
        return show_nothing_loaded()
    by_id = {row["graph_id"]: row for row in rows}
    question = ask(asked(by_id), by_id)
    if not question.pattern:
        show_examples(rows)
        st.markdown("##### Kept circuits")
        return open_kept()
    with st.expander("Kept circuits", expanded=KEPT in st.query_params, icon=":material/bookmarks:"):
        open_kept()
    versions = tuple((i, version_of(by_id[i])) for i in question.graph_ids or by_id)
    try:
        search = cached.search(question.pattern, versions, not question.graph_ids, question.config)
        rows = look(search, f"{question.params()}", theme())
    except StoreError:
        raise
    except CircuitError as error:
        message, _, where = str(error).partition("\n")
        st.error(with_code(message), icon=":material/error:")
        if where:  # the pattern with a caret under the place
            st.code(where, language=None)
        return
    if not rows:
        return show_why_nothing(question, versions) if search.complete else None
    show_summary(rows, search, question, versions)
    chosen = show_table(rows)
    show_circuit(rows[chosen])
    show_matters(question, rows[chosen], dict(versions))
    show_cypher(question, rows[0]["links"])


def asked(by_id: dict[str, Any]) -> Question:
    """The question that the address holds; graphs that are not there any more are left out."""
    given = st.query_params
    graph_ids = [graph_id for graph_id in given.get_all("in") if graph_id in by_id]
    return read_question(given.get("p", ""), graph_ids, given.get("k", ""), given.get("sign", ""))


def ask(question: Question, by_id: dict[str, Any]) -> Question:
    """The form; submitting puts the question into the address."""
    key = f"{question.params()}"  # new fields for a new address, so that Back in the browser shows what was asked
    ways = [STEPS, PATTERN] if question.fits_steps else [PATTERN]
    how = st.segmented_control(
        "Write as", ways, default=ways[0], key=f"write_as {len(ways)}", required=True, label_visibility="collapsed"
    )
    with st.form("ask", border=True):
        pattern = steps_fields(question, key) if how == STEPS else pattern_field(question, key)
        where, kind, number, go = st.columns([6, 2.4, 1.3, 2.6], vertical_alignment="bottom")
        graph_ids = where.multiselect(
            "Prompts", list(by_id), default=list(question.graph_ids), key=f"in {key}",
            format_func=lambda graph_id: caption(by_id[graph_id]), placeholder=f"All {len(by_id)} graphs",
        )  # fmt: skip
        sign = kind.selectbox(
            "Count", SIGNS, index=SIGNS.index(question.sign), format_func=SIGN_NAMES.__getitem__, key=f"sign {key}"
        )
        k = number.number_input("Paths each", 1, MOST_PATHS, question.k, key=f"k {key}")
        if go.form_submit_button(
            "Find circuits", type="primary", shortcut="Ctrl+Enter", icon=":material/search:", width="stretch"
        ):
            question = Question(pattern, tuple(graph_ids), int(k), sign or question.sign)
            st.query_params.from_dict(question.params())
            st.rerun()
    return question


def steps_fields(question: Question, key: str) -> str:
    """From, through and to as fields of their own."""
    steps, (start, through, end) = question.steps, st.columns([2, 3, 2])
    first = start.text_input(
        "From",
        steps[0] if steps else "",
        key=f"from {key}",
        placeholder="Dallas",
        help=f"A token of the prompt. {WORDS}",
    )
    middle = through.text_area(
        "Through, in this order", "\n".join(steps[1:-1]), key=f"through {key}", height=68, placeholder="Texas",
        help=f"One step a line, as many as you like, or none. {WORDS}",
    )  # fmt: skip
    last = end.text_input(
        "To",
        steps[-1] if len(steps) > 1 else "",
        key=f"to {key}",
        placeholder="Austin",
        help=f"An output, or anything. {WORDS}",
    )
    return join_steps(first or "", middle or "", last or "")


def pattern_field(question: Question, key: str) -> str:
    """The whole pattern in one line."""
    names = ", ".join(f"{{{role}}}" for role in cached.roles())
    return st.text_input(
        "Pattern", question.pattern, key=f"pattern {key}", placeholder="Dallas -> Texas -> Austin",
        help=f"Steps with arrows between them. {WORDS} Roles, each any one of its terms: {names}.",
    ) or ""  # fmt: skip


def show_examples(rows: list[dict[str, Any]]) -> None:
    """Before the first question: what one can ask."""
    st.markdown(
        "Find the prompts whose answer comes about through steps of your choice, ranked by **exact flow**: the part of "
        "the output's input that arrives along *all* paths which visit the steps in order."
    )
    st.caption("For example")
    roles = [f"{{{role}}}" for role in cached.roles()]
    patterns = ["Dallas -> Texas -> Austin", " -> ".join(roles), "* -> Texas -> *"]
    with st.container(horizontal=True):
        for pattern in patterns:
            if st.button(escaped(pattern), key=f"example {pattern}"):
                go_to(Question(pattern))


def go_to(question: Question) -> None:
    """Ask this question instead."""
    st.query_params.from_dict(question.params())
    st.rerun()


def open_kept() -> None:
    """The kept circuits; the one that is opened is asked again."""
    opened = show_kept()
    if opened:
        go_to(opened)


def show_summary(
    rows: list[dict[str, Any]], search: CircuitSearch, question: Question, versions: tuple[tuple[str, str], ...]
) -> None:
    """How many, how fast, the files, and a way to keep it."""
    left, right = st.columns([3, 2], vertical_alignment="center")
    left.markdown(f"**{search.having} of {search.done} graphs** have this circuit · {1000 * search.elapsed_s:.0f} ms")
    with right.container(horizontal=True, horizontal_alignment="right"):
        keep_button(question, versions)
        st.download_button("CSV", lambda: circuits_table(rows).to_csv(index=False), "circuits.csv", on_click="ignore")
        st.download_button(
            "JSON", lambda: json.dumps(rows, ensure_ascii=False, indent=1), "circuits.json", on_click="ignore"
        )


def show_table(rows: list[dict[str, Any]]) -> int:
    """All circuits found; gives the number of the selected one, the first if none is."""
    frame = circuits_frame(rows, theme())
    if not any(row["binding"] for row in rows):
        frame = frame.drop(columns="binding")
    columns = {
        "circuit": st.column_config.ImageColumn("Strongest path", width=430, alignment="left"),
        "flow": st.column_config.ProgressColumn(
            "Flow", format="%.2f%%", min_value=0, max_value=100 * max(row["flow"] for row in rows),
            help="Sum of the strengths of all paths that visit the steps in order; the strength of a path is the "
            "product of its links' shares",
        ),
        "prompt": st.column_config.TextColumn("Prompt", width="large"),
        "binding": st.column_config.TextColumn("Roles", width="medium", help="The terms for which the flow is largest"),
        "hops": st.column_config.NumberColumn("Hops", width="small", help="Links on the strongest path"),
        "open": st.column_config.LinkColumn("Graph", width="small", display_text="Open ↗"),
    }  # fmt: skip
    event = st.dataframe(
        frame, hide_index=True, height=min(14, len(frame)) * ROW + 40, row_height=ROW, key=f"found {len(rows)}",
        on_select="rerun", selection_mode="single-row", column_config=columns,
    )  # fmt: skip
    selected = event["selection"]["rows"]
    return selected[0] if selected and selected[0] < len(rows) else 0


def show_circuit(row: dict[str, Any]) -> None:
    """One circuit: its paths as a picture, the shares along each, and the way into the graph."""
    carried = sum(path["strength"] for path in row["paths"]) / row["flow"]
    st.markdown(f"##### {escaped(prompt_text(row['prompt']))}")
    facts = [f"flow {100 * row['flow']:.3g} %", f"the {len(row['paths'])} strongest paths carry {carried:.0%} of it"]
    st.caption(escaped(" · ".join([*facts, *bindings(row)])))
    picture, side = st.columns([1, 1])
    with picture:
        net(*path_picture(row["paths"]), key="paths")
    with side:
        show_path(row)


def show_matters(question: Question, row: dict[str, Any], versions: dict[str, str]) -> None:
    """What the circuit of this graph hangs on, as `throughline circuits --matters` tells it; seconds on a large graph,
    so only where it is asked for."""
    if not st.toggle("What it hangs on", help="Necessary nodes, bottlenecks, what inhibits, what every pruning keeps"):
        return
    with st.container(border=True), st.spinner("Looking…", show_time=True):
        told = cached.matters(question.pattern, row["graph_id"], versions[row["graph_id"]], question.sign)
        if told["necessary"]:
            st.dataframe(matters_frame(told), hide_index=True, column_config=MATTERS_COLUMNS)
        left = {name: text for name, text in matters_texts(told).items() if name not in MATTERS_IN_TABLE}
        for name, text in left.items():
            st.markdown(f"**{escaped(name[:1].upper() + name[1:])}:** {escaped(text)}")
        st.caption(
            "Exact sums over all paths of the frozen model; what an intervention in the live model does is another "
            "question. Prunings: every pair of 4 node and 3 edge thresholds."
        )


def show_path(row: dict[str, Any]) -> None:
    """One of the paths, link by link."""
    strengths = [f"Path {at}, strength {100 * path['strength']:.3g} %" for at, path in enumerate(row["paths"], 1)]
    choose, link = st.columns([3, 2], vertical_alignment="center")
    rank = choose.selectbox(
        "Path", range(len(strengths)), format_func=strengths.__getitem__, label_visibility="collapsed",
        key=f"path of {row['graph_id']}",
    )  # fmt: skip
    link.page_link(
        "pages/graph.py", label="Open in graph", icon=":material/account_tree:", query_params=graph_params(row, rank)
    )
    columns = {
        "from": st.column_config.TextColumn(width="medium"),
        "to": st.column_config.TextColumn(width="medium"),
        "share": st.column_config.ProgressColumn(
            "share", format="%.1f%%", min_value=0, max_value=100, help="Part of the input of the node it goes to"
        ),
        "effect": st.column_config.NumberColumn("effect", format="%+.3f", help="Direct effect, signed"),
        "feature": st.column_config.LinkColumn(
            "feature", display_text="Open ↗", width="small", help="The feature that the link goes to, in all graphs"
        ),
    }
    source_set = next((each["source_set"] for each in cached.graphs() if each["graph_id"] == row["graph_id"]), "")
    st.dataframe(edges_frame(row["paths"][rank], source_set), hide_index=True, column_config=columns)


def show_cypher(question: Question, links: list[int]) -> None:
    """The same question as a query that one can change."""
    text = cached.circuits_as_cypher(question.pattern, question.sign, links)
    with st.expander("The same question in Cypher", icon=":material/terminal:"):
        st.caption("On the pruned graphs in the database; it ranks by the strongest path and counts no flow.")
        st.code(text, language="cypher")
        st.page_link("pages/cypher.py", label="Open in Cypher", icon=":material/terminal:", query_params={"q": text})


def bindings(row: dict[str, Any]) -> list[str]:
    """What stands for the roles, and what comes next."""
    if not row["binding"]:
        return []
    others = [f"{binding_text(other['binding'])} ({100 * other['flow']:.2g} %)" for other in row["alternatives"][:2]]
    return [binding_text(row["binding"]), *(["next " + "; ".join(others)] if others else [])]


def show_why_nothing(question: Question, versions: tuple[tuple[str, str], ...]) -> None:
    """Which step matched nothing, or that no path joins them; and looser questions, one click away."""
    counts = cached.waypoint_counts(question.pattern, versions)
    missing = [at for at, (_, graphs, _) in enumerate(counts) if not graphs]
    with st.container(border=True):
        st.markdown("##### No graph has this circuit")
        for at, (text, graphs, nodes) in enumerate(counts):
            found = (
                f"{counted(nodes, 'node')} in {graphs} of {len(versions)} graphs"
                if graphs
                else "nothing fits this step"
            )
            st.markdown(f"{at + 1}. **{escaped(text)}**: {found}")
        message, _, where = cached.why_nothing(question.pattern, versions).partition("\n")
        st.markdown(with_code(message))
        if where:
            st.code(where, language=None)
        failed = pd.DataFrame(cached.failures(question.pattern, versions, question.sign))
        with st.expander(f"Which step fails in which graph ({counted(len(failed), 'graph')})"):
            names = {"failed": "Step", "reason": "Why", "prompt": "Prompt", "slug": "Graph"}
            st.dataframe(failed[[*names]], hide_index=True, column_config=names)
        with st.container(horizontal=True):
            for label, other in looser(question, missing or list(range(1, len(counts) - 1))):
                if st.button(escaped(label), key=f"looser {label}"):
                    go_to(other)


def counted(number: int, word: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def looser(question: Question, steps: list[int]) -> list[tuple[str, Question]]:
    """Questions that more graphs answer, with what changes."""
    offers = []
    for at in steps[:2] if question.fits_steps else ():
        text = question.steps[at]
        if text.strip("*") == text and text[0] not in '{"#':
            offers.append((f"Any text with “{text}”", question.loosened(at)))
        if len(question.steps) > 2:
            offers.append((f"Without “{text}”", question.without(at)))
    if question.graph_ids:
        offers.append(("In all graphs", replace(question, graph_ids=())))
    if question.sign != "any":
        offers.append(("Count all effects", replace(question, sign="any")))
    return offers


if __name__ == "__main__":
    main()
