"""One prompt: what each token, feature and output takes its input from, and what it drives."""

from typing import Any

import streamlit as st

from app import cached
from app.component import link_graph
from app.messages import show_nothing_loaded
from app.routes import graph_address
from app.viewlink import read_view, same_place, write_view


def main() -> None:
    rows = cached.graphs()
    if not rows:
        return show_nothing_loaded()
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        row = choose_graph(rows)
    with right:
        show_facts(row)
    show_graph(row)


def choose_graph(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The graph that the address names, or the one chosen since; a new choice drops the rest of the address."""
    by_id = {row["graph_id"]: row for row in rows}
    named = named_graph(rows, st.query_params.get("g"))
    if named is None and "g" in st.query_params:
        st.warning(f"No graph is called {st.query_params['g']!r} here; this is another one.", icon=":material/link_off:")
    if "chosen_graph" not in st.session_state or (named and named != st.session_state.get("address_graph")):
        st.session_state.chosen_graph = named or rows[0]["graph_id"]
    if st.session_state.chosen_graph not in by_id:  # removed from the database meanwhile
        st.session_state.chosen_graph = rows[0]["graph_id"]
    chosen = st.selectbox(
        "Prompt", list(by_id), key="chosen_graph", format_func=lambda graph_id: caption(by_id[graph_id]),
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if named != chosen:
        st.query_params.from_dict({"g": chosen})
    st.session_state.address_graph = chosen
    return by_id[chosen]


def named_graph(rows: list[dict[str, Any]], name: str | None) -> str | None:
    """The graph_id of the graph with this id, or of the first with this slug."""
    return next((row["graph_id"] for row in rows if name in (row["graph_id"], row["slug"])), None)


def caption(row: dict[str, Any]) -> str:
    """A graph as one line of the selector; the model comes first, so that the list is grouped by it."""
    return f"{row['model']} · {row['prompt'].strip()} · {row['n_nodes']:,} nodes"


def show_facts(row: dict[str, Any]) -> None:
    """One line on what this graph is of and how much it explains."""
    facts = [f"dictionary {row['source_set']}"]
    if row.get("replacement_score") is not None:
        facts.append(f"replacement score {row['replacement_score']:.2f}")
    if row.get("completeness_score") is not None:
        facts.append(f"completeness {row['completeness_score']:.2f}")
    facts.append("all direct effects known" if row.get("complete") else "pruned before it came here")
    st.caption(" · ".join(facts))


@st.fragment
def show_graph(row: dict[str, Any]) -> None:
    """The component, and the address of the page kept in step with it both ways."""
    steer = steering(row["graph_id"])
    version = str(row.get("ingested_at", ""))
    view = link_graph(graph_address(row["graph_id"], version_of(version)), steer["view"], steer["nonce"])
    if not view or view["g"] != row["graph_id"] or view["nonce"] != steer["nonce"]:
        return  # told by a view that is no longer shown
    write_view(row["graph_id"], view)
    st.session_state.mirrored_view = read_view()


def steering(graph_id: str) -> dict[str, Any]:
    """What the browser should show: a new `nonce` where the address changed and not by the component itself."""
    wanted, steer = read_view(), st.session_state.get("steering")
    if steer is None or steer["graph_id"] != graph_id or not same_place(wanted, st.session_state.mirrored_view):
        steer = {"graph_id": graph_id, "view": wanted, "nonce": (steer["nonce"] if steer else 0) + 1}
        st.session_state.steering, st.session_state.mirrored_view = steer, wanted
    return steer


def version_of(ingested_at: str) -> str:
    """The time of ingest as it may stand in an address."""
    return "".join(character for character in ingested_at if character.isalnum()) or "0"


if __name__ == "__main__":
    main()
