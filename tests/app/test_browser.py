"""What a person does with mouse and keyboard, in a real browser on the real server and database."""

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Download, Locator, Page, WebSocketRoute, expect

from app.part import part_to_show, thinned
from app.wire import pack_graph
from circuits.supernodes import merged_weights
from tests.app.graphs import capital_graph, odd_graphs

SVG = "{http://www.w3.org/2000/svg}"
PATH = ["E_13_2", "0_7_2", "1_4_3", "2_5_3", "4_21_3"]  # Dallas -> cities of Texas -> Texas -> #5 -> Austin


def open_graph(page: Page, query: str = "g=dallas-demo") -> Locator:
    page.goto(f"/?{query}")
    graph = page.locator(".ag[data-ready]")
    expect(graph).to_be_visible(timeout=30_000)
    return graph


def place_of(page: Page, node_id: str) -> list[float]:
    """Where a node is on the page, in pixels."""
    return page.locator(".ag").evaluate(
        """(root, id) => { const v = root.view, i = v.graph.rowOf.get(id), box = v.stage.getBoundingClientRect();
        return [box.x + v.camera.screenX(i), box.y + v.camera.screenY(i)]; }""",
        node_id,
    )


def seen(page: Page, what: str) -> Any:
    """A value of the view in the browser, e.g. `state.sel`."""
    return page.locator(".ag").evaluate(f"root => root.view.{what}")


def test_a_click_selects_reaches_python_and_stands_in_the_address(page: Page):
    open_graph(page)
    page.mouse.click(*place_of(page, "1_4_3"))
    expect(page.locator(".rail .title")).to_have_text("Texas")
    expect(page).to_have_url(re.compile(r"g=dallas-demo&sel=1_4_3"))  # Python writes it


def test_the_connections_of_a_node_are_its_links_by_share(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3")
    inputs = page.locator(".rail .list").first
    expect(inputs.locator(".row")).to_have_count(2)
    expect(inputs.locator(".row").first).to_contain_text("cities of Texas")
    expect(inputs.locator(".row .value")).to_have_text(["+75%", "+25%"])
    expect(page.locator(".detail")).to_contain_text("F1 0.95, n=80")


def test_connections_can_be_grouped_by_token_with_their_sums(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3")
    page.get_by_role("button", name="By token").click()
    inputs = page.locator(".rail .list").first
    expect(inputs.locator(".token-line b")).to_have_text(["“Dallas” · 2", "“is” · 3"])
    expect(inputs.locator(".token-line .value")).to_have_text(["+75%", "+25%"])
    expect(page.locator(".rail .list").last.locator(".token-line b")).to_have_text(["“is” · 3", "outputs"])


def test_all_links_shows_what_pruning_dropped_and_a_click_brings_the_node(page: Page):
    graph = open_graph(page, "g=dallas-demo&sel=2_5_3")
    expect(page.locator(".rail .list").first.locator(".row")).to_have_count(2)
    page.get_by_role("button", name="All links").click()
    expect(page.locator(".rail .list").first.locator(".row")).to_have_count(4)
    page.locator(".row.away", has_text="@ Dallas #9").click()
    expect(page.locator(".rail .title")).to_have_text("@ Dallas #9", timeout=20_000)
    expect(page.locator(".circuit .box")).to_have_count(1)
    expect(page).to_have_url(re.compile("sel=1_9_2&pins=1_9_2"))
    graph.focus()
    page.keyboard.press("Control+z")
    expect(page.locator(".circuit .box")).to_have_count(0)


def test_a_very_large_graph_says_what_was_left_out_and_lists_all_links_of_the_selection(page: Page):
    graph = capital_graph()
    whole = part_to_show(graph, graph.nodes["node_id"].tolist())
    packed = pack_graph(thinned(whole, most=14), graph.graph_id, len(whole.edges))
    page.route("**/throughline/graph/*", lambda route: route.fulfill(status=200, body=packed))
    open_graph(page, "g=dallas-demo&sel=2_5_3")
    expect(page.locator(".status")).to_contain_text("showing 14 of 15 links, full lists on selection")
    expect(page.locator(".rail .list").first.locator(".row")).to_have_count(4)
    expect(page.get_by_role("button", name="All links")).to_have_attribute("aria-pressed", "true")


def test_bars_over_the_slider_count_every_feature_and_error_once(page: Page):
    open_graph(page)
    assert sum(seen(page, "toolbar.counts")) == 4
    page.get_by_role("slider", name="Influence").fill("60")
    shown = page.locator(".histogram .on")
    assert 0 < shown.count() < page.locator(".histogram rect").count()


def test_a_feature_shows_where_else_it_is_active_and_leads_there(page: Page):
    open_graph(page, "g=dallas-demo&sel=0_7_2")
    expect(page.locator(".detail")).to_contain_text("Active in 2 of 2 graphs of this dictionary", timeout=20_000)
    page.locator(".detail a.elsewhere", has_text="Oakland").click()
    expect(page.get_by_role("combobox", name="Prompt")).to_have_value(re.compile("Oakland"), timeout=30_000)
    expect(page).to_have_url(re.compile("sel=0_7_2"))


def test_the_same_feature_elsewhere_is_marked_in_every_pane(page: Page):
    graph = odd_graphs()["a long prompt"]
    nodes = graph.nodes.assign(index=graph.nodes["index"].where(graph.nodes["kind"] != "feature", 7))
    packed = pack_graph(replace(graph, nodes=nodes))
    page.route("**/throughline/graph/*", lambda route: route.fulfill(status=200, body=packed))
    open_graph(page, "g=dallas-demo&pins=n0,n40,n1&groups=none")
    page.locator(".box").first.hover()
    expect(page.locator(".box.hovered")).to_have_count(2)
    assert seen(page, "graph.occurrences(0).length") == 10, "one in forty of the 400"


def test_a_node_leads_to_its_query_in_cypher(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3")
    page.get_by_role("link", name="Cypher ↗").click()
    page.get_by_role("button", name="Run").click(timeout=30_000)
    expect(page.get_by_text("2 rows · ")).to_be_visible(timeout=30_000)


def test_the_part_that_was_pruned_away_is_told(page: Page):
    open_graph(page, "g=dallas-demo&sel=2_5_3")
    expect(page.locator(".legend")).to_contain_text("17% pruned away")


def test_a_click_on_a_connection_goes_there(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3")
    page.locator(".rail .row", has_text="Austin").last.click()
    expect(page.locator(".rail .title")).to_have_text("Austin")


def test_the_tooltip_names_the_nearest_node_within_thirty_pixels(page: Page):
    open_graph(page)
    x, y = place_of(page, "0_7_2")
    page.mouse.move(x + 20, y + 8)
    expect(page.locator(".tip")).to_contain_text("cities of Texas")
    expect(page.locator(".tip")).to_contain_text("activation 3.50")
    page.mouse.move(x + 60, y + 45)
    expect(page.locator(".tip.on")).to_have_count(0)


def test_keys_walk_and_pin_and_the_address_brings_it_all_back(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3").focus()
    page.keyboard.press("p")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("p")
    expect(page.locator(".circuit .box")).to_have_count(2)
    expect(page).to_have_url(re.compile("sel=0_7_2&pins=1_4_3%2C0_7_2"))
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator(".circuit .box")).to_have_count(2, timeout=20_000)
    assert seen(page, "state.sel") == "0_7_2"


def test_back_in_the_browser_brings_the_view_back(page: Page):
    open_graph(page)
    page.mouse.click(*place_of(page, "1_4_3"))
    expect(page).to_have_url(re.compile("sel=1_4_3"))
    page.mouse.click(*place_of(page, "0_7_2"))
    expect(page).to_have_url(re.compile("sel=0_7_2"))
    page.go_back()
    expect(page.locator(".rail .title")).to_have_text("Texas")


def test_a_view_that_is_ahead_of_its_address_is_not_set_back(page: Page):
    held: list[tuple[WebSocketRoute, str | bytes]] | None = None

    def pass_on(browser_side: WebSocketRoute) -> None:
        server_side = browser_side.connect_to_server()
        server_side.on_message(lambda m: browser_side.send(m) if held is None else held.append((browser_side, m)))

    page.route_web_socket("**/_stcore/stream", pass_on)
    open_graph(page)
    held = []  # the server's answers are late
    for node_id, title in (("1_4_3", "Texas"), ("0_7_2", "cities of Texas")):
        page.mouse.click(*place_of(page, node_id))
        expect(page.locator(".rail .title")).to_have_text(title)
        page.wait_for_timeout(2_000)
    assert held
    for side, message in held:
        side.send(message)
    held = None
    expect(page).to_have_url(re.compile("sel=0_7_2"))
    page.wait_for_timeout(1_000)
    assert seen(page, "state.sel") == "0_7_2"


def test_undo_takes_back_a_pin(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3").focus()
    page.keyboard.press("p")
    expect(page.locator(".circuit .box")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(page.locator(".circuit .box")).to_have_count(0)


def boxes(page: Page) -> Locator:
    return page.locator(".circuit .box .name")


def box_of(page: Page, name: str) -> Locator:
    return page.locator(".box").filter(has=page.get_by_text(name, exact=True))


def test_a_box_dropped_on_another_makes_a_group_that_the_address_holds_and_undo_takes_back(page: Page):
    open_graph(page, "g=dallas-demo&pins=0_7_2,1_4_3,2_5_3")
    box_of(page, "→ Austin #5").drag_to(box_of(page, "Texas"))
    expect(page.locator(".box.stack")).to_have_text(re.compile("^Texas2 features"))
    expect(page).to_have_url(re.compile("groups=Texas%3A1_4_3%2C2_5_3"))
    page.reload()
    expect(page.locator(".box.stack")).to_have_count(1, timeout=30_000)
    page.locator(".box").first.drag_to(page.locator(".box").last)
    expect(boxes(page)).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(boxes(page)).to_have_count(2)


def test_marked_boxes_are_grouped_renamed_kept_as_a_supernode_by_hand_and_taken_away_again(page: Page):
    open_graph(page, "g=dallas-demo&pins=0_7_2,1_4_3,4_21_3")
    for name in ("cities of Texas", "Texas"):
        box_of(page, name).click(modifiers=["Shift"])
    expect(page.get_by_role("button", name="Group 2")).to_be_visible()
    page.keyboard.press("g")
    page.locator(".box.stack").dblclick()
    expect(page.locator("input:focus")).to_have_count(1)
    page.keyboard.type("the <b>state</b>")
    page.keyboard.press("Enter")
    expect(page.locator(".box.stack .name")).to_have_text("the <b>state</b>")
    page.get_by_role("button", name="Save…").click()
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.get_by_text(re.compile("Kept: the <b>state</b> \\(2 nodes"))).to_be_visible(timeout=30_000)
    open_graph(page, "g=dallas-demo&pins=0_7_2,1_4_3,4_21_3")  # a link that says nothing of groups
    expect(page.locator(".box.stack .name")).to_have_text("the <b>state</b>")
    page.locator(".box.stack").hover()
    page.locator(".box.stack").get_by_role("button", name="Ungroup").click()
    expect(boxes(page)).to_have_count(3)
    page.get_by_role("button", name="Save…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Taken away: “the <b>state</b>”")
    page.get_by_role("button", name="Keep", exact=True).click()
    expect(page.get_by_text(re.compile("Taken away: the"))).to_be_visible(timeout=30_000)
    open_graph(page, "g=dallas-demo&pins=0_7_2,1_4_3,4_21_3")
    expect(boxes(page)).to_have_count(3)


def test_the_strongest_way_through_a_circuit_is_looked_for_in_all_prompts(page: Page):
    open_graph(page, f"g=dallas-demo&pins={','.join(PATH)}")
    pattern = "Dallas -> 0/7 -> 1/4 -> 2/5 -> Austin"
    link = page.get_by_role("link", name="All prompts ↗")
    expect(link).to_have_attribute("title", f"Look for its strongest way in all prompts: {pattern}")
    link.click()
    expect(page.get_by_text("1 of 2 graphs")).to_be_visible(timeout=30_000)
    open_graph(page, f"g=dallas-demo&pins={','.join(PATH)}&groups=by label:0_7_2,1_4_3")
    expect(link).to_have_attribute("title", re.compile("Dallas -> cities of Texas -> 2/5 -> Austin"))
    open_graph(page, "g=dallas-demo&pins=1_4_3,4_21_3")
    expect(page.locator(".circuit .box")).to_have_count(2)
    expect(link).to_have_count(0)


def test_boxes_of_groups_are_linked_as_the_paper_merges_weights(page: Page):
    open_graph(page, "g=dallas-demo&pins=E_13_2,0_7_2,1_4_3,2_5_3,4_21_3&groups=a:0_7_2,1_4_3;b:2_5_3,4_21_3")
    graph, groups = capital_graph(), [PATH[:1], PATH[1:3], PATH[3:]]
    expected = merged_weights(graph, [np.array([graph.row_of(node) for node in group]) for group in groups])
    links = page.locator(".ag").evaluate("r => r.view.circuit.links.map((l) => [l.from.name, l.to.name, l.share])")
    found = {(source, target): share for source, target, share in links}
    assert found["Dallas", "a"] == pytest.approx(expected[1, 0])
    assert found["a", "b"] == pytest.approx(expected[2, 1])


def test_a_feature_is_renamed_in_its_place_and_says_whose_label_it_is(page: Page):
    open_graph(page, "g=dallas-demo&sel=2_5_3")
    page.get_by_role("button", name="Rename").click()
    page.keyboard.type("say a capital")
    page.keyboard.press("Enter")
    expect(page.get_by_text("say a capital: shown in 2 graphs")).to_be_visible(timeout=30_000)
    expect(page.locator(".rail .title")).to_contain_text("say a capital")
    expect(page.locator(".detail")).to_contain_text("edited by")
    page.locator(".ag").focus()
    page.keyboard.press("r")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No label: shown in 2 graphs")).to_be_visible(timeout=30_000)
    expect(page.locator(".rail .title")).to_contain_text("→ Austin #5")


def test_a_linked_path_shows_nodes_that_pruning_dropped(page: Page):
    open_graph(page, "g=dallas-demo&pins=E_13_2,1_9_2,2_5_3")
    expect(page.locator(".circuit .box")).to_have_count(3)
    expect(page.locator(".circuit path")).to_have_count(3)


def test_a_link_to_a_node_that_is_not_there_says_so(page: Page):
    open_graph(page, "g=dallas-demo&pins=E_13_2,9_9_9")
    expect(page.locator(".remark")).to_have_text("1 node of this link is not in the pruned graph")


def test_an_unknown_graph_is_named_and_another_one_shown(page: Page):
    open_graph(page, "g=nothing-like-this")
    expect(page.get_by_text("There is no graph 'nothing-like-this' here")).to_be_visible()


def test_all_paths_lists_what_is_upstream(page: Page):
    open_graph(page)
    page.get_by_role("button", name="All paths").click()
    expect(page.locator(".rail h5").first).to_contain_text("Upstream")
    expect(page.locator(".rail .row", has_text="Dallas").first).to_be_visible()
    expect(page).to_have_url(re.compile("mode=paths"))


def test_filters_that_hide_everything_can_be_reset(page: Page):
    open_graph(page)
    page.get_by_role("slider", name="Influence").fill("10")
    expect(page.get_by_text("No feature passes these filters")).to_be_visible()
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_text("No feature passes these filters")).to_be_hidden()
    assert seen(page, "state.thr") == 1


def test_errors_can_be_hidden(page: Page):
    open_graph(page).focus()
    page.keyboard.press("e")
    expect(page.locator(".status")).to_contain_text("9 of 10 nodes")
    expect(page).to_have_url(re.compile("err=0"))


def test_find_goes_through_the_matches(page: Page):
    open_graph(page).focus()
    page.keyboard.press("/")
    page.keyboard.type("texas")
    expect(page.locator(".status")).to_contain_text("2 matches")
    page.keyboard.press("Enter")
    expect(page.locator(".rail .title")).to_have_text("cities of Texas")
    page.keyboard.press("Enter")
    expect(page.locator(".rail .title")).to_have_text("Texas")


def test_a_circuit_is_suggested_for_the_output(page: Page):
    open_graph(page)
    page.get_by_role("button", name="Suggest a circuit for “Austin”").click()
    expect(page.locator(".circuit .box.output")).to_have_text(re.compile("Austin"))
    expect(page.locator(".circuit path")).not_to_have_count(0)


def test_control_and_wheel_zoom_and_zero_fits(page: Page):
    graph = open_graph(page)
    page.mouse.move(*place_of(page, "1_4_3"))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    assert seen(page, "camera.k") > 2
    graph.focus()
    page.keyboard.press("0")
    assert seen(page, "camera.k") == 1


def test_labels_are_text_and_never_markup(page: Page):
    open_graph(page, "g=dallas-demo&sel=4_22_3")
    expect(page.locator(".rail .title")).to_have_text("<b>other</b>")
    expect(page.locator(".rail .title b")).to_have_count(0)


def test_a_graph_that_cannot_be_loaded_says_why_and_can_be_tried_again(page: Page):
    reason = "the disk is on fire."
    page.route("**/throughline/graph/*", lambda route: route.fulfill(status=503, json={"error": reason}))
    page.goto("/?g=dallas-demo")
    expect(page.get_by_text(reason)).to_be_visible(timeout=30_000)
    page.unroute("**/throughline/graph/*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".ag[data-ready]")).to_be_visible()


@pytest.mark.parametrize("name", odd_graphs())
def test_odd_graphs_are_drawn_too(page: Page, name: str):
    graph = odd_graphs()[name]
    page.route("**/throughline/graph/*", lambda route: route.fulfill(status=200, body=pack_graph(graph)))
    open_graph(page).focus()
    expect(page.locator(".status")).to_contain_text(f"of {len(graph.nodes)} node")
    for key in ("ArrowUp", "ArrowDown", "ArrowRight", "p", "t", "d", "e", "l", "+", "Escape"):
        page.keyboard.press(key)


def test_a_bias_stands_beside_its_layer_and_says_what_it_is(page: Page):
    graph = odd_graphs()["a bias"]
    page.route("**/throughline/graph/*", lambda route: route.fulfill(status=200, body=pack_graph(graph)))
    open_graph(page)
    page.mouse.click(*place_of(page, "n3"))
    expect(page.locator(".rail .title")).to_have_text("biases of layer 0")
    expect(page.locator(".rail")).to_contain_text("A bias has no inputs")
    expect(page.locator(".detail b")).to_have_text("biases of layer 0")
    expect(page.locator(".detail")).to_contain_text("A constant term")


def downloaded(page: Page, name: str) -> Download:
    """What the menu gives under this name."""
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=name, exact=True).click()
    return download.value


def test_the_picture_can_be_downloaded_as_pixels_and_as_vectors_with_text(page: Page):
    open_graph(page, "g=dallas-demo&sel=4_22_3&pins=1_4_3,4_22_3")
    picture = downloaded(page, "PNG")
    assert picture.suggested_filename == "dallas-demo.png"
    assert picture.path().read_bytes()[:4] == b"\x89PNG"
    drawing = downloaded(page, "SVG")
    assert drawing.suggested_filename == "dallas-demo.svg"
    texts = [node.text for node in ElementTree.parse(drawing.path()).iter(SVG + "text")]
    assert {"Dallas", "Austin", "Texas", "L0"} <= set(texts)
    assert any(str(text).startswith("<b>") for text in texts), "an output, cut where it does not fit"
    boxes = ElementTree.parse(downloaded(page, "SVG of the circuit").path())
    assert {"Texas", "<b>other</b>"} <= {node.text for node in boxes.iter(SVG + "text")}
    page.locator(".circuit").get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Download").click()
    page.get_by_role("menuitem", name="SVG of the circuit").click()
    expect(page.locator(".remark")).to_have_text("Nothing is pinned, so there is no circuit to draw")


def test_the_graph_can_be_downloaded_with_what_is_pinned_and_grouped(page: Page):
    open_graph(page, "g=dallas-demo&pins=0_7_2,1_4_3,1_9_2&groups=my <group>;:0_7_2,1_4_3".replace(";", "%253B"))
    file = downloaded(page, "JSON")
    assert file.suggested_filename == "dallas-demo.json"
    marks = json.loads(file.path().read_text())["qParams"]
    assert marks["pinnedIds"] == ["0_7_2", "1_4_3", "1_9_2"]
    assert marks["supernodes"] == [["my <group>;", "0_7_2", "1_4_3"]]
    assert downloaded(page, "CSV").suggested_filename == "dallas-demo.zip"
    assert b"graphml" in downloaded(page, "GraphML").path().read_bytes()[:200]


def test_share_copies_the_address_of_the_view(page: Page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_graph(page, "g=dallas-demo&sel=1_4_3").focus()
    page.keyboard.press("p")
    page.get_by_role("button", name="Share").click()
    expect(page.locator(".remark")).to_have_text("Link to this view copied")
    assert "pins=1_4_3" in page.evaluate("navigator.clipboard.readText()")


def test_where_nothing_may_be_copied_the_address_is_shown(page: Page):
    open_graph(page, "g=dallas-demo&sel=1_4_3")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not here')); }")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_label("Link to this view")).to_have_value(page.url)


def test_the_dark_theme_reaches_the_canvas(page: Page):
    page.emulate_media(color_scheme="dark")
    open_graph(page)
    expect(page.locator(".ag.dark")).to_have_count(1)
    assert seen(page, "theme.bg") == "rgb(17, 19, 23)"


def test_the_form_finds_circuits_and_opens_one_in_its_graph(page: Page):
    page.goto("/circuits")
    page.get_by_role("textbox", name="From").fill("Dallas")
    page.get_by_role("textbox", name="Through").fill("Texas")
    page.get_by_role("textbox", name="To").fill("Austin")
    page.get_by_role("textbox", name="To").press("Control+Enter")
    expect(page.get_by_text("1 of 2 graphs")).to_be_visible(timeout=30_000)
    expect(page).to_have_url(re.compile(r"p=Dallas\+-%3E\+Texas\+-%3E\+Austin"))
    expect(page.locator(".net .box")).not_to_have_count(0)
    page.get_by_role("link", name="Open in graph").click()
    expect(page.locator(".circuit .box")).to_have_count(len(PATH), timeout=20_000)
    assert seen(page, "state.pins") == PATH


def test_a_link_to_a_question_runs_it_and_roles_are_bound(page: Page):
    page.goto("/circuits?p=%7Bcity%7D+->+%7Bregion%7D+->+%7Banswer%7D")
    expect(page.get_by_text("2 of 2 graphs")).to_be_visible(timeout=30_000)
    expect(page.get_by_text(re.compile("city = .*, region = .*, answer = "))).to_be_visible()


def test_a_step_that_nothing_fits_is_named_with_a_way_out(page: Page):
    page.goto("/circuits?p=Dallas+->+Narnia+->+Austin")
    expect(page.get_by_text("nothing fits this step")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Without “Narnia”").click()
    expect(page.get_by_text("1 of 2 graphs have this circuit")).to_be_visible()


def test_where_nothing_is_found_each_graph_says_which_step_fails_and_what_is_nearest(page: Page):
    page.goto("/circuits?p=Dallas+-%3E+Texaz+-%3E+Austin")
    expect(page.get_by_text("Nearest: Texas")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Which step fails in which graph (2 graphs)")).to_be_visible()


def test_what_a_circuit_hangs_on_is_told(page: Page):
    page.goto("/circuits?p=Dallas+-%3E+Texas+-%3E+Austin")
    page.get_by_text("What it hangs on").click(timeout=30_000)
    expect(page.get_by_text("Flow that prunings leave")).to_be_visible()


def test_a_found_circuit_is_kept_run_again_and_removed(page: Page):
    page.goto("/circuits?p=Dallas+-%3E+Texas+-%3E+Austin")
    page.get_by_role("button", name="Keep", exact=True).click(timeout=30_000)
    page.get_by_label("Name").fill("my <b>circuit</b>")
    page.get_by_role("button", name="Keep this circuit").click()
    expect(page.get_by_text("Kept as my <b>circuit</b>")).to_be_visible(timeout=20_000)
    page.goto("/circuits")
    table = page.get_by_test_id("stDataFrame").last
    expect(table).to_be_visible(timeout=30_000)
    table.click(position={"x": 20, "y": 55})
    expect(page.get_by_role("heading", name="my <b>circuit</b>")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("img", name="my <b>circuit</b>")).to_be_visible()
    with page.expect_download() as loading:
        page.get_by_role("button", name="SVG").click()
    assert "my &lt;b&gt;circuit&lt;/b&gt;" in loading.value.path().read_text()
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("Run again: no prompt changed.")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("No circuit is kept yet")).to_be_visible(timeout=20_000)


def test_a_broken_pattern_gets_one_sentence(page: Page):
    page.goto("/circuits?p=Dallas+->+{castle}")
    expect(page.get_by_text("role {castle} is unknown")).to_be_visible(timeout=30_000)


def test_what_was_typed_is_shown_and_never_taken_for_a_picture_or_a_link(page: Page):
    picture = "![x](http://outside.example/x.png)"  # the guard of `page` would see the request
    page.goto(f"/circuits?p=Dallas -> {picture} -> Austin")
    expect(page.get_by_text(f"{picture}: nothing fits this step")).to_be_visible(timeout=30_000)
    page.goto(f"/?g={picture}")
    expect(page.get_by_text(f"There is no graph '{picture}' here")).to_be_visible(timeout=30_000)
    page.goto(f"/cypher?q=RETURN `{picture}` AS x")
    expect(page.get_by_test_id("stAlert")).to_contain_text(picture, timeout=30_000)
    expect(page.locator("img[src*=outside]")).to_have_count(0)


def test_cypher_runs_from_the_keyboard_and_the_address_holds_it(page: Page):
    page.goto("/cypher")
    editor = page.get_by_label("Cypher", exact=True)
    editor.fill("MATCH (n:Token) RETURN count(n) AS tokens, $x AS given")
    editor.press("Tab")
    page.get_by_role("textbox", name="$x").fill("7")
    page.get_by_role("textbox", name="$x").press("Control+Enter")
    expect(page.get_by_text("1 row · ")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("read-only")).to_be_visible()
    expect(page).to_have_url(re.compile(r"q=MATCH.*param_x=7"))


def test_control_and_enter_in_the_editor_runs_what_is_typed(page: Page):
    page.goto("/cypher")
    editor = page.get_by_label("Cypher", exact=True)
    editor.fill("UNWIND [1, 2, 3] AS n RETURN n")
    editor.press("Control+Enter")
    expect(page.get_by_text("3 rows · ")).to_be_visible(timeout=30_000)


def test_a_mistake_in_cypher_is_shown_at_its_place(page: Page):
    page.goto("/cypher?q=MATCH (n)%0ARETRUN n")
    expect(page.get_by_text("line 2, column 1")).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("stCode")).to_have_text("RETRUN n\n^")


def test_cypher_that_writes_is_refused(page: Page):
    page.goto("/cypher?q=MATCH (n) DETACH DELETE n")
    expect(page.get_by_test_id("stAlert")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("rows ·")).to_have_count(0)
    page.goto("/cypher?q=MATCH (n:Graph) RETURN count(n) AS graphs")
    expect(page.get_by_text("1 row · ")).to_be_visible(timeout=30_000)


def test_cypher_that_takes_long_can_be_cancelled(page: Page):
    page.goto("/cypher?q=UNWIND range(1, 1000000000000) AS x WITH x WHERE x %25 7 = 8 RETURN count(x)")
    page.get_by_role("button", name="Cancel").click(timeout=30_000)
    expect(page.get_by_text("The query was cancelled.")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_returned_paths_can_be_drawn(page: Page):
    page.goto("/cypher?q=MATCH p=(:Token)-[:AFFECTS]->(:ActiveFeature) RETURN p LIMIT 3")
    page.get_by_test_id("stMain").get_by_text("Graph", exact=True).click(timeout=30_000)
    expect(page.locator(".net .box")).not_to_have_count(0)


def test_a_saved_query_opens_with_its_fields(page: Page):
    page.goto("/cypher")
    page.get_by_role("button", name="strongest sources").click(timeout=30_000)
    expect(page.get_by_text("Fill in $node_id: the node that receives.")).to_be_visible()
    page.get_by_role("textbox", name="$node_id").fill("1_4_3")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text(re.compile(r"\d rows? · "))).to_be_visible()
