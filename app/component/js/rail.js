/** The connections of the selected node: what it is, what its input is made of, and both lists by share. */

import { el, toggle } from "./dom.js";
import { BIAS, ERROR, FEATURE, KIND_NAMES, OUTPUT, TOKEN } from "./graph.js";
import { percent, remainder, signed, signedPercent } from "./text.js";

const PAGE = 120; // rows put into a list at a time
const WORTH_LISTING = 1e-3; // of influence over all paths
const NO_LINKS = { // why a list is empty, by kind and side
  [`${TOKEN} Inputs`]: "A token has no inputs.", [`${ERROR} Inputs`]: "An error has no inputs: it is what no feature explains.",
  [`${BIAS} Inputs`]: "A bias has no inputs: it is the same for every prompt with these patterns and norms.",
  [`${OUTPUT} Outputs`]: "This is an output.",
};

export class Rail {
  constructor(view) {
    this.view = view;
    this.node = el("aside.rail", { "aria-label": "Connections" });
    this.node.addEventListener("pointerover", (event) => view.graph && view.hover(rowAt(event)));
    this.node.addEventListener("pointerleave", () => view.graph && view.hover(-1));
    this.node.addEventListener("click", (event) => {
      const i = rowAt(event);
      if (i >= 0) event.ctrlKey || event.metaKey ? view.pin(i) : view.select(i);
    });
  }

  show() {
    const { selected } = this.view;
    this.node.replaceChildren(...(selected < 0 ? [this.#nothing()] : [this.#head(selected), this.#lists(selected)]));
  }

  /** Mark the rows of the hovered node. */
  mark(i) {
    this.node.querySelectorAll(".row.hovered").forEach((row) => row.classList.remove("hovered"));
    if (i >= 0) this.node.querySelectorAll(`.row[data-i="${i}"]`).forEach((row) => row.classList.add("hovered"));
  }

  /** Edit the label of the selected feature in its place. */
  rename() { if (this.name?.isConnected) this.view.editLabel(this.view.selected, this.name); }

  #nothing() {
    const { graph, view } = { graph: this.view.graph, view: this.view };
    const output = (i) => el("button.btn", { onclick: () => view.select(i) }, graph.name(i), el("span.soft", {}, ` ${chance(graph, i)}`));
    return el("div.empty", {}, el("b", {}, "Nothing selected"), el("span", {}, "Click a node to see what feeds it and what it drives."),
      ...graph.goalRows.slice(0, 4).map(output));
  }

  #head(i) {
    const { view } = this, { graph } = view, head = el("div.head", {});
    this.name = el("span", { title: graph.name(i), ondblclick: () => this.rename() }, graph.name(i));
    const rename = view.keep && graph.kind[i] === FEATURE && el("button.icon.rename", { title: "Rename this feature, in all graphs (R)", "aria-label": "Rename", onclick: () => this.rename() });
    head.append(el("div.title", {}, glyph(graph.kind[i]), this.name, rename));
    head.append(el("div.chips", {}, ...this.#chips(i)));
    if (graph.inputs(i).length) head.append(...composition(graph, i));
    const pin = el(`button.btn${view.pinned.has(i) ? ".pinned" : ""}`, { title: "P, or Ctrl/⌘ and click", onclick: () => view.pin(i) }, view.pinned.has(i) ? "Unpin" : "Pin");
    const top = el("button.btn", { title: "Pin this node and its six strongest links", onclick: () => view.setPins([...view.pinned, i, ...strongest(graph, i, 6)]) }, "Pin top 6");
    head.append(el("div.acts", {}, pin, top, graph.kind[i] === FEATURE && featureLink(graph, i)));
    return head;
  }

  #chips(i) {
    const { graph, pinned } = this.view, kind = graph.kind[i], texts = [[KIND_NAMES[kind]]];
    if (kind === FEATURE || kind === ERROR) texts.push([`layer ${graph.layer[i]}`]);
    if (kind !== BIAS) texts.push([`at “${graph.tokenAt(i)}” · ${graph.position[i]}`, "Token and position"]);
    if (kind === FEATURE) texts.push([`#${graph.dictionary_index[i]}`, `Entry of ${graph.source_set}`]);
    if (kind === FEATURE && graph.activation[i] != null) texts.push([`activation ${graph.activation[i].toFixed(2)}`]);
    if (kind === OUTPUT && graph.probability[i] != null) texts.push([`p ${percent(graph.probability[i])}`]);
    if (graph.remainder[i] != null) texts.push([`remainder ${remainder(graph.remainder[i])}`, "What the effects into this node leave of its value, over the sum of their sizes"]);
    if (kind !== OUTPUT) texts.push([`influence ${percent(graph.influence[i])}`, "The chance that a walk back from the outputs, choosing inputs by share, visits this node"]);
    const chips = texts.map(([text, title]) => el("span.chip", { title }, text));
    return pinned.has(i) ? [...chips, el("span.chip.pinned", {}, "pinned")] : chips;
  }

  #lists(i) {
    return el("div.lists", {}, this.#list(i, "Inputs", "source"), this.#list(i, "Outputs", "target"));
  }

  #list(i, title, end) {
    const { view } = this, { graph, related } = view, links = related.total ? this.#byPaths(i, end) : this.#direct(i, end);
    links.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const most = Math.max(0.02, Math.abs(links[0]?.value ?? 0)), rows = el("div.rows", { tabindex: -1 });
    let shown = 0;
    const more = () => rows.append(...links.slice(shown, (shown += PAGE)).map((link) => this.#row(i, link, most)));
    more();
    rows.addEventListener("scroll", () => shown < links.length && rows.scrollTop + rows.clientHeight > rows.scrollHeight - 200 && more());
    if (!links.length) rows.append(el("div.none", {}, NO_LINKS[`${graph.kind[i]} ${title}`] ?? "None under these filters."));
    const name = related.total ? { Inputs: "Upstream", Outputs: "Downstream" }[title] : title;
    return el("div.list", {}, el("h5", {}, el("span", {}, name), el("span", {}, String(links.length))), rows);
  }

  #direct(i, end) {
    const { graph, visible } = this.view, edges = end === "source" ? graph.inputs(i) : graph.outputs(i);
    const links = [...edges].map((e) => ({ i: graph[end][e], value: graph.share[e], effect: graph.effect[e] }));
    return links.filter((link) => visible[link.i]);
  }

  #byPaths(i, end) {
    const { graph, visible, related } = this.view, sums = related.total[end === "source" ? "up" : "down"];
    const rows = graph.rowsWhere((k) => k !== i && visible[k] && Math.abs(sums[k]) > WORTH_LISTING);
    return rows.map((k) => ({ i: k, value: sums[k] }));
  }

  #row(from, { i, value, effect }, most) {
    const { graph, pinned } = this.view, sign = value > 0 ? "pos" : "neg";
    const row = el("div.row", { "data-i": i, title: effect == null ? null : `effect ${signed(effect, 4)}` },
      el("i.bar", { style: { width: `${Math.min(100, (100 * Math.abs(value)) / most)}%`, background: `var(--${sign})` } }),
      glyph(graph.kind[i]),
      el("span.name", {}, graph.name(i), el("small", {}, whereabouts(graph, from, i))),
      el("span.value", {}, signedPercent(value)));
    toggle(row, { pinned: pinned.has(i) });
    return row;
  }
}

const rowAt = (event) => Number(event.target.closest(".row")?.dataset.i ?? -1);
export /** The way to the page of this feature in all graphs. */
const featureLink = (graph, i) => el("a.btn", {
  href: `/feature?f=${encodeURIComponent(`${graph.source_set}/${graph.layer[i]}/${graph.dictionary_index[i]}`)}`,
  title: "This feature in all graphs: where it is active, what feeds it, what it is thought to mean",
}, "Feature ↗");

const glyph = (kind) => el(`i.glyph.${KIND_NAMES[kind]}`);
const chance = (graph, i) => (graph.probability[i] == null ? "" : percent(graph.probability[i]));

/** Layer, and the token with an arrow where it is another than that of the selected node. */
function whereabouts(graph, from, i) {
  const inner = graph.kind[i] === FEATURE || graph.kind[i] === ERROR, elsewhere = graph.position[i] !== graph.position[from];
  if (!inner) return "";
  const arrow = graph.position[i] < graph.position[from] ? "←" : "→";
  return `L${graph.layer[i]}${elsewhere && graph.kind[i] === FEATURE ? ` ${arrow}${graph.tokenAt(i)}` : ""}`;
}

/** Where the input of a node comes from, as a bar and in words. */
function composition(graph, i) {
  const part = { [FEATURE]: 0, [ERROR]: 0, [TOKEN]: 0, [BIAS]: 0 };
  for (const e of graph.inputs(i)) part[graph.kind[graph.source[e]]] += Math.abs(graph.share[e]);
  const parts = [["feature", part[FEATURE]], ["error", part[ERROR]], ["token", part[TOKEN]], ["bias", part[BIAS]], ["pruned", Math.max(0, 1 - graph.shown[i])]];
  const named = parts.filter(([, share]) => share > 0.004);
  const plurals = { feature: "features", error: "errors", token: "tokens", bias: "biases", pruned: "pruned away" };
  return [
    el("div.mixture", { title: "Where this node's input comes from; what was pruned away is known in sum only" },
      ...named.map(([kind, share]) => el(`i.${kind}`, { style: { width: `${100 * share}%` } }))),
    el("div.legend", {}, ...named.map(([kind, share]) => el("span", {}, el(`i.${kind}`), `${Math.round(100 * share)}% ${plurals[kind]}`))),
  ];
}

function strongest(graph, i, k) {
  const edges = [...graph.inputs(i), ...graph.outputs(i)].sort((a, b) => Math.abs(graph.share[b]) - Math.abs(graph.share[a]));
  return edges.slice(0, k).map((e) => (graph.source[e] === i ? graph.target[e] : graph.source[e]));
}
