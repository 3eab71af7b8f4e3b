/** Two graphs side by side: what one has and the other lacks, and one selection for both. */

import { ERROR, FEATURE } from "./graph.js";
import { loadGraph } from "./loader.js";

const linked = new Set(); // the views on this page that follow each other

export class Facing {
  constructor(view) { this.view = view; this.marked = new Set(); }

  /** Look up the other graph; a view that has none is on its own. */
  async load({ facing, colour, by }) {
    this.marked.clear();
    linked[facing ? "add" : "delete"](this);
    if (!facing) return;
    Object.assign(this, { colour, by });
    const other = await loadGraph(facing), there = new Set(Array.from({ length: other.n }, (_, i) => keyOf(other, i, by)));
    const { graph } = this.view;
    for (let i = 0; i < graph.n; i++) {
      const key = keyOf(graph, i, by);
      if (key != null && !there.has(key)) this.marked.add(i);
    }
  }

  /** The colour of a node that only this graph has, else null. */
  colourOf(i, theme) { return this.marked.has(i) ? theme[this.colour] : null; }

  /** The person selected a node here, or nothing. */
  tell(i) {
    if (!linked.has(this)) return;
    const key = i < 0 ? null : keyOf(this.view.graph, i, this.by);
    for (const other of linked) if (other !== this) other.#follow(key, i < 0 ? "" : this.view.graph.name(i));
  }

  stop() { linked.delete(this); }

  #follow(key, name) {
    const { view } = this, { graph } = view;
    if (!graph) return;
    const rows = key == null ? [] : graph.rowsWhere((i) => keyOf(graph, i, this.by) === key);
    const row = rows.sort((a, b) => graph.influence[b] - graph.influence[a])[0] ?? -1;
    view.show(row);
    view.notice(name && row < 0 ? `“${name}” is not in this graph` : "");
  }
}

/** What makes nodes of two graphs the same, as in circuits/aligned.py; null for what has no name. */
function keyOf(graph, i, by) {
  if (graph.kind[i] === ERROR) return null;
  const label = graph.label[i].trim().replace(/\s+/g, " ");
  const key = graph.kind[i] !== FEATURE ? `${graph.kind[i]}:${label}` : by === "label" ? label || null : `${graph.layer[i]}/${graph.dictionary_index[i]}`;
  if (key == null || graph.position[i] < 0) return key;
  return by === "position" ? `${key}@${graph.position[i]}` : by === "position-from-end" ? `${key}@${graph.position[i] - graph.tokens.length}` : key;
}
