/** Draws what stands on the stage: dots and diamonds, token chips, output bars, and labels where they fit. */

import { BIAS, ERROR, FEATURE, OUTPUT, TOKEN } from "./graph.js";
import { cut, percent, visible as seen } from "./text.js";
import { mix } from "./theme.js";

const WEAK = 0.05; // of the strongest relation: below it a node stays grey
const LABELS = 16, LABEL_LENGTH = 26;
const NARROW = 14, WIDE = 72; // pixels: a column without room for a word; a chip that may cover its neighbours

export class Marks {
  constructor(view, context) { this.view = view; this.c = context; }

  draw() {
    this.#dots();
    this.#tokens();
    this.#outputs();
    if (this.view.state.labels) this.#labels();
  }

  /** Opacity, colour, ring and weight of a node under the present selection, pins and matches. */
  emphasis(i) {
    const { view } = this, { theme, related, selected, pinned, matches } = view;
    const o = { alpha: 1, fill: null, ring: pinned.has(i) ? theme.pin : null, weight: 0, strong: pinned.has(i) };
    const value = related.of.get(i);
    if (i === selected) Object.assign(o, { ring: theme.accent, strong: true });
    else if (selected >= 0 && value != null) {
      const weight = Math.min(1, Math.abs(value) / related.most);
      if (weight < WEAK) o.alpha = 0.42;
      else Object.assign(o, { weight, fill: value > 0 ? theme.pos : theme.neg, strong: o.strong || weight > 0.3 });
    } else if (selected >= 0 && !o.ring) o.alpha = view.graph.kind[i] === TOKEN || view.graph.kind[i] === OUTPUT ? 0.5 : 0.22;
    if (matches?.has(i)) Object.assign(o, { ring: theme.accent, alpha: 1, strong: true });
    else if (matches?.size && !o.ring) o.alpha *= 0.5;
    return o;
  }

  #dots() {
    const { c, view } = this, { graph, layout, visible } = view, later = [];
    c.save();
    c.beginPath();
    c.rect(layout.left, 0, layout.width - layout.left - layout.gutter + 2, layout.height - layout.bottom + 2);
    c.clip();
    for (let i = 0; i < graph.n; i++) {
      if (!visible[i] || graph.kind[i] === TOKEN || graph.kind[i] === OUTPUT) continue;
      const o = this.emphasis(i);
      if (o.ring || o.fill) later.push([i, o]);
      else this.#dot(i, o);
    }
    for (const [i, o] of later.sort((a, b) => a[1].weight - b[1].weight)) this.#dot(i, o);
    c.restore();
  }

  #dot(i, o) {
    const { c, view } = this, { graph, camera, theme, layout } = view, x = camera.screenX(i), y = camera.screenY(i);
    const r = Math.max(layout.r[i], o.weight ? 2.6 + 2.6 * o.weight : 0) * camera.dot;
    c.beginPath();
    if (graph.kind[i] === ERROR) {
      const d = r * 1.15;
      c.globalAlpha = o.fill || o.ring ? o.alpha : 0.55 * o.alpha;
      [[0, -d], [d, 0], [0, d], [-d, 0]].forEach(([dx, dy]) => c.lineTo(x + dx, y + dy));
      c.closePath();
      c.fillStyle = o.fill ? mix(theme.bg, o.fill, 0.25 + 0.75 * o.weight) : theme.bg;
    } else if (graph.kind[i] === BIAS) {
      c.globalAlpha = o.alpha;
      c.rect(x - r, y - r, 2 * r, 2 * r);
      c.fillStyle = o.fill ? mix(theme.bg, o.fill, 0.28 + 0.72 * o.weight) : theme.bg;
    } else {
      c.globalAlpha = o.alpha;
      c.arc(x, y, r, 0, 2 * Math.PI);
      const own = mix(theme.bg, view.facing.colourOf(i, theme) ?? theme.node, 0.22 + 0.6 * graph.size[i]);
      c.fillStyle = o.fill ? mix(theme.bg, o.fill, 0.28 + 0.72 * o.weight) : own;
    }
    c.fill();
    c.lineWidth = o.ring ? 2.1 : graph.kind[i] === ERROR ? 1 : 0.8;
    c.strokeStyle = o.ring ?? o.fill ?? (graph.kind[i] === ERROR ? theme.faint : mix(theme.bg, view.facing.colourOf(i, theme) ?? theme.node, 0.75));
    c.stroke();
    if (o.ring && graph.kind[i] === FEATURE) {
      c.globalAlpha *= 0.45;
      c.lineWidth = 1;
      c.beginPath();
      c.arc(x, y, r + 2.7, 0, 2 * Math.PI);
      c.stroke();
    }
    c.globalAlpha = 1;
  }

  #tokens() {
    const { c, view } = this, { graph, layout, camera, theme } = view, y = layout.height - layout.bottom + 20;
    c.save();
    c.beginPath();
    c.rect(layout.left, layout.height - layout.bottom + 2, layout.width - layout.left - layout.gutter + 2, layout.bottom);
    c.clip();
    c.fillStyle = theme.bg;
    c.fillRect(layout.left, layout.height - layout.bottom + 2, layout.width, layout.bottom);
    Object.assign(c, { textAlign: "center", textBaseline: "middle" });
    let free = -Infinity; // right end of the last chip that was let out of its narrow column
    graph.tokens.forEach((token, position) => {
      const i = graph.tokenRow.get(position), room = layout.columnWidth[position] * camera.k;
      const x = camera.atX(layout.columnX[position] + layout.columnWidth[position] / 2);
      if (room >= NARROW) return this.#chip(i, token, x, y, room);
      this.#tick(i, x, y, room);
      if (i == null || !this.emphasis(i).strong || x - WIDE / 2 < free) return;
      this.#chip(i, token, x, y, WIDE);
      free = x + WIDE / 2;
    });
    c.restore();
  }

  /** A token of a long prompt: a mark in the colour that its chip would have. */
  #tick(i, x, y, room) {
    const { c, view } = this, o = i == null ? { alpha: 0.4 } : this.emphasis(i);
    c.globalAlpha = o.alpha;
    c.fillStyle = o.ring ?? (o.fill ? mix(view.theme.bg, o.fill, 0.3 + 0.7 * o.weight) : view.theme.line);
    c.fillRect(x - room * 0.35, y - 6, Math.max(1, room * 0.7), 12);
    c.globalAlpha = 1;
  }

  /** One token; without a node of its own (nothing of it was kept) it is plain grey text. */
  #chip(i, token, x, y, room) {
    const { c, view } = this, { theme } = view, o = i == null ? null : this.emphasis(i);
    c.font = `${o?.strong ? 650 : 500} 12px ${theme.font}`;
    const text = this.#fitted(seen(token), room - 8), width = Math.min(Math.max(c.measureText(text).width + 12, 18), room - 1);
    if (o) {
      c.globalAlpha = o.alpha;
      c.fillStyle = o.fill ? mix(theme.bg, o.fill, 0.1 + 0.8 * o.weight) : theme.panel;
      c.beginPath();
      c.roundRect(x - width / 2, y - 10, width, 20, 5);
      c.fill();
      if (o.ring) { Object.assign(c, { strokeStyle: o.ring, lineWidth: 1.8 }); c.stroke(); }
    }
    c.fillStyle = !o ? theme.faint : o.fill && o.weight > 0.55 ? "#fff" : theme.fg;
    c.fillText(text, x, y + 0.5);
    c.globalAlpha = 1;
  }

  #outputs() {
    const { c, view } = this, { graph, layout, theme } = view, x = layout.width - layout.gutter;
    c.fillStyle = theme.bg;
    c.fillRect(x + 1, 0, layout.gutter, layout.height);
    Object.assign(c, { fillStyle: theme.muted, font: `600 11px ${theme.font}`, textAlign: "left", textBaseline: "middle" });
    c.fillText(graph.target === "log-odds" ? "Output (log-odds)" : "Output", x + 14, layout.top + 12);
    const most = Math.max(1e-9, ...graph.outputRows.map((i) => graph.probability[i] ?? 0));
    for (const i of graph.outputRows) this.#output(i, x + 14, layout.gutter - 24, most);
  }

  #output(i, x, width, most) {
    const { c, view } = this, { graph, layout, theme } = view, y = layout.y[i], o = this.emphasis(i), p = graph.probability[i];
    const box = () => { c.beginPath(); c.roundRect(x, y - 9, width, 18, 4); };
    c.globalAlpha = o.alpha;
    c.fillStyle = theme.panel;
    box();
    c.fill();
    c.save();
    c.clip();
    c.globalAlpha = o.alpha * (o.fill ? 0.3 + 0.4 * o.weight : 0.28);
    c.fillStyle = o.fill ?? theme.accent;
    c.fillRect(x, y - 9, Math.max(2, (width * (p ?? 0)) / most), 18);
    c.restore();
    c.globalAlpha = o.alpha;
    if (o.ring) { Object.assign(c, { strokeStyle: o.ring, lineWidth: 1.8 }); box(); c.stroke(); }
    Object.assign(c, { fillStyle: theme.fg, font: `${o.strong ? 650 : 500} 12px ${theme.font}`, textAlign: "left" });
    c.fillText(this.#fitted(seen(graph.label[i]), width - 48), x + 6, y + 0.5);
    Object.assign(c, { fillStyle: theme.muted, font: `10.5px ${theme.font}`, textAlign: "right" });
    if (p != null) c.fillText(percent(p), x + width - 5, y + 0.5);
    c.globalAlpha = 1;
  }

  #fitted(text, room) {
    if (this.c.measureText(text).width <= room) return text;
    let length = text.length - 1;
    while (length > 1 && this.c.measureText(text.slice(0, length) + "…").width > room) length--;
    return room < 14 ? text.slice(0, 1) : text.slice(0, length) + "…";
  }

  /** Names, the most relevant first, each at the first of four places where it covers no other. */
  #labels() {
    const { c, view } = this, { graph, camera, theme, pinned, selected } = view, boxes = [];
    const most = LABELS + 20 * (camera.k - 1);
    Object.assign(c, { textAlign: "left", textBaseline: "middle", lineJoin: "round" });
    for (const i of this.#labelled()) {
      if (boxes.length >= most) break;
      const strong = i === selected || pinned.has(i);
      c.font = `${strong ? 650 : 500} 11px ${theme.font}`;
      const text = cut(graph.name(i), LABEL_LENGTH), place = this.#placeFor(i, c.measureText(text).width, boxes);
      if (!place) continue;
      Object.assign(c, { lineWidth: 3.5, strokeStyle: theme.bg, globalAlpha: 0.92 });
      c.strokeText(text, ...place);
      c.globalAlpha = 1;
      c.fillStyle = strong ? theme.fg : theme.muted;
      c.fillText(text, ...place);
    }
  }

  #labelled() {
    const { graph, visible, matches, pinned, selected, related } = this.view, worth = new Map();
    const offer = (i, value) => worth.set(i, Math.max(value, worth.get(i) ?? 0));
    for (const i of matches ?? []) offer(i, 3);
    for (const i of pinned) offer(i, 2.5);
    if (selected >= 0) {
      offer(selected, 9);
      for (const [i, value] of related.of) if (graph.kind[i] === FEATURE) offer(i, Math.abs(value) / related.most);
    } else {
      for (let i = 0; i < graph.n; i++) {
        if (graph.kind[i] === FEATURE && (graph.label[i] || graph.size[i] > 0.55)) offer(i, graph.size[i] + (graph.label[i] ? 0.5 : 0));
      }
    }
    const dots = [...worth.keys()].filter((i) => visible[i] && graph.kind[i] !== TOKEN && graph.kind[i] !== OUTPUT);
    return dots.sort((a, b) => worth.get(b) - worth.get(a)).slice(0, 400);
  }

  #placeFor(i, width, boxes) {
    const { camera, layout } = this.view, x = camera.screenX(i), y = camera.screenY(i), r = layout.r[i] * camera.dot + 5;
    for (const [px, py] of [[x + r, y], [x - r - width, y], [x - width / 2, y - r - 7], [x - width / 2, y + r + 7]]) {
      const [x1, y1, x2, y2] = [px - 2, py - 7, px + width + 2, py + 7];
      const outside = x1 < layout.left || x2 > layout.width - layout.gutter + 4 || y1 < 0 || y2 > layout.height - layout.bottom;
      if (outside || boxes.some((b) => b[0] < x2 && b[2] > x1 && b[1] < y2 && b[3] > y1)) continue;
      boxes.push([x1, y1, x2, y2]);
      return [px, py];
    }
    return null;
  }
}
