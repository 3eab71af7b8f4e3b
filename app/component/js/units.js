/** The pinned nodes as boxes: which nodes share one, which links join them, and where each box stands. */

import { FEATURE, OUTPUT, TOKEN } from "./graph.js";
import { shownRows } from "./groups.js";
import { clamp } from "./text.js";

const BOX = 132, ROW = 46; // pixels a box needs, with air
const ROUNDING = 1e-6; // of shares, which are 32 bits wide

/** One box per group, and per pinned node that is in none. */
export function unitsOf(graph, pinned, groups) {
  const units = [], placed = new Set();
  for (const group of groups) {
    const members = shownRows(graph, pinned, group).filter((i) => !placed.has(i)), kinds = new Set(members.map((i) => graph.kind[i]));
    if (members.length < 2) continue;
    members.forEach((i) => placed.add(i));
    units.push({ id: `group:${group.name}`, name: group.name, members, group, kind: kinds.size === 1 ? [...kinds][0] : FEATURE });
  }
  for (const i of pinned) {
    if (!placed.has(i)) units.push({ id: graph.node_id[i], name: graph.name(i), members: [i], kind: graph.kind[i] });
  }
  return units.map((unit) => ({ ...unit, level: level(graph, unit), column: column(graph, unit) }));
}

/**
 * Links between boxes, with the weights of supernodes in Ameisen et al. 2025, "Circuit Tracing": the share of a box in
 * another is summed over its members and averaged over the members of the target, of which each counts by the part of
 * its input that comes from outside. As `merged_weights` in circuits/supernodes.py.
 */
export function linksOf(graph, units) {
  const unitOf = new Map(units.flatMap((unit) => unit.members.map((i) => [i, unit]))), links = new Map();
  const weight = new Map(units.flatMap((unit) => outside(graph, unit)));
  for (const [i, from] of unitOf) {
    for (const e of graph.outputs(i)) {
      const to = unitOf.get(graph.target[e]);
      if (!to || to === from) continue;
      const id = `${from.id}|${to.id}`;
      if (!links.has(id)) links.set(id, { from, to, share: 0, effect: 0 });
      const link = links.get(id);
      link.share += graph.share[e] * weight.get(graph.target[e]);
      link.effect += graph.effect[e];
    }
  }
  return [...links.values()].sort((a, b) => Math.abs(a.share) - Math.abs(b.share));
}

/** Mean part of the input of the pinned features and outputs that comes from pinned nodes, 0 to 1. */
export function coverage(graph, pinned) {
  const receivers = [...pinned].filter((i) => graph.kind[i] === FEATURE || graph.kind[i] === OUTPUT);
  let covered = 0;
  for (const i of receivers) for (const e of graph.inputs(i)) if (pinned.has(graph.source[e])) covered += Math.abs(graph.share[e]);
  return receivers.length ? covered / receivers.length : 0;
}

/** Give every unit a place `X`, `Y` in pixels: tokens below, outputs above, the rest in rows by layer. */
export function arrange(units, links, width, height, moved) {
  const rows = rowsOf(units, width, height);
  order(rows, links);
  rows.forEach((row, r) => row.forEach((unit, k) => {
    const shift = row.length < 3 ? 0 : r % 2 ? 14 : -14, own = moved.get(unit.id);
    unit.X = own ? own[0] * width : ((k + 0.5) / row.length) * (width - 40) + 20 + shift;
    unit.Y = own ? own[1] * height : rows.length === 1 ? height / 2 : height - 28 - (r * (height - 76)) / (rows.length - 1);
  }));
}

/** For each member the part of its input that comes from outside its box, over the sum of these parts. */
function outside(graph, { members }) {
  const own = new Set(members);
  const parts = members.map((i) => graph.inputs(i).reduce((part, e) => part - (own.has(graph.source[e]) ? Math.abs(graph.share[e]) : 0), 1));
  const sum = parts.reduce((a, b) => a + b, 0);
  return members.map((i, k) => [i, sum > ROUNDING ? parts[k] / sum : 0]);
}

const level = (graph, { members, kind }) =>
  kind === TOKEN ? -1 : kind === OUTPUT ? 999 : members.reduce((sum, i) => sum + graph.layer[i], 0) / members.length;

const column = (graph, { members }) =>
  members.reduce((sum, i) => sum + (graph.position[i] + 0.5) / graph.tokens.length, 0) / members.length;

/** From the bottom up: tokens, then as many rows of inner units as fit, then outputs. */
function rowsOf(units, width, height) {
  const tokens = units.filter((unit) => unit.level < 0), outputs = units.filter((unit) => unit.level === 999);
  const inner = units.filter((unit) => unit.level >= 0 && unit.level < 999).sort((a, b) => a.level - b.level);
  const room = clamp(1, 7, Math.floor((height - 40) / ROW)) - (tokens.length > 0) - (outputs.length > 0);
  const levels = new Set(inner.map((unit) => unit.level)).size, middle = [];
  const across = Math.max(2, Math.min(Math.floor((width - 40) / BOX), Math.ceil(1.2 * Math.sqrt(inner.length))));
  const fitted = Math.ceil(inner.length / clamp(1, Math.max(1, room), Math.ceil(inner.length / across)));
  const size = levels <= room ? 1 : fitted; // a row a layer, where there is room for it
  for (const unit of inner) {
    const row = middle.at(-1);
    if (!row || (row.length >= size && row.at(-1).level !== unit.level)) middle.push([unit]);
    else row.push(unit);
  }
  return [tokens, ...middle, outputs].filter((row) => row.length);
}

/** Sort each row so that linked boxes stand above one another: three rounds of weighted means. */
function order(rows, links) {
  for (const row of rows) for (const unit of row) unit.at = unit.column;
  for (let round = 0; round < 3; round++) {
    for (const row of rows) {
      for (const unit of row) {
        let sum = 0.6 * unit.column, weight = 0.6;
        for (const { from, to, share } of links) {
          const other = from === unit ? to : to === unit ? from : null, w = 4 * Math.abs(share);
          if (other) [sum, weight] = [sum + w * other.at, weight + w];
        }
        unit.wish = sum / weight;
      }
      row.sort((a, b) => a.wish - b.wish).forEach((unit, k) => (unit.at = (k + 0.5) / row.length));
    }
  }
}
