/** The bar above the stage, and the card that explains keys and mouse. */

import { el, press, svg } from "./dom.js";
import { downloadMenu } from "./download.js";
import { LEAST, countByInfluence, histogram } from "./histogram.js";
import { shareAddress } from "./share.js";
import { percent } from "./text.js";

const MODES = [
  ["direct", "Direct", "Direct links of the selected node (D)"],
  ["paths", "All paths", "Everything on any path to or from the selected node (T)"],
  ["pinned", "Pinned", "Links between pinned nodes only"],
];
const SWITCHES = [
  ["err", "◇ Errors", "Error nodes: what no feature explains (E)"],
  ["labels", "Labels", "Names in the graph (L)"],
  ["links", "Links", "The strongest links behind the graph (B)"],
];
const HELP = [
  [["click"], "Select a node; the background clears"], [["Ctrl/⌘ + click", "P"], "Pin or unpin"],
  [["←", "→"], "Previous or next node of the same layer"], [["↑", "↓"], "Follow the strongest output or input"],
  [["T", "D"], "All paths, direct links"], [["/"], "Find; Enter goes to the next match"],
  [["E", "L", "B"], "Errors, labels, links behind"], [["Ctrl/⌘ + wheel", "drag"], "Zoom, move"], [["Shift"], "Hold what the pointer showed"],
  [["+", "−", "0"], "Zoom in, out, whole graph"], [["F"], "Full screen"],
  [["Shift + click"], "Mark boxes of the circuit; or drop one on another"], [["G"], "Put the marked boxes into one"],
  [["double click"], "Rename a box, or the label of a feature"], [["R"], "Rename the selected feature"],
  [["Ctrl/⌘ + Z"], "Undo a change of pins or groups"], [["Esc"], "Clear the selection, close this"],
];

export class Toolbar {
  constructor(view) {
    this.view = view;
    this.find = this.#find();
    this.slider = el("input", { type: "range", min: 100 * LEAST, max: 100, value: 100, "aria-label": "Influence", oninput: () => this.#slide() });
    this.shownInfluence = el("b");
    this.bars = el("span.bars-above");
    this.modes = MODES.map(([mode, text, title]) => el("button", { title, "data-mode": mode, onclick: () => view.set({ mode }) }, text));
    this.switches = SWITCHES.map(([name, text, title]) => el("button", { title, "data-switch": name, onclick: () => view.set({ [name]: !view.state[name] }) }, text));
    this.undo = el("button.undo", { title: "Undo the last change of pins or groups (Ctrl+Z)", onclick: () => view.undo() }, "Undo");
    this.help = this.#help();
    this.node = el("div.tools", {},
      el("label.find", {}, el("span", {}, "⌕"), this.find, el("kbd", {}, "/")),
      el("label.influence", { title: "Keep the most influential nodes, until together they have this part of all influence on the outputs" }, el("span", {}, "Influence"), el("span.slider", {}, this.bars, this.slider), this.shownInfluence),
      el("div.seg.modes", { role: "group", "aria-label": "Mode" }, ...this.modes),
      el("div.seg.switches", { role: "group", "aria-label": "Show" }, ...this.switches),
      el("span.space"),
      downloadMenu(view),
      el("button.btn.share", { title: "Copy a link to this view", onclick: () => shareAddress(view) }, "Share"),
      el("div.seg", {}, this.undo,
        el("button", { title: "Full screen (F)", "aria-label": "Full screen", onclick: () => view.fullScreen() }, corners()),
        el("button", { title: "Keys and mouse (?)", "aria-label": "Help", onclick: () => this.toggleHelp() }, "?")));
  }

  show() {
    const { state } = this.view;
    this.slider.value = Math.round(100 * state.thr);
    this.shownInfluence.textContent = percent(state.thr);
    this.#showBars();
    for (const button of this.modes) press(button, state.mode === button.dataset.mode);
    for (const button of this.switches) press(button, state[button.dataset.switch]);
    this.undo.disabled = !state.canUndo;
  }

  #showBars() {
    const { graph, state } = this.view;
    if (this.counted !== graph) Object.assign(this, { counted: graph, counts: countByInfluence(graph), barsFor: null });
    if (this.barsFor !== state.thr) this.bars.replaceChildren(histogram(this.counts, state.thr));
    this.barsFor = state.thr;
  }

  toggleHelp(on = this.help.hidden) { this.help.hidden = !on; }

  clearFind() { this.find.value = ""; this.view.matches = null; }

  #slide() { this.view.set({ thr: this.slider.value / 100 }); }

  #find() {
    const input = el("input", { placeholder: "Find node, token, #id", "aria-label": "Find" });
    let at = -1;
    input.addEventListener("input", () => { at = -1; this.#match(input.value); });
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      const { view } = this;
      if (event.key === "Enter" && view.matches?.size) view.select([...view.matches][(at = (at + 1) % view.matches.size)]);
      if (event.key === "Escape") { this.clearFind(); view.redraw(); view.root.focus(); }
    });
    return input;
  }

  #match(typed) {
    const { view } = this, { graph, visible } = view, wanted = typed.trim().toLowerCase();
    const layer = /^l\d+$/.test(wanted) ? Number(wanted.slice(1)) : null;
    const fits = (i) => visible[i] && (graph.layer[i] === layer || graph.name(i).toLowerCase().includes(wanted) || graph.node_id[i].toLowerCase().includes(wanted.replace("#", "")));
    view.matches = wanted ? new Set(graph.rowsWhere(fits)) : null;
    view.redraw();
  }

  #help() {
    const lines = HELP.flatMap(([keys, text]) => [el("span", {}, ...keys.map((key) => el("kbd", {}, key))), el("span", {}, text)]);
    const card = el("div.card", {}, el("h4", {}, "Keys and mouse"), ...lines,
      el("p", {}, "A dot is a feature, a diamond an error; size is influence. Blue promotes, orange suppresses; width is the share of the target's input."));
    return el("div.help", { hidden: true, onclick: () => this.toggleHelp(false) }, card);
  }
}

const corners = () => svg("svg", { width: 11, height: 11, viewBox: "0 0 11 11", fill: "none", stroke: "currentColor", "stroke-width": 1.4 },
  svg("path", { d: "M1 4V1h3M7 1h3v3M10 7v3H7M4 10H1V7" }));
