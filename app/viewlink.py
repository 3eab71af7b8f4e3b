"""The view of a graph as an address holds it: g, sel, pins, groups, thr, err, mode, each only where it was changed."""

from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote, urlencode

import streamlit as st

from ingest.library import default_library
from ingest.views import ViewStore
from tracer.errors import GraphFormatError, StoreError

START = {"sel": None, "pins": [], "groups": None, "thr": 1.0, "err": True, "mode": "direct"}
LONG = ("pins", "groups")  # what can make an address long
LONGEST = 1_500  # characters of an address that mail and chat leave whole
MODES = ("direct", "paths", "pinned")
NO_GROUPS = "none"  # of a view in which nothing is grouped; a group has a colon


def read_view() -> dict[str, Any]:
    """The view that the address of the page describes; what it cannot mean is left at its start."""
    params = st.query_params.to_dict()
    if view_id := params.get("view"):
        with suppress(GraphFormatError):  # told by `missing_view`
            params = ViewStore(default_library()).get(view_id) | params
    return parse_view(params)


def missing_view() -> str:
    """Why the long view that the address names is not there; empty where it is, or none is named."""
    try:
        if view_id := st.query_params.get("view"):
            ViewStore(default_library()).get(view_id)
    except GraphFormatError as error:
        return str(error)
    return ""


def write_view(graph_id: str, view: dict[str, Any]) -> None:
    """Put this view into the address of the page, as one step of the browser's history.

    One that makes it too long is kept beside the library, and the address names it.
    """
    params = view_params(graph_id, view)
    if len(urlencode(params)) > LONGEST:
        with suppress(StoreError):  # where nothing can be written, a long address still works in most places
            view_id = ViewStore(default_library()).add({name: params[name] for name in LONG if name in params})
            params = {name: text for name, text in params.items() if name not in LONG} | {"view": view_id}
    if params != st.query_params.to_dict():
        st.query_params.from_dict(params)


def parse_view(params: dict[str, str]) -> dict[str, Any]:
    """Query parameters -> view.

    >>> parse_view({"sel": "20_7_3", "pins": "E_5_1,20_7_3", "thr": "0.8", "mode": "sideways"})
    {'sel': '20_7_3', 'pins': ['E_5_1', '20_7_3'], 'groups': None, 'thr': 0.8, 'err': True, 'mode': 'direct'}
    >>> parse_view({"groups": "say Austin:1_4_3,2_5_3;Texas:"})["groups"]
    [{'name': 'say Austin', 'members': ['1_4_3', '2_5_3']}, {'name': 'Texas', 'members': []}]
    """
    pins = [pin for pin in params.get("pins", "").split(",") if pin]
    mode = params.get("mode", "direct")
    return START | {
        "sel": params.get("sel") or None,
        "pins": pins,
        "groups": _groups(params.get("groups", "")),
        "thr": _threshold(params.get("thr", "1")),
        "err": params.get("err") != "0",
        "mode": mode if mode in MODES else "direct",
    }


def view_params(graph_id: str, view: dict[str, Any]) -> dict[str, str]:
    """View -> query parameters.

    >>> view_params("ab12", START | {"sel": "20_7_3", "err": False})
    {'g': 'ab12', 'sel': '20_7_3', 'err': '0'}
    """
    params = {"g": graph_id}
    if view.get("sel"):
        params["sel"] = view["sel"]
    if view.get("pins"):
        params["pins"] = ",".join(view["pins"])
    if view.get("groups") is not None:
        params["groups"] = ";".join(map(_group_text, view["groups"])) or NO_GROUPS
    if view.get("thr", 1) < 1:
        params["thr"] = f"{view['thr']:g}"
    if not view.get("err", True):
        params["err"] = "0"
    if view.get("mode", "direct") != "direct":
        params["mode"] = view["mode"]
    return params


def same_place(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two views give the same address."""
    return view_params("", one) == view_params("", other)


def _groups(text: str) -> list[dict[str, Any]] | None:
    """`name:node_id,node_id;name:…`, without members where a stored one was undone; None where nothing is said."""
    if not text:
        return None
    parts = (part.partition(":") for part in text.split(";") if ":" in part)
    return [{"name": unquote(name), "members": [each for each in ids.split(",") if each]} for name, _, ids in parts]


def _group_text(group: dict[str, Any]) -> str:
    return f"{quote(group['name'], safe=' ')}:{','.join(group['members'])}"


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return min(1.0, max(0.1, value)) if value == value else 1.0
