/** What the selection has to do with every other node, and which edges to draw for it, under the chosen mode. */

import { trace } from "./trace.js";

const FULL_COLOUR = 0.35; // a share from which on colour no longer grows
const PATH_WORTH_SHOWING = 0.012; // of influence over all paths
const PINS_ALONE = 0.3;

/** `{ of: Map node -> signed value, edges: [[edge, value]], most, total: the sums over all paths or null }`. */
export function relations(graph, { selected, mode, pinned, visible }) {
  const found = { of: new Map(), edges: [], most: PINS_ALONE, total: null };
  if (selected < 0 || mode === "pinned") found.edges = betweenPins(graph, pinned);
  if (selected < 0) return found;
  if (mode === "paths") relateByPaths(graph, selected, visible, found);
  else relateDirectly(graph, selected, visible, mode === "pinned" ? pinned : null, found);
  let most = 1e-6;
  for (const value of found.of.values()) most = Math.max(most, Math.abs(value));
  found.most = Math.min(most, FULL_COLOUR);
  return found;
}

/** Edges from one pinned node to another, with their shares. */
export function betweenPins(graph, pinned) {
  const edges = [];
  for (const i of pinned) {
    for (const e of graph.outputs(i)) if (pinned.has(graph.target[e])) edges.push([e, graph.share[e]]);
  }
  return edges;
}

function relateDirectly(graph, selected, visible, only, found) {
  const relate = (e, other) => {
    if (!visible[other] || (only && !only.has(other))) return;
    found.of.set(other, graph.share[e]);
    if (!only) found.edges.push([e, graph.share[e]]);
  };
  for (const e of graph.inputs(selected)) relate(e, graph.source[e]);
  for (const e of graph.outputs(selected)) relate(e, graph.target[e]);
}

function relateByPaths(graph, selected, visible, found) {
  found.total = trace(graph, selected, visible);
  found.edges = found.total.edges;
  const { up, down } = found.total;
  for (let i = 0; i < graph.n; i++) {
    if (i === selected || !visible[i]) continue;
    const value = Math.abs(up[i]) > Math.abs(down[i]) ? up[i] : down[i];
    if (Math.abs(value) > PATH_WORTH_SHOWING) found.of.set(i, value);
  }
}

/** Nodes one may see: tokens, outputs and pins always, the rest by influence and by the error switch. */
export function visibleNodes(graph, { thr, err }, pinned) {
  const ERROR = 1, visible = new Uint8Array(graph.n);
  for (let i = 0; i < graph.n; i++) {
    const end = graph.kind[i] > ERROR, passes = thr >= 1 || graph.cumulative[i] <= thr;
    visible[i] = end || pinned.has(i) || (passes && (err || graph.kind[i] !== ERROR)) ? 1 : 0;
  }
  return visible;
}
