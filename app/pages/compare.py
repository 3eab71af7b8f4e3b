"""Two prompts, or two groups of prompts, side by side: what is only in one, what is stronger in one, and how alike."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pandas as pd
import streamlit as st

from app import cached
from app.charts import heat_map, scatter
from app.compareframes import Compared, circuits_frame, heat_frame, in_box, links_frame, named_nodes, nodes_frame
from app.component import compact_graph
from app.featurelink import FeatureKey
from app.graphlist import caption, prompt_text, version_of
from app.markdown import escaped, with_code
from app.messages import show_nothing_loaded
from app.routes import graph_address
from app.theme import theme
from app.versus import ORDERS, VIEWS, Versus, columns_of, others_of, read_versus, side_of, with_value
from circuits.compare import OTHER_PAIRS, Similarity
from circuits.config import By
from circuits.promptset import PromptSet
from tracer.errors import GraphFormatError, PatternError

MANY = 12  # graphs: from here on reading them is worth a bar
MOST_ROWS = 2000  # of a table
MOST_HEAT = 40  # rows of the heat map
BY_NAMES = {"feature": "Feature", "label": "Label", "position": "Position", "position-from-end": "From the end",
            "supernode": "Supernode"}  # fmt: skip
VIEW_NAMES = {"difference": "Difference", "links": "Links", "circuits": "Circuits", "heat": "Heat map",
              "side": "Side by side"}  # fmt: skip
ORDER_NAMES = {"alike": "Columns: alike together", "layer": "Columns: by layer"}
PROMPTS, GROUPS = "Two prompts", "Two groups"


def main() -> None:
    rows = cached.graphs()
    if not rows:
        return show_nothing_loaded()
    given = {name: st.query_params.get_all(name) for name in st.query_params}
    versus = read_versus(given, rows)
    ask(versus, rows)
    sides = [side_of(versus.a, versus.a_like, rows), side_of(versus.b, versus.b_like, rows)]
    if not all(sides):
        st.info("Choose prompts for both sides, by words or one by one.", icon=":material/compare:")
        return
    others = others_of(versus, sides, rows)
    versions = {row["graph_id"]: version_of(row) for row in rows}
    asked = [tuple((graph_id, versions[graph_id]) for graph_id in ids) for ids in (*sides, others)]
    try:
        read_all(asked)
        compared = cached.compared(asked[0], asked[1], versus.by, asked[2])
    except GraphFormatError as error:
        return show_refused(versus, error)
    st.set_page_config(page_title="Compare · Throughline")
    show_similarity(compared, sides)
    show_view(versus, compared, sides, others, rows)


def go_to(versus: Versus) -> None:
    """Show this comparison instead."""
    st.query_params.from_dict(versus.params())
    st.rerun()


def ask(versus: Versus, rows: list[dict[str, Any]]) -> None:
    """The fields; whatever is changed goes into the address."""
    key, by_id = f"{versus.params()}", {row["graph_id"]: row for row in rows}
    how, by, more = st.columns([1.1, 2.6, 1.2], vertical_alignment="bottom")
    chosen = how.segmented_control(
        "Sides", [PROMPTS, GROUPS], default=GROUPS if versus.groups else PROMPTS, key=f"how {key}", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    wanted = replace(versus, groups=chosen == GROUPS)
    if not wanted.groups:
        wanted = replace(wanted, a=versus.a[:1], b=versus.b[:1], a_like="", b_like="")
    aligned = by.segmented_control(
        "The same is what has the same", list(get_args(By)), default=versus.by, key=f"by {key}", required=True,
        format_func=BY_NAMES.__getitem__, help="Feature: an entry of the dictionary at any position. Position: and at "
        "the same one. Label: for graphs of different dictionaries.",
    )  # fmt: skip
    wanted = replace(wanted, by=aligned)
    with more.container(horizontal=True, horizontal_alignment="right"):
        if st.button("A ⇄ B", key=f"swap {key}", help="Change sides"):
            go_to(replace(versus, a=versus.b, b=versus.a, a_like=versus.b_like, b_like=versus.a_like))
        with st.popover("Others", help="What two prompts are compared with: how alike others are, and the heat map"):
            wanted = ask_others(wanted, by_id, key)
    for name, column in zip("ab", st.columns(2), strict=True):
        with column:
            wanted = ask_group(wanted, name, by_id, key) if versus.groups else ask_one(wanted, name, by_id, key)
    if versus.groups:
        ask_set(versus, rows)
    if wanted != versus:
        go_to(wanted)


def ask_one(versus: Versus, side: str, by_id: dict[str, Any], key: str) -> Versus:
    """One prompt for one side."""
    ids, own = list(by_id), getattr(versus, side)
    chosen = st.selectbox(
        side.upper(), ids, index=ids.index(own[0]) if own else 0, key=f"{side} {key}",
        format_func=lambda graph_id: caption(by_id[graph_id]),
    )  # fmt: skip
    return replace(versus, **{side: (chosen,)})


def ask_group(versus: Versus, side: str, by_id: dict[str, Any], key: str) -> Versus:
    """A group by words, and prompts one by one."""
    like = st.text_input(
        f"{side.upper()}: all prompts with these words", getattr(versus, f"{side}_like"), key=f"{side} like {key}",
        placeholder="capital -Dallas", help="In prompt, short name, model or dictionary; `-word`: not with it",
    )  # fmt: skip
    chosen = st.multiselect(
        "and these", list(by_id), default=list(getattr(versus, side)), key=f"{side} {key}",
        format_func=lambda graph_id: caption(by_id[graph_id]), placeholder="one by one", label_visibility="collapsed",
    )  # fmt: skip
    n = len(side_of(chosen, like or "", list(by_id.values())))
    st.caption(f"{n} prompt" + ("" if n == 1 else "s"))
    return replace(versus, **{side: tuple(chosen), f"{side}_like": (like or "").strip()})


def ask_others(versus: Versus, by_id: dict[str, Any], key: str) -> Versus:
    """Which other prompts tell what is to be expected."""
    sides = [
        side_of(versus.a, versus.a_like, list(by_id.values())),
        side_of(versus.b, versus.b_like, list(by_id.values())),
    ]
    now = others_of(versus, sides, list(by_id.values()))
    chosen = st.multiselect(
        "Other prompts", list(by_id), default=now, key=f"others {key}",
        format_func=lambda graph_id: prompt_text(by_id[graph_id]["prompt"]),
    )  # fmt: skip
    return versus if chosen == now else replace(versus, among=tuple(chosen))


def ask_set(versus: Versus, rows: list[dict[str, Any]]) -> None:
    """Groups from a table of prompts, divided by group, template or a role."""
    with st.expander("Groups from a prompt set", icon=":material/table:"):
        file = st.file_uploader("A table of prompts, as `circuits --set` takes it", type=["csv", "jsonl", "parquet"])
        if file is None:
            return
        try:
            prompts = PromptSet.of(read_table(file), file.name)
        except (PatternError, ValueError) as error:
            st.error(with_code(str(error)), icon=":material/error:")
            return
        columns = columns_of(prompts)
        if not columns:
            st.info("No column of this table has two different values, so it gives no two groups.")
            return
        by, one, other, go = st.columns([1, 1, 1, 1], vertical_alignment="bottom")
        column = by.selectbox("Divide by", list(columns))
        a = one.selectbox("A", columns[column])
        b = other.selectbox("B", columns[column], index=1)
        sides = [tuple(with_value(prompts, column, value, rows)) for value in (a, b)]
        st.caption(f"{len(sides[0])} and {len(sides[1])} of these prompts are loaded")
        if go.button("Compare these", type="primary", disabled=not all(sides)):
            go_to(replace(versus, a=sides[0], b=sides[1], a_like="", b_like="", groups=True))


def read_table(file: Any) -> pd.DataFrame:
    """The uploaded table."""
    if file.name.endswith(".parquet"):
        return pd.read_parquet(file)
    return pd.read_json(file, lines=True) if file.name.endswith(".jsonl") else pd.read_csv(file, dtype=str).fillna("")


def read_all(asked: Sequence[cached.Versions]) -> None:
    """Have every graph in memory, with a bar where they are many."""
    every = [version for versions in asked for version in versions]
    bar = st.progress(0.0, "Reading graphs…") if len(every) > MANY else None
    for done, version in enumerate(every, 1):
        cached.graph(*version)
        if bar:
            bar.progress(done / len(every), f"Reading graphs… {done} of {len(every)}")
    if bar:
        bar.empty()


def show_refused(versus: Versus, error: GraphFormatError) -> None:
    """Why these cannot be compared so, and the way out."""
    st.warning(with_code(str(error)), icon=":material/link_off:")
    if versus.by not in ("label", "supernode") and st.button("Align by label", type="primary"):
        go_to(replace(versus, by="label"))


def show_similarity(compared: Compared, sides: list[list[str]]) -> None:
    """How much both share, beside what is to be expected."""
    counts, nodes = compared.found.counts()["nodes"], compared.found.similarity["nodes"]
    both = sum(counts.values()) - counts["only A"] - counts["only B"]
    figures = st.columns(5)
    figures[0].metric("In both", f"{both:,}", help="Nodes, by what makes them the same")
    figures[1].metric("Only in A", f"{counts['only A']:,}")
    figures[2].metric("Only in B", f"{counts['only B']:,}")
    figures[3].metric("Jaccard", f"{nodes.jaccard:.2f}", help="Nodes in both over nodes in either")
    figures[4].metric(
        "Shared influence", f"{nodes.weighted:.0%}", help="Sum of the smaller influences over sum of the larger ones"
    )
    links = compared.found.similarity["links"]
    facts = [f"Nodes: {expectation(nodes)}", f"links {links.weighted:.0%} shared: {expectation(links)}"]
    st.caption(escaped(". ".join([*facts, f"{len(sides[0])} against {len(sides[1])}, {compared.elapsed_ms:.0f} ms"])))


def expectation(found: Similarity) -> str:
    """What is to be expected, in words: raw overlap mostly measures wording."""
    if not found.null:
        return "nothing to compare with; add others, or groups of two and more"
    if found.null == OTHER_PAIRS:
        return f"pairs with others share {found.expected:.0%} on average (p {found.p:.2f} for as much, {found.n} pairs)"
    return f"groups dealt by chance share {found.expected:.0%} (p {found.p:.3f} for as little)"


def show_view(
    versus: Versus, compared: Compared, sides: list[list[str]], others: list[str], rows: list[dict[str, Any]]
) -> None:
    """One way to look at it; only that one is made."""
    left, right = st.columns([3, 2], vertical_alignment="center")
    view = left.segmented_control(
        "View", list(VIEWS), default=versus.view, key=f"view {versus.params()}", required=True,
        format_func=VIEW_NAMES.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    if view != versus.view:
        go_to(replace(versus, view=view))
    with right.container(horizontal=True, horizontal_alignment="right"):
        show_files(versus, compared)
    by_id = {row["graph_id"]: row for row in rows}
    match versus.view:
        case "links":
            show_links(compared)
        case "circuits":
            show_circuits(compared)
        case "heat":
            show_heat(versus, [*sides[0], *sides[1], *others], by_id)
        case "side":
            show_side_by_side(versus, compared, sides, by_id)
        case _:
            show_difference(compared)


def show_files(versus: Versus, compared: Compared) -> None:
    """The whole comparison as files."""
    found = compared.found
    table = {"links": found.links, "circuits": found.circuits}.get(versus.view, found.nodes)
    st.download_button("CSV", lambda: table.to_csv(index=False), "comparison.csv", on_click="ignore")
    st.download_button(
        "JSON", lambda: json.dumps(found.as_row(MOST_ROWS), ensure_ascii=False, indent=1, default=float),
        "comparison.json", on_click="ignore",
    )  # fmt: skip


def show_difference(compared: Compared) -> None:
    """Features: influence in A against B, and the table; a rectangle in the picture filters it."""
    frame = nodes_frame(compared.found.nodes, compared.a, compared.b)
    features = frame.loc[frame["kind"] == "feature"].head(MOST_ROWS)
    picture, table = st.columns([3, 2.6])
    with picture:
        if features.empty:
            st.info("No feature has a name here under which it could be compared.", icon=":material/search_off:")
        else:
            event = st.vega_lite_chart(
                spec=scatter(features, theme()), key="difference", on_select="rerun", selection_mode="brush"
            )
            frame = in_box(frame, dict(event).get("selection", {}).get("brush"))
            st.caption("Drag a rectangle to have only these in the table; a double click takes it away.")
    with table:
        shown = ["called", "at", "a", "b", "change", "where", "open_a", "open_b", "feature"]
        st.dataframe(frame[shown].head(MOST_ROWS), hide_index=True, height=500, column_config=columns("influence"))


def columns(strength: str) -> dict[str, Any]:
    """How the columns of all tables are written."""
    number, link = st.column_config.NumberColumn, st.column_config.LinkColumn
    return {
        "called": st.column_config.TextColumn("node", width="medium"),
        "source": st.column_config.TextColumn("from", width="medium"),
        "target": st.column_config.TextColumn("to", width="medium"),
        "at": st.column_config.TextColumn("layer", width="small", help="Or what it is instead of a feature"),
        "a": number("A %", format="%.2f", width="small", help=f"{strength} in A, the mean of a group"),
        "b": number("B %", format="%.2f", width="small", help=f"{strength} in B, the mean of a group"),
        "change": number("B − A", format="%+.2f", width="small"),
        "open_a": link("A", display_text="↗", width="small", help="Open in the graph of A"),
        "open_b": link("B", display_text="↗", width="small", help="Open in the graph of B"),
        "feature": link("page", display_text="↗", width="small", help="This feature in all graphs"),
        "picture": st.column_config.ImageColumn("circuit", width=560, alignment="left"),
    }


def show_links(compared: Compared) -> None:
    """Links by change of their share."""
    counts = compared.found.counts()["links"]
    st.caption(" · ".join(f"{count:,} {place}" for place, count in counts.items()))
    frame = links_frame(compared.found.links.head(MOST_ROWS), compared.a, compared.b)
    shown = ["source", "target", "a", "b", "change", "where", "open_a", "open_b"]
    st.dataframe(frame[shown], hide_index=True, height=560, column_config=columns("share of the target's input"))
    if len(compared.found.links) > MOST_ROWS:
        st.caption(f"The {MOST_ROWS:,} largest changes of {len(compared.found.links):,}; CSV has all.")


def show_circuits(compared: Compared) -> None:
    """The strongest paths of either side."""
    if compared.found.circuits.empty:
        st.info("No path of three nodes or more has a name here.", icon=":material/search_off:")
        return
    counts = compared.found.counts()["circuits"]
    st.caption(
        " · ".join(f"{count:,} {place}" for place, count in counts.items())
        + ". The strongest paths of 3 to 6 nodes of either side; blue is stronger in A, orange in B."
    )
    frame = circuits_frame(compared.found.circuits, compared.a, compared.b, theme())
    shown = ["picture", "a", "b", "change", "where", "nodes", "open_a", "open_b"]
    st.dataframe(frame[shown], hide_index=True, height=560, row_height=36, column_config=columns("product of shares"))


def show_heat(versus: Versus, ids: list[str], by_id: dict[str, Any]) -> None:
    """Prompts against their most influential features."""
    ids = list(dict.fromkeys(ids))[:MOST_HEAT]
    graphs = {graph_id: cached.graph(graph_id, version_of(by_id[graph_id])) for graph_id in ids}
    known = named_nodes(list(graphs.values()), versus.by)
    sides = {versus.a[:1]: "A · ", versus.b[:1]: "B · "} if not versus.groups else {}
    titles = {graph_id: sides.get((graph_id,), "") + prompt_text(by_id[graph_id]["prompt"]) for graph_id in ids}
    frame = heat_frame(graphs, titles, versus.by, known, versus.order)
    if frame.empty:
        st.info("No feature has a name here under which it could be compared.", icon=":material/search_off:")
        return
    order = st.segmented_control(
        "Columns", list(ORDERS), default=versus.order, key=f"order {versus.params()}", required=True,
        format_func=ORDER_NAMES.__getitem__, label_visibility="collapsed",
        help="Alike: features of the same prompts stand together",
    )  # fmt: skip
    if order != versus.order:
        go_to(replace(versus, order=order))
    event = st.vega_lite_chart(spec=heat_map(frame, theme()), key="heat", on_select="rerun", selection_mode="pick")
    st.caption("Influence; prompts that are alike stand together. Click a field to go to its feature.")
    picked = dict(event).get("selection", {}).get("pick") or []
    for name in [point["name"] for point in picked if "name" in point][:1]:
        row = known[known["name"] == name].iloc[0].to_dict()
        key = FeatureKey.of(row)
        st.page_link(
            "pages/feature.py",
            label=escaped(f"Feature {key}"),
            icon=":material/bubble_chart:",
            query_params={"f": str(key)},
        )


def show_side_by_side(versus: Versus, compared: Compared, sides: list[list[str]], by_id: dict[str, Any]) -> None:
    """Both graphs with one selection; what the other lacks is coloured."""
    shown = []
    for name, ids, column in zip("AB", sides, st.columns(2), strict=True):
        graph_id = ids[0]
        if len(ids) > 1:
            graph_id = column.selectbox(
                f"Graph of {name}", ids, key=f"shown {name} {ids}", label_visibility="collapsed",
                format_func=lambda graph_id: caption(by_id[graph_id]),
            )  # fmt: skip
        else:
            column.caption(escaped(f"{name}: {prompt_text(by_id[graph_id]['prompt'])}"))
        shown.append((graph_id, column))
    st.caption(
        f"Blue: only in A. Orange: only in B. Grey: in both. A click selects the same {BY_NAMES[versus.by].lower()} in "
        "the other graph; both sides are the pruned graphs."
    )
    for (graph_id, column), colour, other in zip(shown, ("pos", "neg"), reversed(shown), strict=True):
        with column:
            url, facing = (graph_address(each, version_of(by_id[each])) for each in (graph_id, other[0]))
            compact_graph(url, facing, colour, versus.by, key=f"side {colour}")
            st.page_link(
                "pages/graph.py", label="Open in graph", icon=":material/account_tree:", query_params={"g": graph_id}
            )


if __name__ == "__main__":
    main()
