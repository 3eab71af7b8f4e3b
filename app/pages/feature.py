"""One feature in all graphs: what it is thought to mean, where it occurs, what feeds it and what it feeds."""

import getpass
import json
from typing import Any

import streamlit as st

from app import cached
from app.featureframes import (
    RULE,
    as_json,
    effects_frame,
    found_frame,
    kept_frame,
    labels_frame,
    occurrences_frame,
    one_label,
)
from app.featurehtml import STYLE, largest_activation, neighbours_html, prompts_html
from app.featurelink import FeatureKey
from app.markdown import escaped, title_of, with_code
from app.messages import show_nothing_loaded
from app.theme import theme
from ingest.labels import Label, LabelStore, now
from ingest.library import default_library
from ingest.load import edit_label as keep_edit
from ingest.neuronpedia import ADDRESS
from tracer.errors import PatternError, QueryError, StoreError

SHOWN_PROMPTS = 25  # more are a click away
QUERIES = ("feature_prompts", "feature_inputs", "feature_outputs", "feature_occurrences", "feature_circuits")


def main() -> None:
    rows = cached.graphs()
    if not rows:
        return show_nothing_loaded()
    st.html(STYLE)
    words, named = search_field(), st.query_params.get("f", "")
    if words:
        return show_found(words)
    if not named:
        return show_common()
    try:
        key = FeatureKey.parse(named)
    except PatternError as error:
        st.warning(with_code(str(error)), icon=":material/link_off:")
        return show_common()
    about = cached.feature(key, cached.stamp())
    if not about["prompts"]:
        st.warning(
            escaped(f"No graph here has the feature {key}; it may be in one that is not loaded, or was pruned away."),
            icon=":material/search_off:",
        )
        return show_common()
    show_feature(key, about, rows)


def search_field() -> str:
    """The words that the address holds; typing others puts them there."""
    words = st.query_params.get("q", "")
    typed = st.text_input(
        "Find a feature", words, key=f"find {words} {st.query_params.get('f', '')}", label_visibility="collapsed",
        icon=":material/search:", placeholder="Find a feature: words of its label, or layer/index such as 20/15589",
        help="`capit*` is a beginning, `austin~` nearly so. Labels are guesses: the page of a feature says whose.",
    )  # fmt: skip
    typed = (typed or "").strip()
    if typed != words:
        go_to({"q": typed} if typed else {})
    return words


def go_to(params: dict[str, str]) -> None:
    """Show what this address holds."""
    st.query_params.from_dict(params)
    st.rerun()


def show_found(words: str) -> None:
    """The features that a search found."""
    st.set_page_config(page_title=f"{words} · Feature · Throughline")
    try:
        found = cached.features_found(words, cached.stamp())
    except QueryError as error:
        st.error(with_code(str(error)), icon=":material/error:")
        return
    if not found:
        st.info(
            escaped(f"No feature of a loaded graph has {words!r} in its label. Try one word, its beginning with *, or ")
            + "`layer/index`.",
            icon=":material/search_off:",
        )
        return show_common()
    st.markdown(f"**{counted(len(found), 'feature')}**" + (" or more" if len(found) == cached.MOST_FOUND else ""))
    show_features(found)


def show_common() -> None:
    """Somewhere to begin: the features that most graphs have."""
    st.caption("The features that occur in the most graphs")
    show_features(cached.common_features(cached.stamp()))


def show_features(rows: list[dict[str, Any]]) -> None:
    """A table of features with links to their pages."""
    columns = {
        "open": st.column_config.LinkColumn("", display_text="Open ↗", width="small"),
        "label": st.column_config.TextColumn("Label", width="large"),
        "layer": st.column_config.NumberColumn("Layer", width="small"),
        "index": st.column_config.NumberColumn("Feature", format="%d", width="small"),
        "source_set": st.column_config.TextColumn("Dictionary", width="medium"),
        "graphs": st.column_config.ProgressColumn(
            "Graphs", format="%d", min_value=0, max_value=max((row["graphs"] for row in rows), default=1) or 1
        ),
    }
    st.dataframe(
        found_frame(rows), hide_index=True, column_config=columns, height=min(600, 38 + 35 * max(1, len(rows)))
    )


def show_feature(key: FeatureKey, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The page of one feature."""
    prompts, written = about["prompts"], cached.labels_of(key)
    labels, notes = ([each for each in written if (each.kind == "note") == note] for note in (False, True))
    label, note = one_label(prompts)
    st.set_page_config(page_title=f"{title_of(label) or f'#{key.index}'} · Feature · Throughline")
    show_head(key, about, label, written, rows)
    show_figures(about, note, sum(row["source_set"] == key.source_set for row in rows))
    left, right = st.columns([3, 2.4], gap="large")
    with left:
        show_prompts(prompts)
        show_labels(labels, prompts, rows)
        show_notes(key, notes)
        show_circuits(key)
        show_effects(about["outputs"])
    with right:
        for title, name, empty in (
            ("Feeds it, over all prompts", "inputs", "Nothing that was kept."),
            ("It feeds, over all prompts", "targets", "No feature that was kept."),
        ):
            st.markdown(f"**{title}**", help=NEIGHBOURS_HELP)
            html = neighbours_html(about[name], key.source_set, len(prompts), theme())
            st.html(html) if html else st.caption(empty)
        show_alike(key, label)
        show_cypher(key)


NEIGHBOURS_HELP = (
    "Mean over the prompts that have the feature of the part of the input, with its sign; then in how many of them the "
    "link is. Point at a row for the smallest and largest part and the mean effect; click one to go there."
)


def show_head(
    key: FeatureKey, about: dict[str, Any], label: str, labels: list[Label], rows: list[dict[str, Any]]
) -> None:
    """Name and place, and what can be done with it."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.markdown(f"#### {escaped(title_of(label) or f'#{key.index}')}")
    left.caption(escaped(f"{key.source_set} · layer {key.layer} · feature {key.index}"))
    with right.container(horizontal=True, horizontal_alignment="right"):
        with st.popover("Edit label", icon=":material/edit:"):
            edit_label(key, label)
        text = json.dumps(as_json(key, about, labels), ensure_ascii=False, indent=1)
        name = str(key).replace("/", "-")
        st.download_button("JSON", text, f"{name}.json", on_click="ignore")
        if address := neuronpedia_address(key, rows):
            st.link_button("Neuronpedia ↗", address, help="Opens its page of this feature, on the internet")
    if told := st.session_state.pop("label_saved", ""):
        st.toast(told, icon=":material/check:")


def neuronpedia_address(key: FeatureKey, rows: list[dict[str, Any]]) -> str:
    """Where Neuronpedia has this feature; empty for a dictionary of graphs that were traced here."""
    model, _, name = key.source_set.partition("/")
    foreign = all(row["origin"] != "throughline" for row in rows if row["source_set"] == key.source_set)
    return f"{ADDRESS}/{model}/{key.layer}-{name}/{key.index}" if foreign and name and "/" not in name else ""


def edit_label(key: FeatureKey, label: str) -> None:
    """A form that says what the feature means; earlier labels are kept."""
    with st.form(f"edit {key}", border=False):
        text = st.text_input("Label", label, help="An empty one shows none")
        by = st.text_input("By", getpass.getuser())
        if st.form_submit_button("Save", type="primary"):
            save_label(key, text or "", by or getpass.getuser())
    st.caption("Shown from now on wherever the feature occurs. Earlier labels are kept.")


def save_label(key: FeatureKey, text: str, by: str) -> None:
    """As `throughline labels edit` does."""
    library, bar = default_library(), st.progress(0.0, "Keeping the label…")

    def tell(done: int, total: int, what: str) -> None:
        bar.progress(done / total, f"{what[0].upper()}{what[1:]}…")

    try:
        edit = Label(key.layer, key.index, text.strip(), "edit", by, "", now())
        changed = keep_edit(key.source_set, edit, cached.store(), library, tell)
    except StoreError as error:
        bar.empty()
        st.error(with_code(str(error)), icon=":material/error:")
        return
    cached.forget_labels()
    st.session_state.label_saved = escaped(f"{title_of(text) or 'No label'}: shown in {counted(len(changed), 'graph')}")
    st.rerun()


def show_figures(about: dict[str, Any], note: str, n_graphs: int) -> None:
    """How often, how active, what it says, whose label."""
    prompts, outputs, largest = about["prompts"], about["outputs"], largest_activation(about["prompts"])
    strongest = max(outputs, key=lambda row: row["mean_effect"], default=None)
    figures = st.columns([1, 1, 1.2, 1.8])
    figures[0].metric("Prompts", f"{len(prompts)} of {n_graphs}", help="Graphs of this dictionary that kept it")
    figures[1].metric("Largest activation", "not told" if largest is None else f"{largest:.2f}")
    says = " ".join(strongest["label"].split()) or "␣" if strongest and strongest["mean_effect"] > 0 else "none"
    figures[2].metric("Strongest output", says, help="The output it promotes most directly, mean over its prompts")
    whose = note or ("unlabelled" if not any(row["label"] for row in prompts) else "with the graph")
    figures[3].caption("Label", help=RULE)
    figures[3].text(whose)  # a sentence, which a metric would cut


def show_prompts(prompts: list[dict[str, Any]]) -> None:
    """Where it is active: the text shaded, then the same as a table."""
    st.markdown("**Active in these prompts**")
    ranked = sorted(prompts, key=lambda row: (-(largest_activation([row]) or 0), -row["influence"]))
    st.html(prompts_html(ranked[:SHOWN_PROMPTS], theme()))
    if len(ranked) > SHOWN_PROMPTS:
        with st.expander(f"{len(ranked) - SHOWN_PROMPTS} more prompts"):
            st.html(prompts_html(ranked[SHOWN_PROMPTS:], theme()))
    frame = occurrences_frame(ranked)
    with st.expander(f"{counted(len(frame), 'occurrence')} as a table", icon=":material/table:"):
        columns = {
            "open": st.column_config.LinkColumn("", display_text="Open ↗", width="small"),
            "activation": st.column_config.NumberColumn(format="%.3f"),
            "influence": st.column_config.NumberColumn(format="percent"),
        }
        st.dataframe(frame, hide_index=True, column_config=columns)


def show_labels(labels: list[Label], prompts: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """All labels with whose they are and which is shown."""
    st.markdown("**Labels**", help=RULE)
    if not labels:
        st.caption("Nobody has said what this feature means; edit its label to be the first.")
        return
    frame = labels_frame(labels, prompts, {row["graph_id"]: row["slug"] for row in rows})
    st.dataframe(frame, hide_index=True, height=min(300, 38 + 35 * len(frame)))


def show_notes(key: FeatureKey, notes: list[Label]) -> None:
    """What people wrote about it, newest first, and a place to write more."""
    st.markdown("**Notes**", help="Kept in the library, as `throughline labels note` does")
    for note in reversed(notes):
        with st.container(border=True, gap=None):
            st.text(note.label)
            st.caption(escaped(f"{note.by}, {note.when[:10]}"))
    with st.popover("Write a note", icon=":material/edit_note:"), st.form(f"note {key} {len(notes)}", border=False):
        text = st.text_area("Note", placeholder="What you think of this feature", height=110)
        by = st.text_input("By", getpass.getuser())
        if st.form_submit_button("Save", type="primary") and (text or "").strip():
            note = Label(key.layer, key.index, text.strip(), "note", by or getpass.getuser(), "", now())
            LabelStore(default_library()).add(key.source_set, [note])
            cached.labels_of.clear()
            st.toast("Noted", icon=":material/check:")
            st.rerun()


def show_circuits(key: FeatureKey) -> None:
    """The kept circuits that go through it."""
    found = cached.circuits_through(key)
    if not found:
        return
    st.markdown("**Kept circuits through it**", help="It stands on the strongest path of so many of their prompts")
    columns = {
        "open": st.column_config.LinkColumn("", display_text="Open ↗", width="small"),
        "name": st.column_config.TextColumn("Name", width="medium"),
        "prompts": st.column_config.TextColumn("Through it", width="small"),
        "pattern": st.column_config.TextColumn("Pattern", width="medium"),
    }
    st.dataframe(kept_frame(found), hide_index=True, column_config=columns, height=min(220, 38 + 35 * len(found)))


def show_effects(outputs: list[dict[str, Any]]) -> None:
    """Direct effects on outputs, both signs."""
    st.markdown("**Direct effect on outputs**", help="Signed, mean over the prompts in which the feature reaches it")
    if not outputs:
        st.caption("None that was kept.")
        return
    columns = {
        "mean_effect": st.column_config.NumberColumn("mean effect", format="%+.3f"),
        "graphs": st.column_config.NumberColumn("prompts"),
    }
    frame = effects_frame(outputs)
    st.dataframe(frame, hide_index=True, column_config=columns, height=min(300, 38 + 35 * len(frame)))


def show_alike(key: FeatureKey, label: str) -> None:
    """Other features of this dictionary with the same words."""
    if not label:
        return
    found = [row for row in cached.features_found(label, cached.stamp()) if row["source_set"] == key.source_set]
    others = [row for row in found if FeatureKey.of(row) != key][:SHOWN_PROMPTS]
    if others:
        with st.expander(f"{counted(len(others), 'feature')} with these words in the label", icon=":material/sell:"):
            show_features(others)


def show_cypher(key: FeatureKey) -> None:
    """The queries behind this page."""
    with st.expander("The same in Cypher", icon=":material/terminal:"):
        for name in QUERIES:
            params = {"name": name} | {f"param_{field}": str(value) for field, value in key.params.items()}
            st.page_link("pages/cypher.py", label=name.replace("_", " "), query_params=params)


def counted(number: int, word: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


if __name__ == "__main__":
    main()
