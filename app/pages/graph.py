"""One prompt: what each token, feature and output takes its input from, and what it drives."""

from typing import Any

import streamlit as st

from app import cached
from app.component import link_graph
from app.graphlist import caption, named_graph, prompt_text, version_of
from app.keeping import keep_order
from app.markdown import escaped, with_code
from app.messages import show_nothing_loaded
from app.routes import graph_address
from app.viewlink import missing_view, read_view, same_place, write_view
from ingest.library import default_library
from tracer.errors import CircuitError


def main() -> None:
    rows = cached.graphs()
    if not rows:
        return show_nothing_loaded()
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        row = choose_graph(rows)
    with right:
        show_facts(row)
    st.set_page_config(page_title=f"{prompt_text(row['prompt'])} · Throughline")
    if said := missing_view():
        st.warning(with_code(said), icon=":material/link_off:")
    st.session_state.address_unread = True
    show_graph(row)


def choose_graph(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The graph that the address names, or the one chosen since; a new choice drops the rest of the address."""
    by_id = {row["graph_id"]: row for row in rows}
    state, name = st.session_state, st.query_params.get("g")
    named = named_graph(rows, name)
    if name and not named:
        st.warning(
            escaped(f"There is no graph {name!r} here (any more); this is another one."), icon=":material/link_off:"
        )
    if named and name != state.get("graph_in_address"):
        state.chosen_graph = named
    elif state.get("chosen_graph") not in by_id:
        state.chosen_graph = rows[0]["graph_id"]
    by_model, by_prompt = st.columns([1, 3]) if len({row["model"] for row in rows}) > 1 else (None, st.container())
    if by_model:
        choose_model(rows, by_model)
    offered = [each for each, row in by_id.items() if state.get("chosen_model") in (None, row["model"])]
    by_prompt.selectbox(
        "Prompt", offered, key="chosen_graph", format_func=lambda graph_id: caption(by_id[graph_id]),
        label_visibility="collapsed", persist_state="session", on_change=leave_address,
    )  # fmt: skip
    chosen = state.chosen_graph
    if chosen != named:
        st.query_params.from_dict({"g": chosen})
    state.graph_in_address = st.query_params["g"]
    return by_id[chosen]


def leave_address() -> None:
    """What was chosen just now counts, and not the address, which may still be that of the choice before."""
    st.session_state.graph_in_address = st.query_params.get("g")


def choose_model(rows: list[dict[str, Any]], place: Any) -> None:
    """Narrow the list of graphs to one model; a graph of another one, to which a link leads, widens it again."""
    state, models = st.session_state, {row["graph_id"]: row["model"] for row in rows}
    if state.get("chosen_model") not in (None, models[state.chosen_graph]):
        state.chosen_model = None

    def take_its_first() -> None:
        if state.chosen_model not in (None, models.get(state.chosen_graph)):
            state.chosen_graph = next(graph_id for graph_id, model in models.items() if model == state.chosen_model)
        leave_address()

    place.selectbox(
        "Model", sorted(set(models.values())), None, key="chosen_model", placeholder="All models",
        label_visibility="collapsed", persist_state="session", on_change=take_its_first,
    )  # fmt: skip


def show_facts(row: dict[str, Any]) -> None:
    """One line on what this graph is of and how much it explains."""
    facts = [f"features of {row['source_set']}"]
    if row.get("replacement_score") is not None:
        facts.append(f"replacement score {row['replacement_score']:.2f}")
    if row.get("completeness_score") is not None:
        facts.append(f"completeness {row['completeness_score']:.2f}")
    facts.append(f"by {row['origin']}" + ("" if row.get("complete") else ", pruned before it came here"))
    st.caption(
        escaped(" · ".join(facts)),
        help="Replacement score: part of the influence that starts at tokens and not at errors. Completeness: part of "
        "the nodes' input, weighted by influence, that does not come from errors. Both before pruning, 0 to 1.",
    )


@st.fragment
def show_graph(row: dict[str, Any]) -> None:
    """The component, and the address of the page kept in step with it both ways."""
    steer, state = steering(row), st.session_state
    view, order = link_graph(steer["url"], steer["view"], steer["nonce"])
    if order and order["g"] == row["graph_id"]:
        state.order_from_graph = order  # outlives this run, which the choice of another graph would end
    if told := state.get("kept_from_graph"):
        st.toast(told, icon=":material/check:")
        del state.kept_from_graph
    if view and (view["g"], view["nonce"]) != (row["graph_id"], steer["nonce"]):
        view = None  # told by a view that is no longer shown
    if view:
        state.mirrored_view = view
        write_view(st.query_params.get("g", row["graph_id"]), view)
    if order := state.get("order_from_graph"):
        keep(order, row)
    if view:
        bring_dropped(steer, view["pins"])


def keep(order: dict[str, Any], row: dict[str, Any]) -> None:
    """Keep what the person wants kept, and show the graph as it is then."""
    try:
        with st.spinner("Keeping…", show_time=True):
            graph = cached.graph(order["g"], version_of(row))
            st.session_state.kept_from_graph = escaped(keep_order(order, graph, cached.store(), default_library()))
            del st.session_state.order_from_graph
    except CircuitError as error:
        del st.session_state.order_from_graph
        st.toast(with_code(str(error)), icon=":material/error:", duration="infinite")
        return
    cached.forget_labels()
    st.rerun()


def steering(row: dict[str, Any]) -> dict[str, Any]:
    """What the browser should show: a new `nonce` where the address changed and not by the component itself.

    A new `url` alone is the same graph, of which more is sent or something was written anew; the view stays. The
    address counts once for each run of the whole page: what the component tells may come with the address before last.
    """
    wanted, state = read_view(), st.session_state
    steer: dict[str, Any] = state.get("steering") or {"address": ("", ""), "nonce": 0}
    address, pins = (row["graph_id"], version_of(row)), wanted["pins"]
    moved = steer["address"][0] != row["graph_id"] or (
        state.address_unread and not same_place(wanted, state.mirrored_view)
    )
    if moved or steer["address"] != address:
        url = graph_address(*address, pins if cached.pruned_away(*address, pins) else [])
        view, nonce = (wanted, steer["nonce"] + 1) if moved else (steer["view"], steer["nonce"])
        steer = {"address": address, "url": url, "view": view, "nonce": nonce, "pins": pins}
        state.steering, state.mirrored_view = steer, wanted
    state.address_unread = False
    return steer


def bring_dropped(steer: dict[str, Any], pins: list[str]) -> None:
    """Send the graph once more where a node was pinned that pruning dropped."""
    graph_id, version = steer["address"]
    if cached.dropped(graph_id, version, [pin for pin in pins if pin not in steer["pins"]]):
        st.session_state.steering = steer | {"address": (graph_id, "")}
        st.rerun(scope="fragment")


if __name__ == "__main__":
    main()
