"""Kept circuits on the page Circuits: keep what was found, list, open, run again, export and remove."""

import html
import urllib.parse
from typing import Any, get_args

import pandas as pd
import streamlit as st

from app import cached
from app.ask import KEPT, Question, bound_question
from app.circuit_commands import figures_text, settings_text
from app.graphlist import prompt_text, version_of
from app.markdown import escaped
from circuits.kept import Kept, changes
from circuits.kept_formats import KeptFormat, to_svg, write_kept
from ingest.circuit_runs import run_again, run_pattern
from ingest.kept_circuits import keep_circuit, remove_circuit, replace_circuit
from ingest.library import default_library

CHANGES = "changes of kept circuits"  # in the session: kept_id -> (record of the new run, what changed)
COLUMNS = {
    "name": st.column_config.TextColumn("Name", width="medium"),
    "pattern": st.column_config.TextColumn("Pattern", width="large"),
    "found": st.column_config.TextColumn("Found in", width="small", help="Prompts that have it, of those looked at"),
    "mean": st.column_config.NumberColumn("Flow", format="%.4f", width="small", help="On average over all prompts"),
    "spread": st.column_config.NumberColumn("Spread", format="%.4f", width="small", help="Standard deviation"),
    "gone": st.column_config.NumberColumn("Gone", width="small", help="Its graphs that are not loaded any more"),
    "made_at": st.column_config.DatetimeColumn("Kept", format="YYYY-MM-DD", width="small"),
    "note": st.column_config.TextColumn("Note", width="medium"),
}


def keep_button(question: Question, versions: tuple[tuple[str, str], ...]) -> None:
    """A form for name and note that keeps the result of this question, as `throughline keep` does."""
    with (
        st.popover("Keep", icon=":material/bookmark_add:"),
        st.form(f"keep {question.params()}", border=False),
    ):
        name = st.text_input("Name", question.pattern, max_chars=200)
        note = st.text_area("Note", placeholder="What you think of it", height=90)
        if st.form_submit_button("Keep this circuit", type="primary"):
            named = list(question.graph_ids) or None
            library = cached.kept_library(versions)
            with st.spinner("Keeping…", show_time=True):
                kept = run_pattern(
                    question.pattern, cached.store(), library, named, cached.roles(), question.config,
                    name=name.strip(), note=note.strip(),
                )  # fmt: skip
                keep_circuit(kept, cached.store(), default_library())
            cached.forget_kept()
            st.toast(f"Kept as {escaped(kept.name)}", icon=":material/bookmark_added:")


def show_kept() -> Question | None:
    """The list of kept circuits and the chosen one; gives its question where that is to be asked again."""
    rows = cached.kept_circuits()
    if not rows:
        st.caption("No circuit is kept yet. Find one and choose “Keep”, or run `throughline keep PATTERN --name NAME`.")
        return None
    frame = pd.DataFrame(rows)
    frame["found"] = [f"{row['found']} of {row['n']}" for row in rows]
    frame["made_at"] = pd.to_datetime(frame["made_at"], errors="coerce", utc=True)
    event = st.dataframe(
        frame[[*COLUMNS]], hide_index=True, height=min(6, len(rows)) * 35 + 38, key="kept circuits", on_select="rerun",
        selection_mode="single-row", column_config=COLUMNS,
    )  # fmt: skip
    selected = event["selection"]["rows"]
    named = [at for at, row in enumerate(rows) if row["kept_id"] == st.query_params.get(KEPT)]
    chosen = next((at for at in [*selected, *named] if at < len(rows)), None)
    if chosen is None:
        if KEPT in st.query_params:
            st.warning("The kept circuit of this link is not here (any more).", icon=":material/link_off:")
        st.caption("Select one to open it, run it again, export or remove it.")
        return None
    return show_one(rows[chosen])


def show_one(row: dict[str, Any]) -> Question | None:
    """One kept circuit: how it was made, its picture, and what can be done with it."""
    kept = cached.kept_circuit(row["kept_id"])
    with st.container(border=True):
        st.markdown(f"##### {escaped(kept.name)}")
        st.caption(escaped(" · ".join([figures_text(kept), kept.made_with, kept.made_at, settings_text(kept)])))
        if kept.note:
            st.text(kept.note)
        if row["gone"]:
            there = {graph["graph_id"] for graph in cached.graphs()}
            gone = sorted({each["slug"] for each in kept.prompts if each["graph_id"] not in there})
            st.warning(escaped(f"Not loaded any more: {', '.join(gone)}"), icon=":material/link_off:")
        asked = show_actions(kept)
        show_changes(kept)
        show_prompts(kept)
        if kept.nodes:
            st.html(f'<img alt="{html.escape(kept.name)}" src="{_picture(kept)}" style="max-width:100%">')
    return asked


def show_actions(kept: Kept) -> Question | None:
    """Open, run again, export, remove."""
    with st.container(horizontal=True):
        # a set binds its roles prompt by prompt, which the form cannot: its prompts are opened one by one
        if "set" not in kept.method and st.button("Open", icon=":material/search:", key=f"open {kept.kept_id}"):
            method = kept.method
            graph_ids = tuple(method.get("graphs") or ())
            given = {name: method[name] for name in ("k", "sign") if name in method}
            return Question(kept.pattern, graph_ids, **given)
        if st.button("Run again", icon=":material/replay:", key=f"rerun {kept.kept_id}"):
            versions = tuple((graph["graph_id"], version_of(graph)) for graph in cached.graphs())
            with st.spinner("Searching…", show_time=True):
                after = run_again(kept, cached.store(), cached.kept_library(versions))
            st.session_state[CHANGES] = {kept.kept_id: (after, changes(kept, after))}
        for format in get_args(KeptFormat):
            st.download_button(
                "GraphML" if format == "graphml" else format.upper(), lambda format=format: write_kept(kept, format),
                f"{kept.kept_id}.{format}", on_click="ignore", key=f"{format} {kept.kept_id}",
            )  # fmt: skip
        with st.popover("Remove", icon=":material/delete:"):
            st.markdown(f"Remove **{escaped(kept.name)}** from library and database? Its graphs stay.")
            if st.button("Remove it", type="primary", key=f"remove {kept.kept_id}"):
                remove_circuit(kept.kept_id, cached.store(), default_library())
                cached.forget_kept()
                st.rerun()
    return None


def show_prompts(kept: Kept) -> None:
    """Where it was found and where not; each prompt opens with what stands for the roles there."""
    if not kept.prompts:
        return
    loaded = {graph["graph_id"] for graph in cached.graphs()}
    columns = {
        "open": st.column_config.LinkColumn("", display_text="Open ↗", width="small"),
        "flow": st.column_config.NumberColumn("Flow", format="%.4f", width="small"),
        "failed": st.column_config.TextColumn("Step that failed", width="small"),
        "prompt": st.column_config.TextColumn("Prompt", width="large"),
    }
    with st.expander(f"Its prompts ({len(kept.prompts)})", icon=":material/list:"):
        frame = prompts_frame(kept, loaded)
        st.dataframe(frame, hide_index=True, column_config=columns, height=min(400, 38 + 35 * len(frame)))


def prompts_frame(kept: Kept, loaded: set[str]) -> pd.DataFrame:
    """The prompts of a kept circuit, largest flow first, with links to those that are loaded."""
    rows = [
        {
            "open": bound_question(kept.pattern, row).link if row["graph_id"] in loaded else None,
            "flow": row["flow"],
            "failed": row.get("failed", ""),
            "prompt": prompt_text(row["prompt"]),
        }
        for row in sorted(kept.prompts, key=lambda row: -row["flow"])
    ]
    return pd.DataFrame(rows)


def show_changes(kept: Kept) -> None:
    """What a new run told, with the choice to keep it in place of the old one."""
    if kept.kept_id not in st.session_state.get(CHANGES, {}):
        return
    after, changed = st.session_state[CHANGES][kept.kept_id]
    if not changed:
        st.success("Run again: no prompt changed.", icon=":material/check:")
        return
    st.markdown(escaped(f"Run again: {figures_text(after)}; {len(changed)} of {len(after.prompts)} prompts changed"))
    st.dataframe(pd.DataFrame(changed)[["change", "before", "after", "slug", "graph_id"]], hide_index=True)
    if st.button("Keep the new result instead", key=f"replace {kept.kept_id}"):
        replace_circuit(kept, after, cached.store(), default_library())
        cached.forget_kept()
        st.rerun()


def _picture(kept: Kept) -> str:
    """The SVG as a data URI, which runs nothing."""
    return "data:image/svg+xml;utf8," + urllib.parse.quote(to_svg(kept))
