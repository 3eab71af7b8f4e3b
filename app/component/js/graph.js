/** The graph as the browser holds it: columns by node, signed shares by edge, and both ways along the edges. */

import { visible } from "./text.js";

export const FEATURE = 0, ERROR = 1, TOKEN = 2, OUTPUT = 3, BIAS = 4; // the order of tracer.schema.NodeKind
export const KIND_NAMES = ["feature", "error", "token", "output", "bias"];
const UPPER_LAYERS = 0.55; // from here on an unlabelled feature is named by the output it writes to

export class Graph {
  /** Read "AGV1", the format of app/wire.py. Throws where the bytes are something else. */
  constructor(buffer) {
    const bytes = new Uint8Array(buffer);
    if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "AGV1") throw new Error("the answer is not a graph in AGV1");
    const start = 8 + new DataView(buffer).getUint32(4, true);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    Object.assign(this, header);
    this.reduced = header.n_edges > header.m;
    const { m } = header, Index = header.index === "<u2" ? Uint16Array : Uint32Array;
    this.effect = new Float32Array(buffer, start, m);
    this.share = new Float32Array(buffer, start + 4 * m, m).slice();
    this.source = new Index(buffer, start + 8 * m, m);
    this.target = new Index(buffer, start + 8 * m + Index.BYTES_PER_ELEMENT * m, m);
    for (let e = 0; e < m; e++) if (this.effect[e] < 0) this.share[e] = -this.share[e]; // from here on a share is signed
    this.#index();
    this.#rank();
    this.#name();
  }

  /** Every occurrence of the feature, or of the text, that this node is of. */
  occurrences(i) {
    this.#same ??= this.#bySameKey();
    return this.#same.get(this.sameKey(i)) ?? [i]; // an error is like no other
  }

  /** Edges into a node, and out of it. */
  inputs(i) { return this.#inEdges.subarray(this.#inStart[i], this.#inStart[i + 1]); }
  outputs(i) { return this.#outEdges.subarray(this.#outStart[i], this.#outStart[i + 1]); }

  /** What to call a node on screen. */
  name(i) {
    if (this.kind[i] === ERROR) return `error @ ${visible(this.tokens[this.position[i]] ?? "")}`;
    if (this.kind[i] !== FEATURE) return visible(this.label[i]);
    return this.label[i].trim() || `${this.hint[i]} #${this.dictionary_index[i]}`;
  }

  /** What to call a node that is not here, given as its columns. */
  nameOf({ kind, layer, position, label, dictionary_index }) {
    const token = visible(this.tokens[position] ?? "");
    return kind === ERROR ? `error @ ${token}` : label.trim() || (kind === FEATURE ? `@ ${token} #${dictionary_index}` : `${KIND_NAMES[kind]} ${layer}`);
  }

  /** The token a node stands at. */
  tokenAt(i) { return visible(this.tokens[this.position[i]] ?? ""); }

  /** What makes two occurrences the same thing: the feature, or the text of a token or output. */
  sameKey(i) {
    return this.kind[i] === FEATURE ? `${this.layer[i]}/${this.dictionary_index[i]}` : `${this.kind[i]}:${this.label[i].trim()}`;
  }

  rowsWhere(test) {
    const rows = [];
    for (let i = 0; i < this.n; i++) if (test(i)) rows.push(i);
    return rows;
  }

  #inStart; #inEdges; #outStart; #outEdges; #same;

  #bySameKey() {
    const rows = new Map();
    for (let i = 0; i < this.n; i++) {
      if (this.kind[i] === ERROR) continue;
      const key = this.sameKey(i);
      rows.has(key) ? rows.get(key).push(i) : rows.set(key, [i]);
    }
    return rows;
  }

  #index() {
    const { n, m, source, target } = this;
    [this.#inStart, this.#inEdges] = grouped(target, n, m);
    [this.#outStart, this.#outEdges] = grouped(source, n, m);
    this.shown = new Float32Array(n); // share of a node's input that the edges at hand account for
    for (let e = 0; e < m; e++) this.shown[target[e]] += Math.abs(this.share[e]);
    this.rowOf = new Map(this.node_id.map((id, i) => [id, i]));
    // an edge goes to a higher layer, only from a bias also within its layer
    this.depth = Float32Array.from(this.layer, (layer, i) => (this.kind[i] === BIAS ? layer - 0.5 : layer));
    this.upward = Uint32Array.from({ length: n }, (_, i) => i).sort((a, b) => this.depth[a] - this.depth[b]);
  }

  #rank() {
    const { n, kind, influence } = this;
    this.tokenRow = new Map(this.rowsWhere((i) => kind[i] === TOKEN).map((i) => [this.position[i], i]));
    this.biasRows = this.rowsWhere((i) => kind[i] === BIAS);
    this.outputRows = this.rowsWhere((i) => kind[i] === OUTPUT).sort((a, b) => this.probability[b] - this.probability[a]);
    const explained = this.rowsWhere((i) => kind[i] === FEATURE && this.probability[i] > 0);
    this.goalRows = this.outputRows.length ? this.outputRows : explained; // what the graph explains
    const inner = this.rowsWhere((i) => kind[i] === FEATURE || kind[i] === ERROR).sort((a, b) => influence[b] - influence[a]);
    const total = inner.reduce((sum, i) => sum + influence[i], 0) || 1;
    const largest = Math.max(1e-9, ...inner.filter((i) => kind[i] === FEATURE).slice(0, 1).map((i) => influence[i]));
    this.cumulative = new Float32Array(n); // share of all influence in this node and the more influential ones
    this.size = new Float32Array(n); // 0 to 1, for drawing
    let sum = 0;
    for (const i of inner) {
      sum += influence[i];
      this.cumulative[i] = sum / total;
      this.size[i] = Math.sqrt(Math.min(1, influence[i] / largest));
    }
  }

  #name() {
    const best = new Int32Array(this.n).fill(-1); // the edge by which a node promotes an output most
    for (const o of this.outputRows) {
      for (const e of this.inputs(o)) {
        const s = this.source[e];
        if (this.effect[e] > 0 && (best[s] < 0 || this.effect[e] > this.effect[best[s]])) best[s] = e;
      }
    }
    this.hint = this.label.map((_, i) => {
      if (this.kind[i] !== FEATURE) return "";
      const upper = best[i] >= 0 && this.layer[i] > this.n_layers * UPPER_LAYERS;
      return upper ? `→ ${visible(this.label[this.target[best[i]]])}` : `@ ${this.tokenAt(i)}`;
    });
  }
}

/** Edge numbers sorted by their end, with the place where each node's edges start. */
function grouped(ends, n, m) {
  const start = new Uint32Array(n + 1);
  for (let e = 0; e < m; e++) start[ends[e] + 1]++;
  for (let i = 0; i < n; i++) start[i + 1] += start[i];
  const next = start.slice(), edges = new Uint32Array(m);
  for (let e = 0; e < m; e++) edges[next[ends[e]]++] = e;
  return [start, edges];
}
