/** The circuit pane: pinned nodes as boxes with the links between them. */

import { el, svg, toggle } from "./dom.js";
import { editText } from "./edit.js";
import { FEATURE, KIND_NAMES, OUTPUT } from "./graph.js";
import { groupsOf, joined, madeOf, renamed, toKeep } from "./groups.js";
import { questionCard } from "./keeping.js";
import { linkLine } from "./links.js";
import { patternOf } from "./pattern.js";
import { suggest } from "./suggest.js";
import { clamp, percent, plural, signed, signedPercent } from "./text.js";
import { arrange, coverage, linksOf, unitsOf } from "./units.js";

const STILL = 4; // pixels
const NEAR_X = 40, NEAR_Y = 18; // pixels between two boxes of which one is dropped on the other
const FEW_LINKS = 24; // so many are all drawn; of more, those are that are worth it
const WORTH_DRAWING = 0.05; // of the strongest link

export class CircuitPane {
  constructor(view) {
    this.view = view;
    this.node = el("section.circuit", { "aria-label": "Circuit" });
    this.moved = new Map(); // unit -> where it was dragged, as parts of width and height
    this.marked = new Set(); // units to be put together
    this.asking = false; // whether to keep the groups
  }

  show() {
    const { view, node } = this, { graph, pinned } = view;
    this.units = [];
    if (!pinned.size) return node.replaceChildren(this.#invitation());
    this.groups = groupsOf(graph, pinned, view.state.groups);
    this.units = unitsOf(graph, pinned, this.groups);
    this.links = linksOf(graph, this.units);
    this.changes = toKeep(graph, pinned, this.groups);
    arrange(this.units, this.links, node.clientWidth, node.clientHeight, this.moved);
    this.lines = svg("svg");
    node.replaceChildren(this.lines, ...this.units.map((unit) => this.#box(unit)), this.#head(), this.asking ? this.#question() : "");
    this.#draw();
  }

  /** Another graph comes. */
  forget() { this.moved.clear(); this.marked.clear(); this.asking = false; }

  /** Put the marked boxes into one. */
  groupMarked() {
    const units = this.units?.filter((unit) => this.marked.has(unit.id)) ?? [];
    if (units.length > 1) this.#join(units);
  }

  mark(i) {
    const same = new Set(i >= 0 ? this.view.graph.occurrences(i) : []);
    for (const unit of this.units ?? []) toggle(unit.box, { hovered: unit.members.some((member) => same.has(member)) });
  }

  #invitation() {
    const { graph } = this.view, output = this.#output(), known = graph.pins.filter((id) => graph.rowOf.has(id));
    return el("div.empty", {}, el("b", {}, "Build a circuit"),
      el("span", {}, "Pin nodes with ", el("kbd", {}, "P"), " or Ctrl/⌘ and click. They appear here with the links between them."),
      output == null ? null : el("button.btn.primary", { onclick: () => this.#suggest() }, `Suggest a circuit for “${graph.name(output)}”`),
      known.length ? el("button.btn", { onclick: () => this.view.set({ pins: known }) }, `Pins that came with the graph (${known.length})`) : null);
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
    const grouped = this.units.some((unit) => unit.group), pattern = patternOf(graph, this.units, this.links);
    const button = (text, title, run) => el("button.btn", { title, onclick: run }, text);
    return el("div.heading", {}, el("b", {}, "Circuit"),
      el("span.soft", { title: "Mean part of the input of the pinned features and outputs that comes from pinned nodes" },
        `${plural(pinned.size, "node")} · ${plural(this.links.length, "link")} · explains ${percent(covered)} of inputs`),
      el("span.space"),
      this.marked.size > 1 ? el("button.btn.primary", { title: "One box for the marked ones (G)", onclick: () => this.groupMarked() }, `Group ${this.marked.size}`) : null,
      grouped
        ? button("Ungroup", "One box for each node", () => this.#regroup([]))
        : button("Group", "One box for each stored supernode, and for all features of the same label", () => view.set({ groups: null })),
      this.#output() == null ? null : button("Suggest", "Replace the pins by the nodes that carry most influence", () => this.#suggest()),
      button("Tidy", "Put the boxes back into rows", () => { this.moved.clear(); this.show(); }),
      view.keep && (grouped || this.changes.gone.length) ? button("Save…", "Keep the groups as supernodes of this graph", () => { this.asking = !this.asking; this.show(); }) : null,
      button("Clear", "Unpin everything", () => view.setPins([])),
      pattern && el("a.btn", { href: `/circuits?${new URLSearchParams({ p: pattern })}`, title: `Look for its strongest way in all prompts: ${pattern}` }, "All prompts ↗"));
  }

  #box(unit) {
    const { view } = this, { graph } = view, [first] = unit.members, many = unit.members.length > 1;
    const alike = unit.members.every((i) => graph.kind[i] === FEATURE) ? "feature" : "node";
    const facts = many ? plural(unit.members.length, alike) : unit.kind === FEATURE ? `L${graph.layer[first]} · ${graph.tokenAt(first)}` : null;
    const [what, away] = unit.group ? ["Ungroup", () => this.#ungroup(unit)] : ["Unpin", () => this.#unpin(unit)];
    const unpin = el("button.unpin", { title: what, "aria-label": what, onclick: away }, "×");
    unit.box = el(`div.box.${KIND_NAMES[unit.kind]}`, { style: { left: `${unit.X}px`, top: `${unit.Y}px` }, title: unit.name },
      el("div.name", {}, unit.name), facts ? el("small", {}, facts) : null, unpin);
    toggle(unit.box, { stack: many, selected: unit.members.includes(view.selected), marked: this.marked.has(unit.id) });
    unit.box.addEventListener("pointerenter", () => view.hover(first));
    unit.box.addEventListener("pointerleave", () => view.hover(-1));
    unit.box.addEventListener("pointerdown", (event) => event.target !== unpin && this.#drag(unit, event));
    unit.box.addEventListener("dblclick", () => this.#rename(unit));
    return unit.box;
  }

  /** A group gets another name; a feature alone gets another label. */
  #rename(unit) {
    const { view } = this, [first] = unit.members, place = unit.box.querySelector(".name");
    if (unit.group) editText(place, unit.name, "Name of the group", (name) => name && this.#regroup(renamed(this.groups, unit.group, name)));
    else view.editLabel(first, place);
  }

  #regroup(groups) {
    this.marked.clear();
    this.asking = false;
    this.view.set({ groups: madeOf(this.view.graph, groups) });
  }

  #join(units) { this.#regroup(joined(this.view.graph, this.groups, units)); }

  #ungroup(unit) { this.#regroup(this.groups.filter((group) => group.name !== unit.group.name)); }

  #mark(unit) {
    if (!this.marked.delete(unit.id)) this.marked.add(unit.id);
    this.show();
  }

  /** What would be kept in the store, for a yes or no. */
  #question() {
    const close = () => { this.asking = false; this.show(); };
    return questionCard(this.changes, () => { close(); this.view.keep({ what: "supernodes", groups: this.changes.kept, gone: this.changes.gone }); }, close);
  }

  #unpin(unit) { this.view.setPins([...this.view.pinned].filter((i) => !unit.members.includes(i))); }

  #drag(unit, start) {
    if (start.target.closest("input")) return;
    const { node, view } = this, { box, X, Y } = unit;
    let moved = false, onto = null;
    start.preventDefault();
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
      onto?.box.classList.remove("target");
      onto = this.units.find((other) => other !== unit && Math.abs(other.X - unit.X) < NEAR_X && Math.abs(other.Y - unit.Y) < NEAR_Y);
      onto?.box.classList.add("target");
      this.#draw();
    };
    box.onpointerup = (event) => {
      box.onpointermove = box.onpointerup = null;
      box.classList.remove("dragged");
      if (onto) this.#join([onto, unit]);
      else if (event.shiftKey && !moved) this.#mark(unit);
      else if (moved) this.moved.set(unit.id, [unit.X / node.clientWidth, unit.Y / node.clientHeight]);
      else if (view.selected !== unit.members[0]) view.select(unit.members[0]); // a second click may be for the name
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
