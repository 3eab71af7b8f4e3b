/** More about the selected node: the label and where it is from, where the feature fires, what it does to the outputs. */

import { el } from "./dom.js";
import { BIAS, ERROR, FEATURE, OUTPUT, TOKEN } from "./graph.js";
import { featurePrompts } from "./prompts.js";
import { count, plural, signed, signedPercent, visible } from "./text.js";
import { trace } from "./trace.js";

const MOST_OUTPUTS = 6, MOST_TOKENS = 8, MOST_PROMPTS = 4;
const PAUSE = 150; // milliseconds
const BEFORE = 14, AFTER = 4; // tokens of another prompt around the most active one

export class DetailPane {
  constructor(view) { this.view = view; this.node = el("section.detail", { "aria-label": "Details" }); }

  show() {
    if (this.view.root.classList.contains("compact")) return; // no room for it there
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
    return [...label, ...this.#where(i), ...this.#effects(i), this.#elsewhere(i)];
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

  /** The other prompts in which it is most active; comes when the server has answered. */
  #elsewhere(i) {
    const { graph } = this.view, place = el("div", {});
    this.#asked(place).then(() => featurePrompts(graph, i)).then(({ n, of, prompts }) => {
      const others = prompts.filter((prompt) => prompt.graph_id !== graph.graph_id).slice(0, MOST_PROMPTS);
      const most = Math.max(1e-9, ...prompts.flatMap((prompt) => prompt.at.map(([, value]) => value ?? 0)));
      place.append(el("h6", {}, `Active in ${count(n)} of ${plural(of, "graph")} of this dictionary`), ...others.map((prompt) => excerpt(prompt, most)));
    }, (error) => place.append(el("div.soft", {}, error.message)));
    return place;
  }

  /** After a pause in which the person did not go on to another node. */
  #asked(place) {
    return new Promise((done) => setTimeout(() => place.isConnected && done(), PAUSE));
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

/** The text around the token at which a feature is most active, as a link to its node there. */
function excerpt({ link, tokens, at }, most) {
  const values = new Map(at), [peak] = at.reduce((best, pair) => ((pair[1] ?? 0) > (best[1] ?? 0) ? pair : best));
  const from = Math.max(0, peak - BEFORE), to = Math.min(tokens.length, peak + AFTER + 1);
  const spans = tokens.slice(from, to).map((token, k) => {
    const value = values.get(from + k), active = values.has(from + k);
    const fill = active ? `color-mix(in srgb, var(--pin) ${Math.round(18 + (52 * (value ?? most)) / most)}%, transparent)` : null;
    return el("span", { title: value == null ? null : `activation ${value.toFixed(2)}`, style: fill ? { background: fill } : {} }, token.replace(/\n/g, "⏎"));
  });
  return el("a.prompt.elsewhere", { href: link, target: "_self", title: "Open this prompt with the feature selected" }, from ? "…" : "", ...spans, to < tokens.length ? "…" : "");
}

const hint = (title, text) => el("div.empty", {}, el("b", {}, title), el("span", {}, text));

/** Rows with a bar behind them, as wide as the value is large. */
function bars(rows, write) {
  const most = Math.max(1e-9, ...rows.map(([, value]) => Math.abs(value)));
  return el("div.bars", {}, ...rows.map(([name, value]) => el("div", {},
    el("i", { style: { width: `${(100 * Math.abs(value)) / most}%`, background: `var(--${value > 0 ? "pos" : "neg"})` } }),
    el("span", {}, name), el("em", {}, write(value)))));
}
