/** What a node is, beside the pointer. */

import { ERROR, FEATURE, KIND_NAMES, TOKEN } from "./graph.js";
import { el } from "./dom.js";
import { clamp, signedPercent } from "./text.js";

export class Tooltip {
  constructor(view) { this.view = view; this.node = el("div.tip"); }

  show(i, event) {
    const { view, node } = this, shown = i >= 0 && event;
    node.classList.toggle("on", !!shown);
    if (!shown) return;
    node.replaceChildren(el("b", {}, view.graph.name(i)), el("div.m", {}, this.#facts(i)), this.#relation(i) ?? "", this.#label(i) ?? "");
    const stage = view.stage.getBoundingClientRect(), x = event.clientX - stage.left, y = event.clientY - stage.top;
    const below = y + 18 + node.offsetHeight <= stage.height;
    node.style.left = `${clamp(4, Math.max(4, stage.width - node.offsetWidth - 4), x + 14)}px`;
    node.style.top = `${below ? y + 16 : Math.max(4, y - node.offsetHeight - 10)}px`;
  }

  #facts(i) {
    const { graph } = this.view, facts = [KIND_NAMES[graph.kind[i]]];
    if (graph.kind[i] === FEATURE || graph.kind[i] === ERROR) facts.push(`L${graph.layer[i]} · at “${graph.tokenAt(i)}”`);
    if (graph.kind[i] === FEATURE && graph.activation[i] != null) facts.push(`activation ${graph.activation[i].toFixed(2)}`);
    if (graph.kind[i] === TOKEN) facts.push(`position ${graph.position[i]}`);
    facts.push(`${graph.inputs(i).length} in, ${graph.outputs(i).length} out`);
    return facts.join(" · ");
  }

  #relation(i) {
    const { graph, related, selected, state } = this.view, value = related.of.get(i);
    if (value == null || i === selected) return null;
    const way = graph.depth[i] < graph.depth[selected] ? "of the input of" : "of its input comes from";
    const how = state.mode === "paths" ? "over all paths, " : "";
    return el("div.m", {}, el("b.num", { style: { color: `var(--${value > 0 ? "pos" : "neg"})` } }, signedPercent(value)), ` ${how}${way} “${graph.name(selected)}”`);
  }

  #label(i) {
    const note = this.view.graph.label_note[i];
    return note ? el("div.m", {}, note) : null;
  }
}
