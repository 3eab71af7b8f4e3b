/** A first circuit for an output: the nodes that carry most of its influence over all paths. */

import { FEATURE } from "./graph.js";
import { trace } from "./trace.js";

const FEATURES = 14, TOKENS = 4;
const LABELLED = 2.2; // a node one can read counts for more than one that is a number

/** Rows to pin: tokens, features and the output itself. */
export function suggest(graph, output, visible) {
  const { up } = trace(graph, output, visible), worth = (i) => up[i] * (graph.label[i] ? LABELLED : 1);
  const features = graph.rowsWhere((i) => visible[i] && graph.kind[i] === FEATURE && up[i] > 0);
  const tokens = [...graph.tokenRow].filter(([position]) => position > 0).map(([, i]) => i);
  return [
    ...tokens.sort((a, b) => Math.abs(up[b]) - Math.abs(up[a])).slice(0, TOKENS),
    ...features.sort((a, b) => worth(b) - worth(a)).slice(0, FEATURES),
    output,
  ];
}
