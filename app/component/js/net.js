/** A small picture of given nodes and links: one path, or what a Cypher query returned. */

import { el, svg, toggle } from "./dom.js";
import { KIND_NAMES, OUTPUT, TOKEN } from "./graph.js";
import { linkLine } from "./links.js";
import { plural, signedPercent, visible } from "./text.js";
import { readTheme } from "./theme.js";
import { arrange } from "./units.js";

const BOXES = 48; // more nodes than that are drawn as dots with their name on hover
const TOP = 999;

export class View {
  constructor(parent) {
    this.lines = svg("svg");
    this.sheet = el("div.sheet");
    this.count = el("div.status");
    this.root = el("div.net", { role: "img" }, this.lines, this.sheet, this.count);
    parent.append(this.root);
    this.resized = new ResizeObserver(() => this.data && this.#draw());
    this.resized.observe(this.root);
  }

  destroy() { this.resized.disconnect(); this.root.remove(); }

  update({ data }) {
    this.data = data;
    this.root.style.height = `${data.height}px`;
    this.root.setAttribute("aria-label", `${plural(data.nodes.length, "node")}, ${plural(data.links.length, "link")}`);
    requestAnimationFrame(() => this.#draw()); // the style sheet of a new theme applies by then
  }

  #draw() {
    const { nodes, links } = this.data, { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return;
    const theme = readTheme(this.root), units = unitsOf(nodes, links), byId = new Map(units.map((unit) => [unit.id, unit]));
    const lines = links.map((link) => ({ ...link, from: byId.get(link.source), to: byId.get(link.target) })).filter((link) => link.from && link.to);
    arrange(units, lines.map((line) => ({ ...line, share: line.share ?? 0.1 })), width, height, new Map());
    const most = Math.max(0.05, ...lines.map((line) => Math.abs(line.share ?? 0))), small = units.length > BOXES;
    this.lines.replaceChildren(...lines.map((line) => linkLine(line, most, theme, titleOf(line))));
    this.sheet.replaceChildren(...units.map((unit) => boxOf(unit, small)));
    this.count.textContent = `${plural(nodes.length, "node")} · ${plural(links.length, "link")}`;
  }
}

function unitsOf(nodes, links) {
  const layered = nodes.every((node) => node.layer != null), depth = layered ? null : depths(nodes, links);
  const last = 1 + Math.max(0, ...nodes.map((node) => node.position ?? 0));
  return nodes.map((node, k) => {
    const kind = KIND_NAMES.indexOf(node.kind === "logit" ? "output" : node.kind);
    const level = !layered ? depth.get(node.id) : kind === TOKEN ? -1 : kind === OUTPUT ? TOP : node.layer;
    return { ...node, kind, name: visible(node.name), level, column: node.position == null ? (k + 0.5) / nodes.length : (node.position + 0.5) / last };
  });
}

/** How many links lie below each node on the longest way, cycles cut where they close. */
function depths(nodes, links) {
  const into = new Map(nodes.map((node) => [node.id, []])), depth = new Map(), open = new Set();
  for (const { source, target } of links) if (into.has(source)) into.get(target)?.push(source);
  const find = (id) => {
    if (depth.has(id)) return depth.get(id);
    if (open.has(id)) return 0;
    open.add(id);
    const found = Math.max(0, ...into.get(id).map((source) => 1 + find(source)));
    open.delete(id);
    depth.set(id, found);
    return found;
  };
  nodes.forEach((node) => find(node.id));
  return depth;
}

function boxOf(unit, small) {
  const style = { left: `${unit.X}px`, top: `${unit.Y}px` }, title = [unit.name, unit.note].filter(Boolean).join("\n");
  if (small) return el(`i.point.glyph.${KIND_NAMES[unit.kind] ?? "other"}`, { style, title });
  const box = el(`div.box.${KIND_NAMES[unit.kind] ?? "other"}`, { style, title }, el("div.name", {}, unit.name), unit.facts ? el("small", {}, unit.facts) : null);
  toggle(box, { still: true });
  return box;
}

const titleOf = ({ from, to, share, note }) =>
  `${from.name} → ${to.name}` + (share == null ? "" : `: ${signedPercent(share)} of the input`) + (note ? `\n${note}` : "");
