/** The link graph with its panes: holds what is shown, and redraws what a change touches. */

import { Camera } from "./camera.js";
import { CircuitPane } from "./circuit.js";
import { DetailPane } from "./detail.js";
import { el, toggle } from "./dom.js";
import { editText } from "./edit.js";
import { Facing } from "./facing.js";
import { FEATURE } from "./graph.js";
import { groupsOf } from "./groups.js";
import { HitIndex } from "./hit.js";
import { listenToKeys } from "./keys.js";
import { layoutGraph } from "./layout.js";
import { loadGraph } from "./loader.js";
import { Painter } from "./paint.js";
import { listenToPointer } from "./pointer.js";
import { Rail } from "./rail.js";
import { relations, visibleNodes } from "./relations.js";
import { State } from "./state.js";
import { count, plural } from "./text.js";
import { readTheme } from "./theme.js";
import { Toolbar } from "./toolbar.js";
import { Tooltip } from "./tooltip.js";

const NARROW = 1000, TINY = 760; // pixels

export class View {
  constructor(parent) {
    this.state = new State((view) => this.tell?.({ ...view, g: this.graph.graph_id, nonce: this.nonce }));
    this.camera = new Camera();
    this.hovered = this.selected = -1;
    this.pinned = new Set();
    this.matches = null;
    this.facing = new Facing(this);
    this.#build(parent);
    this.resized = new ResizeObserver(() => this.#resize());
    this.resized.observe(this.stage);
    this.stop = [listenToPointer(this), listenToKeys(this)];
  }

  destroy() {
    this.resized.disconnect();
    this.facing.stop();
    this.state.stop();
    this.stop.forEach((stop) => stop());
    this.root.remove();
  }

  /** Called at every message of Python: a graph to load, a view to restore, or just a new theme. */
  async update({ data, setStateValue, setTriggerValue }) {
    this.tell = data.facing ? null : (view) => setStateValue("view", view);
    this.keep = data.facing || !setTriggerValue ? null : (order) => setTriggerValue("order", { ...order, g: this.graph.graph_id });
    toggle(this.root, { compact: data.facing });
    const other = `${data.facing ?? ""} ${data.by ?? ""}`;
    if (this.url !== data.url || this.other !== other) await this.#open(data);
    else if (this.graph && data.nonce !== this.nonce) this.#restore(data);
    else if (this.graph) requestAnimationFrame(() => this.#repaint()); // the style sheet of a new theme applies by then
  }

  async #open(data) {
    const [place] = data.url.split("?"), again = place === this.place; // the same graph, of which something was written anew
    Object.assign(this, { url: data.url, place, other: `${data.facing ?? ""} ${data.by ?? ""}` });
    if (!again) this.#curtain(el("span.wait", {}, "Loading graph…"));
    try {
      const graph = await loadGraph(data.url);
      if (this.url !== data.url) return; // another one was asked for meanwhile
      this.graph = graph;
      await this.facing.load(data);
      if (!again) {
        this.camera.reset();
        this.circuit.forget();
        this.toolbar.clearFind();
      }
      this.theme = readTheme(this.root);
      if (again && data.nonce === this.nonce) {
        this.#relayout();
        this.refresh();
      } else this.#restore(data, true);
      this.curtain.hidden = true;
      this.root.dataset.ready = graph.graph_id;
    } catch (error) {
      this.url = this.place = null;
      this.#fail(error, data);
    }
  }

  #fail(error, data) {
    const again = () => this.#open(data);
    this.#curtain(
      el("b", {}, "The graph could not be loaded"),
      el("span", {}, error.message),
      el("button.btn", { onclick: again }, "Try again"),
    );
  }

  #curtain(...content) {
    delete this.root.dataset.ready;
    this.curtain.replaceChildren(...content);
    this.curtain.hidden = false;
  }

  #restore(data, fresh = false) {
    this.nonce = data.nonce;
    this.state.restore(data.view);
    const known = (id) => this.graph.rowOf.has(id);
    const lost = [...this.state.pins, this.state.sel].filter((id) => id != null && !known(id));
    this.state.pins = this.state.pins.filter(known);
    if (!known(this.state.sel)) this.state.sel = null;
    if (this.state.sel == null && !this.state.pins.length && !data.facing) this.state.sel = this.graph.node_id[this.graph.goalRows[0]] ?? null;
    if (fresh) this.#relayout();
    this.refresh();
    this.notice(lost.length ? `${plural(lost.length, "node")} of this link ${lost.length === 1 ? "is" : "are"} not in the pruned graph` : "");
  }

  #resize() {
    toggle(this.root, { narrow: this.root.clientWidth < NARROW, tiny: this.root.clientWidth < TINY });
    if (!this.graph) return;
    this.#relayout();
    this.refresh();
  }

  #relayout() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    this.layout = null;
    if (!width || !height) return; // a hidden tab: the observer calls again when it is shown
    this.painter.resize(width, height);
    this.layout = layoutGraph(this.graph, width, height, this.painter.measure);
    this.camera.attach(this.graph, this.layout);
    this.hits = new HitIndex(this.graph, this.layout, this.camera);
    this.painter.chooseBackdrop();
  }

  /** After any change of the state: work out what follows from it, and redraw every pane. */
  refresh() {
    const { graph, state } = this;
    if (!graph || !this.layout) return;
    this.selected = graph.rowOf.get(state.sel) ?? -1;
    this.pinned = new Set(state.pins.map((id) => graph.rowOf.get(id)).filter((i) => i != null));
    this.visible = visibleNodes(graph, state, this.pinned);
    this.related = relations(graph, { selected: this.selected, mode: state.mode, pinned: this.pinned, visible: this.visible });
    this.painter.all();
    this.toolbar.show();
    this.rail.show();
    this.circuit.show();
    this.detail.show();
    this.#status();
  }

  /** Only the stage: zoom, pan, find. */
  redraw() {
    if (!this.layout) return;
    this.painter.all();
    this.#status();
  }

  #repaint() {
    this.theme = readTheme(this.root);
    this.redraw();
    this.circuit.show();
  }

  #status() {
    const { graph, visible, matches } = this, shown = visible.reduce((sum, v) => sum + v, 0);
    const inner = graph.rowsWhere((i) => visible[i] && graph.kind[i] < 2).length;
    const links = graph.reduced ? `showing ${count(graph.m)} of ${plural(graph.n_edges, "link")}, full lists on selection` : plural(graph.m, "link");
    this.status.textContent = `${count(shown)} of ${plural(graph.n, "node")} · ${links}`
      + (matches ? ` · ${plural(matches.size, "match", "matches")}` : "");
    this.nothing.hidden = inner > 0 || graph.n === 0;
  }

  /** A short remark over the stage, or a field; empty takes it away. */
  notice(what, good = false) {
    this.remark.replaceChildren(what);
    toggle(this.remark, { good });
    this.remark.hidden = !what;
  }

  /** Where the server has the graph in this format, with what is pinned and grouped here. */
  exportAddress(format) {
    const { graph, state } = this, groups = groupsOf(graph, this.pinned, state.groups);
    const query = new URLSearchParams({ v: new URL(this.url, location.origin).searchParams.get("v") ?? "" });
    if (state.pins.length) query.set("pins", state.pins.join());
    query.set("groups", groups.map(({ name, members }) => `${encodeURIComponent(name)}:${members.join()}`).join(";") || "none");
    return `${this.place.replace("/graph/", "/export/").replace(/agv$/, format)}?${query}`;
  }

  select(i) { this.notice(""); this.show(i); this.facing.tell(i); }
  show(i) { this.#change({ sel: i < 0 ? null : this.graph.node_id[i] }); }
  pin(i) { if (i >= 0) { this.state.togglePin(this.graph.node_id[i]); this.refresh(); } }
  /** Pin a node that is not here, and select it: Python sends a graph that has it. */
  bring(id) { this.#change({ pins: [...new Set([...this.state.pins, id])], sel: id }); }
  setPins(rows) { this.#change({ pins: [...new Set(rows)].map((i) => this.graph.node_id[i]) }); }
  set(values) { this.#change(values); }
  undo() { this.state.undo(); this.refresh(); }

  /** Let the person say in this place what the feature of a node means. */
  editLabel(i, place) {
    const { graph } = this;
    if (!this.keep || i < 0 || graph.kind[i] !== FEATURE) return;
    editText(place, graph.label[i].trim(), "Label of this feature, in all graphs", (text) => this.keep({ what: "label", node_id: graph.node_id[i], text }));
  }

  #change(values) { this.state.change(values); this.refresh(); }

  /** Mark a node in every pane; with a pointer event also tell about it beside the pointer. */
  hover(i, event) {
    if (i !== this.hovered) {
      this.hovered = i;
      this.painter.drawGlass();
      this.rail.mark(i);
      this.circuit.mark(i);
    }
    this.tooltip.show(i, event);
  }

  zoom(factor, x, y) { this.camera.zoom(factor, x, y); this.redraw(); }
  fullScreen(on = !this.root.classList.contains("full")) { this.root.classList.toggle("full", on); }

  #build(parent) {
    const canvases = [el("canvas"), el("canvas"), el("canvas")];
    this.status = el("div.status");
    this.remark = el("div.remark", { hidden: true, role: "status" });
    this.nothing = el("div.nothing", { hidden: true }, "No feature passes these filters",
      el("button.btn", { onclick: () => this.set({ thr: 1, err: true }) }, "Reset"));
    const zoom = (sign, title, factor) => el("button", { title, "aria-label": title, onclick: () => this.zoom(factor) }, sign);
    this.stage = el("div.stage", {}, ...canvases, this.status, this.remark, this.nothing,
      el("div.seg.zoom", {}, zoom("+", "Zoom in (+)", 1.5), zoom("−", "Zoom out (−)", 1 / 1.5), zoom("Fit", "Whole graph (0)", 1e-9)));
    this.curtain = el("div.curtain");
    this.root = el("div.ag", { tabindex: 0, role: "application", "aria-label": "Attribution graph" });
    this.painter = new Painter(this, canvases);
    this.toolbar = new Toolbar(this);
    this.tooltip = new Tooltip(this);
    this.rail = new Rail(this);
    this.circuit = new CircuitPane(this);
    this.detail = new DetailPane(this);
    this.root.append(this.toolbar.node,
      el("div.main", {}, this.stage, this.rail.node),
      el("div.lower", {}, this.circuit.node, this.detail.node),
      this.toolbar.help, this.curtain);
    this.stage.append(this.tooltip.node);
    this.root.view = this; // for tests: where a node is on screen
    parent.append(this.root);
  }
}
