/** The circuit pane: pinned nodes as boxes with the links between them. */

import { el, svg, toggle } from "./dom.js";
import { FEATURE, KIND_NAMES, OUTPUT } from "./graph.js";
import { linkLine } from "./links.js";
import { suggest } from "./suggest.js";
import { clamp, percent, plural, signed, signedPercent } from "./text.js";
import { arrange, coverage, linksOf, unitsOf } from "./units.js";

const STILL = 4; // pixels
const FEW_LINKS = 24; // so many are all drawn; of more, those are that are worth it
const WORTH_DRAWING = 0.05; // of the strongest link

export class CircuitPane {
  constructor(view) {
    this.view = view;
    this.node = el("section.circuit", { "aria-label": "Circuit" });
    this.grouped = true;
    this.moved = new Map(); // unit -> where it was dragged, as parts of width and height
  }

  show() {
    const { view, node } = this, { graph, pinned } = view;
    this.units = [];
    if (!pinned.size) return node.replaceChildren(this.#invitation());
    this.units = unitsOf(graph, pinned, this.grouped);
    this.links = linksOf(graph, this.units);
    arrange(this.units, this.links, node.clientWidth, node.clientHeight, this.moved);
    this.lines = svg("svg");
    node.replaceChildren(this.lines, ...this.units.map((unit) => this.#box(unit)), this.#head());
    this.#draw();
  }

  mark(i) {
    for (const unit of this.units ?? []) unit.box.classList.toggle("hovered", i >= 0 && unit.members.includes(i));
  }

  #invitation() {
    const { graph } = this.view, output = this.#output();
    return el("div.empty", {}, el("b", {}, "Build a circuit"),
      el("span", {}, "Pin nodes with ", el("kbd", {}, "P"), " or Ctrl/⌘ and click. They appear here with the links between them."),
      output == null ? null : el("button.btn.primary", { onclick: () => this.#suggest() }, `Suggest a circuit for “${graph.name(output)}”`));
  }

  #output() {
    const { graph, selected } = this.view;
    return selected >= 0 && graph.kind[selected] === OUTPUT ? selected : graph.goalRows[0];
  }

  #suggest() {
    const { view } = this;
    this.moved.clear();
    view.state.change({ sel: null });
    view.setPins(suggest(view.graph, this.#output(), view.visible));
  }

  #head() {
    const { view } = this, { graph, pinned } = view, covered = coverage(graph, pinned);
    const button = (text, title, run) => el("button.btn", { title, onclick: run }, text);
    return el("div.heading", {}, el("b", {}, "Circuit"),
      el("span.soft", { title: "Mean part of the input of the pinned features and outputs that comes from pinned nodes" },
        `${plural(pinned.size, "node")} · ${plural(this.links.length, "link")} · explains ${percent(covered)} of inputs`),
      el("span.space"),
      button(this.grouped ? "Ungroup" : "Group", "One box for all features of the same label", () => { this.grouped = !this.grouped; this.show(); }),
      this.#output() == null ? null : button("Suggest", "Replace the pins by the nodes that carry most influence", () => this.#suggest()),
      button("Tidy", "Put the boxes back into rows", () => { this.moved.clear(); this.show(); }),
      button("Clear", "Unpin everything", () => view.setPins([])));
  }

  #box(unit) {
    const { view } = this, { graph } = view, [first] = unit.members, many = unit.members.length > 1;
    const facts = many ? `${unit.members.length} features` : unit.kind === FEATURE ? `L${graph.layer[first]} · ${graph.tokenAt(first)}` : null;
    const unpin = el("button.unpin", { title: "Unpin", "aria-label": "Unpin", onclick: () => this.#unpin(unit) }, "×");
    unit.box = el(`div.box.${KIND_NAMES[unit.kind]}`, { style: { left: `${unit.X}px`, top: `${unit.Y}px` }, title: unit.name },
      el("div.name", {}, unit.name), facts ? el("small", {}, facts) : null, unpin);
    toggle(unit.box, { stack: many, selected: unit.members.includes(view.selected) });
    unit.box.addEventListener("pointerenter", () => view.hover(first));
    unit.box.addEventListener("pointerleave", () => view.hover(-1));
    unit.box.addEventListener("pointerdown", (event) => event.target !== unpin && this.#drag(unit, event));
    return unit.box;
  }

  #unpin(unit) { this.view.setPins([...this.view.pinned].filter((i) => !unit.members.includes(i))); }

  #drag(unit, start) {
    start.preventDefault();
    const { node, view } = this, { box, X, Y } = unit;
    let moved = false;
    box.setPointerCapture(start.pointerId);
    view.root.focus({ preventScroll: true });
    box.onpointermove = (event) => {
      const dx = event.clientX - start.clientX, dy = event.clientY - start.clientY;
      if (!moved && Math.hypot(dx, dy) < STILL) return;
      moved = true;
      box.classList.add("dragged");
      unit.X = clamp(20, node.clientWidth - 20, X + dx);
      unit.Y = clamp(14, node.clientHeight - 14, Y + dy);
      Object.assign(box.style, { left: `${unit.X}px`, top: `${unit.Y}px` });
      this.#draw();
    };
    box.onpointerup = () => {
      box.onpointermove = box.onpointerup = null;
      box.classList.remove("dragged");
      if (moved) this.moved.set(unit.id, [unit.X / node.clientWidth, unit.Y / node.clientHeight]);
      else view.select(unit.members[0]);
    };
  }

  #draw() {
    const { theme } = this.view, most = Math.max(0.05, ...this.links.map((link) => Math.abs(link.share)));
    const least = this.links.length > FEW_LINKS ? most * WORTH_DRAWING : 0;
    const shown = this.links.filter((link) => Math.abs(link.share) >= least);
    const title = ({ from, to, share, effect }) => `${from.name} → ${to.name}: ${signedPercent(share)} of the input, effect ${signed(effect, 3)}`;
    this.lines.replaceChildren(...shown.map((link) => linkLine(link, most, theme, title(link))));
  }
}
