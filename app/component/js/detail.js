/** More about the selected node: the label and where it is from, where the feature fires, what it does to the outputs. */

import { el } from "./dom.js";
import { BIAS, ERROR, FEATURE, OUTPUT, TOKEN } from "./graph.js";
import { signed, signedPercent, visible } from "./text.js";
import { trace } from "./trace.js";

const MOST_OUTPUTS = 6, MOST_TOKENS = 8;

export class DetailPane {
  constructor(view) { this.view = view; this.node = el("section.detail", { "aria-label": "Details" }); }

  show() {
    const { view } = this, i = view.selected, kind = i < 0 ? null : view.graph.kind[i];
    const content = kind === FEATURE ? this.#feature(i) : kind === OUTPUT ? this.#output(i) : [this.#other(kind, i)];
    this.node.replaceChildren(...content);
    this.node.scrollTop = 0;
  }

  #other(kind, i) {
    if (kind === ERROR) return hint("Error", "What the features of this layer leave unexplained at this token.");
    if (kind === BIAS) return hint(this.view.graph.name(i), "A constant term: what the model adds there whatever it reads, with attention patterns and norms held fixed.");
    if (kind === TOKEN) return hint(`Token “${this.view.graph.name(i)}”`, `Position ${this.view.graph.position[i]} of the prompt.`);
    return hint("Details", "Select a feature to see its label, where it fires and what it does to the outputs; select an output to see which tokens it comes from.");
  }

  #feature(i) {
    const { graph } = this.view;
    const label = graph.label[i]
      ? [el("h6", {}, "Label"), el("div.label", {}, graph.label[i]), el("div.soft", {}, graph.label_note[i] || "Where this label comes from is not recorded.")]
      : [el("h6", {}, "No label"), el("div.soft", {}, graph.hint[i].startsWith("→")
          ? "Named here by the output that it promotes most." : "Named here by the token that it stands at.")];
    return [...label, ...this.#where(i), ...this.#effects(i)];
  }

  /** The prompt, shaded by the activation of this feature at each token. */
  #where(i) {
    const { graph } = this.view, key = graph.sameKey(i), rows = graph.rowsWhere((k) => graph.sameKey(k) === key);
    const at = new Map(rows.map((k) => [graph.position[k], graph.activation[k] ?? 0])), most = Math.max(1e-9, ...at.values());
    return [el("h6", {}, "Active in this prompt"), this.#prompt((p) => ({
      title: at.has(p) ? `activation ${at.get(p).toFixed(2)}` : null,
      fill: at.has(p) ? `color-mix(in srgb, var(--pin) ${Math.round(18 + (52 * at.get(p)) / most)}%, transparent)` : null,
    }))];
  }

  #effects(i) {
    const { graph } = this.view, edges = [...graph.outputs(i)].filter((e) => graph.kind[graph.target[e]] === OUTPUT);
    const rows = edges.map((e) => [graph.name(graph.target[e]), graph.effect[e]]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    return [el("h6", {}, "Direct effect on outputs"), rows.length
      ? bars(rows.slice(0, MOST_OUTPUTS), (value) => signed(value, 2)) : el("div.soft", {}, "None that was kept.")];
  }

  /** Which tokens an output comes from, over all paths. */
  #output(i) {
    const { graph, visible: shown } = this.view, { up } = trace(graph, i, shown), by = new Float64Array(graph.tokens.length);
    for (const [position, row] of graph.tokenRow) by[position] += up[row];
    const most = Math.max(1e-9, ...by.map(Math.abs));
    const ranked = [...by].map((value, p) => [visible(graph.tokens[p]), value]).filter(([, value]) => value).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    return [el("h6", {}, `What “${graph.name(i)}” comes from, over all paths`), this.#prompt((p) => ({
      title: signedPercent(by[p]),
      fill: by[p] ? `color-mix(in srgb, var(--${by[p] > 0 ? "pos" : "neg"}) ${Math.round((55 * Math.abs(by[p])) / most)}%, transparent)` : null,
    })), el("h6", {}, "By token"), bars(ranked.slice(0, MOST_TOKENS), signedPercent)];
  }

  #prompt(shade) {
    return el("div.prompt", {}, ...this.view.graph.tokens.map((token, p) => {
      const { title, fill } = shade(p);
      return el("span", { title, style: fill ? { background: fill } : {} }, token);
    }));
  }
}

const hint = (title, text) => el("div.empty", {}, el("b", {}, title), el("span", {}, text));

/** Rows with a bar behind them, as wide as the value is large. */
function bars(rows, write) {
  const most = Math.max(1e-9, ...rows.map(([, value]) => Math.abs(value)));
  return el("div.bars", {}, ...rows.map(([name, value]) => el("div", {},
    el("i", { style: { width: `${(100 * Math.abs(value)) / most}%`, background: `var(--${value > 0 ? "pos" : "neg"})` } }),
    el("span", {}, name), el("em", {}, write(value)))));
}
