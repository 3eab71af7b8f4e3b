/** Draws the layers of the stage: the ground with its faint links, the selection's links, and the hovered node. */

import { BIAS, OUTPUT, TOKEN } from "./graph.js";
import { Marks } from "./marks.js";

const BACKDROP = 1400; // links behind the graph: more is grey fog
const MOST_EDGES = 500, MOST_HOVERED = 60, FEW_EDGES = 40;
const BIAS_ALPHA = 0.4; // of a bias's link beside that of other nodes
const NARROW_COLUMN = 8; // pixels: below it lines between columns are a grey field
const SHADES = [[0, 0.15, 0.13], [0.15, 0.5, 0.06], [0.5, 1, 0.03]]; // from, to (of the strongest links), opacity

export class Painter {
  constructor(view, canvases) {
    this.view = view;
    this.canvases = canvases;
    [this.ground, this.front, this.glass] = canvases.map((canvas) => canvas.getContext("2d"));
    this.marks = new Marks(view, this.front);
  }

  measure = (text) => { this.front.font = `12px ${this.view.theme.font}`; return this.front.measureText(text).width; };

  resize(width, height) {
    this.dpr = Math.min(2, devicePixelRatio || 1);
    for (const canvas of this.canvases) [canvas.width, canvas.height] = [width * this.dpr, height * this.dpr];
  }

  /** The links worth a place behind the graph, chosen once per graph and layout. */
  chooseBackdrop() {
    const { graph } = this.view, worth = new Float32Array(graph.m);
    for (let e = 0; e < graph.m; e++) {
      const s = graph.source[e], t = graph.target[e];
      // the first token and the biases feed everything and hide it
      const sink = (graph.kind[s] === TOKEN && graph.position[s] === 0) || graph.kind[s] === BIAS;
      worth[e] = sink ? 0 : Math.abs(graph.share[e]) * (0.15 + graph.size[t] + (graph.kind[t] === OUTPUT ? 0.5 : 0));
    }
    this.backdrop = strongest(worth, BACKDROP);
  }

  all() { this.drawGround(); this.drawFront(); this.drawGlass(); }

  drawGround() {
    const c = this.#clear(this.ground), { view } = this, { layout, camera, graph, theme } = view;
    const right = layout.width - layout.gutter, floor = layout.height - layout.bottom;
    c.save();
    c.beginPath();
    c.rect(layout.left, 0, layout.width - layout.left, floor + 2);
    c.clip();
    c.fillStyle = theme.band;
    for (let l = 0; l < graph.n_layers; l += 2) {
      c.fillRect(layout.left, camera.atY(layout.rowTop[l]), right - layout.left, layout.rowHeight[l] * camera.k);
    }
    c.strokeStyle = theme.column;
    c.beginPath();
    const narrow = (layout.columnX.at(-1) - layout.left) * camera.k < NARROW_COLUMN * layout.columnX.length;
    for (const left of narrow ? [] : layout.columnX.slice(1)) {
      const x = Math.round(camera.atX(left)) + 0.5;
      c.moveTo(x, 0);
      c.lineTo(x, floor);
    }
    c.stroke();
    if (view.state.links) this.#drawBackdrop(c);
    c.restore();
    this.#drawAxis(c);
  }

  #drawBackdrop(c) {
    const { graph, visible, theme, selected } = this.view, n = this.backdrop.length;
    c.save();
    c.strokeStyle = theme.fg;
    c.lineWidth = 0.6;
    for (const [from, to, alpha] of SHADES) {
      c.globalAlpha = alpha * (selected >= 0 ? 0.38 : 1) * (theme.dark ? 1.3 : 1);
      c.beginPath();
      for (let k = Math.floor(from * n); k < to * n; k++) {
        const s = graph.source[this.backdrop[k]], t = graph.target[this.backdrop[k]];
        if (visible[s] && visible[t]) this.curve(c, s, t);
      }
      c.stroke();
    }
    c.restore();
  }

  #drawAxis(c) {
    const { layout, camera, graph, theme } = this.view, floor = layout.height - layout.bottom;
    c.fillStyle = theme.bg;
    c.fillRect(0, 0, layout.left, layout.height);
    Object.assign(c, { fillStyle: theme.faint, font: `10.5px ${theme.font}`, textAlign: "right", textBaseline: "middle" });
    const least = Math.min(...layout.rowHeight) * camera.k, step = least > 12 ? 1 : least > 6.5 ? 2 : 5;
    for (let l = 0; l < graph.n_layers; l += step) {
      const y = camera.atY(layout.rowTop[l] + layout.rowHeight[l] / 2);
      if (y > 6 && y < floor - 2) c.fillText(`L${l}`, layout.left - 8, y);
    }
  }

  drawFront() {
    const c = this.#clear(this.front), { related, theme, graph, selected } = this.view;
    const edges = [...related.edges].sort((a, b) => Math.abs(a[1]) - Math.abs(b[1])).slice(-MOST_EDGES);
    const faintest = edges.length > FEW_EDGES ? 0.08 : 0.3; // a few links can all be seen
    this.#clipped(c, () => {
      for (const [e, value] of edges) {
        const z = Math.min(1, Math.abs(value) / related.most);
        const s = graph.source[e], aside = graph.kind[s] === BIAS && s !== selected; // its link crosses the whole picture
        c.globalAlpha = (faintest + (0.85 - faintest) * z ** 0.75) * (aside ? BIAS_ALPHA : 1);
        c.lineWidth = 0.5 + (aside ? 1.2 : 3.6) * z ** 0.8;
        this.#edge(c, e, value > 0 ? theme.pos : theme.neg);
      }
    });
    this.marks.draw();
  }

  /** The hovered node with its strongest links, above everything. */
  drawGlass() {
    const c = this.#clear(this.glass), { view } = this, { graph, visible, theme, hovered: i, camera, layout } = view;
    if (i < 0) return;
    const edges = [...graph.inputs(i)].filter((e) => visible[graph.source[e]]);
    edges.push(...[...graph.outputs(i)].filter((e) => visible[graph.target[e]]));
    edges.sort((a, b) => Math.abs(graph.share[a]) - Math.abs(graph.share[b]));
    this.#clipped(c, () => {
      c.setLineDash([3, 2]);
      for (const e of i === view.selected ? [] : edges.slice(-MOST_HOVERED)) {
        const z = Math.min(1, Math.abs(graph.share[e]) / 0.3);
        c.globalAlpha = 0.12 + 0.6 * z;
        c.lineWidth = 0.6 + 2.4 * z;
        this.#edge(c, e, graph.effect[e] > 0 ? theme.pos : theme.neg);
      }
      c.setLineDash([]);
      c.globalAlpha = 1;
      if (graph.kind[i] === TOKEN || graph.kind[i] === OUTPUT) return;
      for (const same of graph.occurrences(i)) {
        if (!visible[same]) continue;
        c.beginPath();
        c.arc(camera.screenX(same), camera.screenY(same), layout.r[same] * camera.dot + 4, 0, 2 * Math.PI);
        Object.assign(c, { lineWidth: same === i ? 1.8 : 1.2, strokeStyle: theme.accent });
        c.stroke();
      }
    });
  }

  /** Add the curve from one node to another to the path. */
  curve(c, from, to) {
    const { camera, graph } = this.view, x1 = camera.screenX(from), x2 = camera.screenX(to), y2 = camera.screenY(to);
    const y1 = camera.screenY(from) - (graph.kind[from] === TOKEN ? 10 : 0);
    c.moveTo(x1, y1);
    if (graph.kind[to] === OUTPUT) {
      c.bezierCurveTo(x1, y1 - 0.5 * Math.abs(y1 - y2), x2 - 46, y2, x2 + 4, y2);
    } else {
      const bend = (y1 - y2) * 0.42;
      c.bezierCurveTo(x1, y1 - bend, x2, y2 + bend, x2, y2);
    }
  }

  #edge(c, e, colour) {
    c.strokeStyle = colour;
    c.beginPath();
    this.curve(c, this.view.graph.source[e], this.view.graph.target[e]);
    c.stroke();
  }

  #clear(c) {
    const { layout } = this.view;
    c.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    c.clearRect(0, 0, layout.width, layout.height);
    return c;
  }

  #clipped(c, draw) {
    const { layout } = this.view;
    c.save();
    c.beginPath();
    c.rect(layout.left, 0, layout.width - layout.left, layout.height);
    c.clip();
    draw();
    c.restore();
  }
}

/** Numbers of the k largest entries (each 0 to about 1), largest first, without sorting all of them. */
function strongest(values, k) {
  const bins = new Uint32Array(1024), bin = (v) => Math.min(1023, (v * 1024) | 0);
  for (const v of values) bins[bin(v)]++;
  let least = 1023;
  for (let kept = bins[1023]; least > 0 && kept + bins[least - 1] <= k; ) kept += bins[--least];
  const found = [];
  for (let e = 0; e < values.length; e++) if (values[e] > 0 && bin(values[e]) >= Math.max(0, least - 1)) found.push(e);
  return Uint32Array.from(found.sort((a, b) => values[b] - values[a]).slice(0, k));
}
