/** Which node is under the pointer: the nearest within reach, by a grid, so that hovering costs nothing. */

import { ERROR, FEATURE } from "./graph.js";

const CELL = 16; // pixels of the layout
const REACH = 30; // pixels on screen

export class HitIndex {
  constructor(graph, layout, camera) {
    Object.assign(this, { graph, layout, camera, cells: new Map() });
    for (let i = 0; i < graph.n; i++) {
      if (graph.kind[i] !== FEATURE && graph.kind[i] !== ERROR) continue;
      const key = this.#key(layout.x[i], layout.y[i]);
      if (!this.cells.has(key)) this.cells.set(key, []);
      this.cells.get(key).push(i);
    }
  }

  /** The row of the node at these stage coordinates, or -1. */
  find(x, y, visible) {
    const { layout } = this;
    if (x > layout.width - layout.gutter + 10) return this.#output(y);
    if (y > layout.height - layout.bottom + 5) return this.#token(x);
    return this.#bias(x, y) ?? this.#dot(x, y, visible);
  }

  #output(y) { return this.graph.outputRows.find((i) => Math.abs(this.layout.y[i] - y) < 10) ?? -1; }

  #bias(x, y) {
    return this.graph.biasRows.find((i) => Math.hypot(this.camera.screenX(i) - x, this.camera.screenY(i) - y) < 8);
  }

  #token(x) {
    const { columnX, columnWidth } = this.layout;
    const at = columnX.findIndex((left, c) => x >= this.camera.atX(left) && x < this.camera.atX(left + columnWidth[c]));
    return this.graph.tokenRow.get(at) ?? -1;
  }

  #dot(x, y, visible) {
    const { camera } = this, reach = REACH / camera.k, cx = (x - camera.x) / camera.k, cy = (y - camera.y) / camera.k;
    let best = -1, distance = REACH;
    for (let gy = Math.floor((cy - reach) / CELL); gy <= (cy + reach) / CELL; gy++) {
      for (let gx = Math.floor((cx - reach) / CELL); gx <= (cx + reach) / CELL; gx++) {
        for (const i of this.cells.get(gx * 4096 + gy) ?? []) {
          const d = visible[i] ? Math.hypot(camera.screenX(i) - x, camera.screenY(i) - y) : Infinity;
          if (d < distance) [best, distance] = [i, d];
        }
      }
    }
    return best;
  }

  #key(x, y) { return Math.floor(x / CELL) * 4096 + Math.floor(y / CELL); }
}
