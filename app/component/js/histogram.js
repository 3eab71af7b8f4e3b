/** How many nodes each step of the influence slider adds, as bars above it. */

import { svg } from "./dom.js";
import { ERROR, FEATURE } from "./graph.js";

export const LEAST = 0.1; // where the slider begins
const BINS = 30, WIDTH = 96, HEIGHT = 13;

/** Number of features and errors by the part of all influence at which the slider takes them in. */
export function countByInfluence(graph) {
  const counts = new Array(BINS).fill(0);
  for (let i = 0; i < graph.n; i++) {
    if (graph.kind[i] !== FEATURE && graph.kind[i] !== ERROR) continue;
    counts[Math.max(0, Math.min(BINS - 1, Math.floor(((graph.cumulative[i] - LEAST) / (1 - LEAST)) * BINS)))]++;
  }
  return counts;
}

/** Bars as high as the logarithm of their count, so that the few at the start can be seen; those taken in are marked. */
export function histogram(counts, threshold) {
  const most = Math.log1p(Math.max(1, ...counts)), width = WIDTH / BINS;
  return svg("svg", { class: "histogram", width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...counts.map((count, k) => {
      const h = (HEIGHT * Math.log1p(count)) / most, on = LEAST + ((k + 0.5) / BINS) * (1 - LEAST) <= threshold;
      return svg("rect", { x: k * width, y: HEIGHT - h, width: width - 0.6, height: h, class: on ? "on" : null });
    }));
}
