/** Influence over all paths to and from one node, by one pass each way in the order of layers. */

const NEGLIGIBLE = 1e-5; // a product of shares below this carries nothing one could see
const DRAWN = 2e-3; // edges that carry less are not worth a line
const MOST_EDGES = 160;

/**
 * Sums over all paths of the products of signed shares along them, through visible nodes only.
 * Returns `up` (from each node into `i`), `down` (from `i` into each node) and the edges that carry most.
 */
export function trace(graph, i, visible) {
  const { n, source, target, share, upward } = graph;
  const up = new Float64Array(n), down = new Float64Array(n), carried = new Map();
  up[i] = down[i] = 1;
  for (let k = n - 1; k >= 0; k--) {
    const t = upward[k];
    if (Math.abs(up[t]) > NEGLIGIBLE) for (const e of graph.inputs(t)) pass(e, t, source[e], up);
  }
  for (let k = 0; k < n; k++) {
    const s = upward[k];
    if (Math.abs(down[s]) > NEGLIGIBLE) for (const e of graph.outputs(s)) pass(e, s, target[e], down);
  }
  function pass(e, from, to, sums) {
    if (!visible[to]) return;
    const flow = sums[from] * share[e];
    sums[to] += flow;
    if (Math.abs(flow) > DRAWN) carried.set(e, flow);
  }
  const edges = [...carried].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST_EDGES);
  return { up, down, edges };
}
