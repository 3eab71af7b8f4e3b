/** The connections of the selected node: what it is, what its input is made of, and both lists by share. */

import { allLinks } from "./alllinks.js";
import { el, press, toggle } from "./dom.js";
import { BIAS, ERROR, FEATURE, KIND_NAMES, OUTPUT, TOKEN } from "./graph.js";
import { count, percent, remainder, signed, signedPercent, visible } from "./text.js";

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
      const i = rowAt(event), away = event.target.closest(".row")?.dataset.away;
      if (away) view.bring(away);
      if (i >= 0) event.ctrlKey || event.metaKey ? view.pin(i) : view.select(i);
    });
  }

  show() {
    const { selected } = this.view;
    this.node.replaceChildren(...(selected < 0 ? [this.#nothing()] : [this.#head(selected), this.#lists(selected)]));
  }

  /** Mark the rows of the hovered node, and of the same feature elsewhere. */
  mark(i) {
    const same = new Set(i >= 0 ? this.view.graph.occurrences(i) : []);
    for (const row of this.node.querySelectorAll(".row")) toggle(row, { hovered: same.has(Number(row.dataset.i ?? -1)) });
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
    head.append(el("div.acts", {}, pin, top, graph.kind[i] === FEATURE && featureLink(graph, i), cypherLink(graph, i)));
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
    if (graph.left_out[i]) texts.push([`left out ${signed(graph.left_out[i])}`, "What the effects into this node sum to that the limits of the trace left out: sources that are no nodes, effects beyond the largest"]);
    if (kind !== OUTPUT) texts.push([`influence ${percent(graph.influence[i])}`, "The chance that a walk back from the outputs, choosing inputs by share, visits this node"]);
    const chips = texts.map(([text, title]) => el("span.chip", { title }, text));
    return pinned.has(i) ? [...chips, el("span.chip.pinned", {}, "pinned")] : chips;
  }

  #lists(i) {
    return el("div.connections", {}, this.#switches(i), el("div.lists", {}, this.#list(i, "Inputs", "source"), this.#list(i, "Outputs", "target")));
  }

  #switches(i) {
    const { related, graph } = this.view, { byToken } = this;
    const whole = !related.total && el("button", { title: "Also links and nodes that pruning dropped; their nodes are pinned by a click", onclick: () => { this.whole = !this.#isWhole(); this.show(); } }, "All links");
    const token = el("button", { title: "Group the lists by the token at which the nodes stand", onclick: () => { this.byToken = !byToken; this.show(); } }, "By token");
    for (const [button, on] of [[token, byToken], [whole, this.#isWhole()]]) if (button) press(button, on);
    if (this.#isWhole() && this.full?.of !== graph.node_id[i]) this.#fetch(i);
    return el("div.seg.small", { role: "group", "aria-label": "Lists" }, token, whole);
  }

  #isWhole() { return !this.view.related.total && (this.whole ?? this.view.graph.reduced); }

  async #fetch(i) {
    const { view } = this, of = view.graph.node_id[i];
    this.full = { of };
    try {
      Object.assign(this.full, await allLinks(view.url, of));
    } catch (error) {
      this.whole = false;
      view.notice(error.message);
    }
    if (this.full.of === of && view.selected === i) this.show();
  }

  #list(i, title, end) {
    const { view } = this, { related } = view, full = this.#isWhole() && this.full?.of === view.graph.node_id[i] && this.full[title.toLowerCase()];
    const links = related.total ? this.#byPaths(i, end) : full ? this.#whole(full.links) : this.#direct(i, end);
    links.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const most = Math.max(0.02, Math.abs(links[0]?.value ?? 0)), rows = el("div.rows", { tabindex: -1 }), lines = this.byToken ? this.#underTokens(links) : links;
    let shown = 0;
    const more = () => rows.append(...lines.slice(shown, (shown += PAGE)).map((line) => (line.token == null ? this.#row(i, line, most) : tokenLine(line))));
    more();
    rows.addEventListener("scroll", () => shown < lines.length && rows.scrollTop + rows.clientHeight > rows.scrollHeight - 200 && more());
    if (!links.length) rows.append(el("div.none", {}, NO_LINKS[`${view.graph.kind[i]} ${title}`] ?? "None under these filters."));
    if (full && full.n > full.links.length) rows.append(el("div.none", {}, `The ${count(full.links.length)} largest of ${count(full.n)}.`));
    const name = related.total ? { Inputs: "Upstream", Outputs: "Downstream" }[title] : title;
    return el("div.list", {}, el("h5", {}, el("span", {}, name), el("span", {}, count(links.length))), rows);
  }

  #direct(i, end) {
    const { graph, visible } = this.view, edges = end === "source" ? graph.inputs(i) : graph.outputs(i);
    const links = [...edges].map((e) => ({ i: graph[end][e], value: graph.share[e], effect: graph.effect[e] }));
    return links.filter((link) => visible[link.i]);
  }

  /** Links as the server has them all: to a node that is here, or to one that is not, with what is known of it. */
  #whole(links) {
    const { graph, visible } = this.view;
    const all = links.map((link) => ({ i: graph.rowOf.get(link.node_id) ?? -1, value: link.share, effect: link.effect, away: link }));
    return all.filter((link) => link.i < 0 || visible[link.i]);
  }

  /** A line for each token with the sum of its links, those with most first, and its links below. */
  #underTokens(links) {
    const { graph } = this.view, groups = new Map();
    for (const link of links) {
      const kind = link.i < 0 ? link.away.kind : graph.kind[link.i], position = link.i < 0 ? link.away.position : graph.position[link.i];
      const key = kind === BIAS ? -1 : kind === OUTPUT ? -2 : position;
      const token = key === -1 ? "biases" : key === -2 ? "outputs" : `“${visible(graph.tokens[position] ?? "")}” · ${position}`;
      if (!groups.has(key)) groups.set(key, { token, size: 0, sum: 0, links: [] });
      const group = groups.get(key);
      group.links.push(link);
      group.sum += link.value;
      group.size += Math.abs(link.value);
    }
    return [...groups.values()].sort((a, b) => b.size - a.size).flatMap((group) => [group, ...group.links]);
  }

  #byPaths(i, end) {
    const { graph, visible, related } = this.view, sums = related.total[end === "source" ? "up" : "down"];
    const rows = graph.rowsWhere((k) => k !== i && visible[k] && Math.abs(sums[k]) > WORTH_LISTING);
    return rows.map((k) => ({ i: k, value: sums[k] }));
  }

  #row(from, { i, value, effect, away }, most) {
    const { graph, pinned } = this.view, sign = value > 0 ? "pos" : "neg", here = i >= 0;
    const title = [effect == null ? null : `effect ${signed(effect, 4)}`, here ? null : "pruned away; a click pins it"].filter(Boolean).join(", ");
    const row = el("div.row", { "data-i": here ? i : null, "data-away": here ? null : away.node_id, title: title || null },
      el("i.bar", { style: { width: `${Math.min(100, (100 * Math.abs(value)) / most)}%`, background: `var(--${sign})` } }),
      glyph(here ? graph.kind[i] : away.kind),
      el("span.name", {}, here ? graph.name(i) : graph.nameOf(away), el("small", {}, here ? whereabouts(graph, from, i) : `L${away.layer}`)),
      el("span.value", {}, signedPercent(value)));
    toggle(row, { pinned: pinned.has(i), away: !here });
    return row;
  }
}

const rowAt = (event) => Number(event.target.closest(".row")?.dataset.i ?? -1);

/** The token that the lines below share, and the sum of their values. */
const tokenLine = ({ token, sum, links }) => el("div.token-line", {}, el("b", {}, token), el("span.soft", {}, ` ${count(links.length)}`), el("span.value", {}, signedPercent(sum)));

/** The way to the page of this feature in all graphs. */
const featureLink = (graph, i) => el("a.btn", {
  href: `/feature?f=${encodeURIComponent(`${graph.source_set}/${graph.layer[i]}/${graph.dictionary_index[i]}`)}`,
  title: "This feature in all graphs: where it is active, what feeds it, what it is thought to mean",
}, "Feature ↗");

/** The query for this node, to be run and changed. */
const cypherLink = (graph, i) => {
  const name = graph.inputs(i).length ? "strongest_sources" : "strongest_targets";
  const query = new URLSearchParams({ name, param_graph_id: graph.graph_id, param_node_id: graph.node_id[i] });
  return el("a.btn", { href: `/cypher?${query}`, title: "The connections of this node as a query" }, "Cypher ↗");
};

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
  const plurals = { feature: "features", error: "errors", token: "tokens", bias: "biases", pruned: graph.reduced ? "not shown" : "pruned away" };
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
