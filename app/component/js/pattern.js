/** The strongest way through a circuit, written as a pattern that finds it in other graphs: see circuits/pattern.py. */

import { FEATURE, OUTPUT, TOKEN } from "./graph.js";

/**
 * Of the ways along these links from a token to an output with a box between them, the one with the largest product of
 * shares, as `Dallas -> supernode:Texas -> Austin`. Null where there is none.
 */
export function patternOf(graph, units, links) {
  const into = new Map(units.map((unit) => [unit, []]));
  for (const link of links) if (link.from.level < link.to.level) into.get(link.to).push(link);
  const best = new Map(); // unit -> the best way from a token that ends there: [strength, units]
  for (const unit of [...units].sort((a, b) => a.level - b.level)) {
    const ways = unit.kind === TOKEN ? [[1, [unit]]] : into.get(unit).map((link) => further(best.get(link.from), link, unit)).filter(Boolean);
    best.set(unit, strongest(ways));
  }
  const ends = units.filter((unit) => unit.kind === OUTPUT).map((unit) => best.get(unit)).filter(Boolean);
  return strongest(ends)?.[1].map((unit) => waypoint(graph, unit)).join(" -> ") ?? null;
}

function further(way, link, unit) {
  const direct = unit.kind === OUTPUT && way?.[1].length < 2; // says nothing of how
  return way && !direct ? [way[0] * Math.abs(link.share), [...way[1], unit]] : null;
}

const strongest = (ways) => ways.reduce((best, way) => (best && best[0] >= way[0] ? best : way), null);

/** What a box asks for: the label of all its members, a stored supernode, the text of a token or output, or a feature. */
function waypoint(graph, { members, group, name }) {
  const [first] = members, label = graph.label[first].trim(), alike = members.every((i) => graph.label[i].trim() === label);
  if (group && !alike && graph.supernodes.some((stored) => stored.name === group.name)) return `supernode:${quoted(name)}`;
  if (graph.kind[first] !== FEATURE) return quoted(label) ?? `@pos:${graph.position[first]}`;
  return (group ? quoted(label) : null) ?? `${graph.layer[first]}/${graph.dictionary_index[first]}`;
}

/** Words stand as they are, what has a meaning in a pattern in quotes; null for nothing. */
const quoted = (text) => (!text ? null : /^[\p{L}\p{N}][\p{L}\p{N} ]*$/u.test(text) && !/^(error|bias)$/i.test(text) ? text : `"${text.replaceAll('"', "")}"`);
