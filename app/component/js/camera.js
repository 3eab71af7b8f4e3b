/** Zoom and pan: from stage pixels to screen pixels. Outputs stay in their gutter, tokens on their line. */

import { fixedX, fixedY } from "./layout.js";
import { clamp } from "./text.js";

const MOST = 12; // times

export class Camera {
  k = 1; x = 0; y = 0;

  /** Look at this layout of this graph from now on. */
  attach(graph, layout) { this.graph = graph; this.layout = layout; this.#bound(); }
  reset() { this.k = 1; this.x = this.y = 0; }

  screenX(i) { const x = this.layout.x[i]; return fixedX(this.graph.kind[i]) ? x : x * this.k + this.x; }
  screenY(i) { const y = this.layout.y[i]; return fixedY(this.graph.kind[i]) ? y : y * this.k + this.y; }
  atX(x) { return x * this.k + this.x; }
  atY(y) { return y * this.k + this.y; }
  /** How much larger dots get: slower than the distance between them, so that zooming separates them. */
  get dot() { return Math.min(2.4, Math.sqrt(this.k)); }

  zoom(factor, x = this.layout.width / 2, y = this.layout.height / 2) {
    const k = clamp(1, MOST, this.k * factor), ratio = k / this.k;
    this.x = x - (x - this.x) * ratio;
    this.y = y - (y - this.y) * ratio;
    this.k = k;
    this.#bound();
  }

  pan(x, y) { this.x = x; this.y = y; this.#bound(); }

  /** Never away from the graph. */
  #bound() {
    const { width, height, left, gutter, bottom } = this.layout, right = width - gutter, floor = height - bottom;
    this.x = clamp(right * (1 - this.k), left * (1 - this.k), this.x);
    this.y = clamp(floor * (1 - this.k), 0, this.y);
  }
}
