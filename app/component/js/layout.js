/** Where everything stands: token columns, layer rows, outputs in a gutter, and each node inside its cell. */

import { BIAS, ERROR, FEATURE, OUTPUT, TOKEN } from "./graph.js";
import { clamp, visible } from "./text.js";

const LEFT = 40, TOP = 12, BOTTOM = 42, GUTTER = 130; // pixels: layer names, air, token chips, outputs
const WIDEST_CHIP = 84, LANE = 9, LABEL_LANE = 17, DOT_STEP = 15, WIDE_STEP = 64;

/** Positions in stage pixels (before zoom) of all nodes, columns and rows. `measure(text)` gives a width in pixels. */
export function layoutGraph(graph, width, height, measure) {
  const cells = cellsOf(graph);
  const columns = columnsOf(graph, cells, width - LEFT - GUTTER - 10, measure);
  const rows = rowsOf(graph, cells, columns, height - TOP - BOTTOM, height - BOTTOM - 2);
  const place = { x: new Float32Array(graph.n), y: new Float32Array(graph.n), r: new Float32Array(graph.n) };
  for (const cell of cells.values()) placeCell(graph, cell, columns, rows, place);
  placeEnds(graph, columns, width, height, place);
  placeBiases(graph, rows, height, place);
  return { width, height, left: LEFT, top: TOP, bottom: BOTTOM, gutter: GUTTER, ...columns, ...rows, ...place };
}

/** Features and errors by token and layer, the most influential first. */
function cellsOf(graph) {
  const cells = new Map();
  for (let i = 0; i < graph.n; i++) {
    if (graph.kind[i] !== FEATURE && graph.kind[i] !== ERROR) continue;
    const key = graph.position[i] * 1000 + graph.layer[i];
    if (!cells.has(key)) cells.set(key, { column: graph.position[i], row: graph.layer[i], nodes: [] });
    cells.get(key).nodes.push(i);
  }
  for (const cell of cells.values()) cell.nodes.sort((a, b) => graph.size[b] - graph.size[a] || a - b);
  return cells;
}

/** Every column gets the width of its chip; what is left over goes where the nodes are, and the influence. */
function columnsOf(graph, cells, available, measure) {
  const k = graph.tokens.length, widest = new Float64Array(k), total = new Float64Array(k), influence = new Float64Array(k);
  for (const cell of cells.values()) {
    widest[cell.column] = Math.max(widest[cell.column], cell.nodes.length ** 0.62);
    total[cell.column] += cell.nodes.length;
    for (const i of cell.nodes) influence[cell.column] += graph.influence[i];
  }
  const most = Math.max(1e-9, ...influence);
  const wish = widest.map((w, c) => (0.9 * w + 0.75 * Math.sqrt(total[c])) * (0.4 + influence[c] / most));
  const chip = graph.tokens.map((token) => Math.min(WIDEST_CHIP, measure(visible(token)) + 18));
  const needed = chip.reduce((a, b) => a + b, 0), wished = wish.reduce((a, b) => a + b, 0) || 1;
  const squeeze = Math.min(1, available / needed), free = Math.max(0, available - needed);
  const columnWidth = chip.map((w, c) => w * squeeze + (free * wish[c]) / wished);
  let x = LEFT;
  const columnX = columnWidth.map((w) => (x += w) - w);
  return { columnX, columnWidth };
}

/** Rows from the bottom up; a crowded one gets more height. */
function rowsOf(graph, cells, { columnWidth }, available, floor) {
  const need = new Float64Array(graph.n_layers).fill(1);
  for (const { column, row, nodes } of cells.values()) {
    need[row] = Math.max(need[row], Math.min(3.2, (nodes.length * 8) / Math.max(20, columnWidth[column] - 10)));
  }
  const weight = need.map((v) => 0.62 + 0.38 * v + (v > 1 ? 0.25 : 0)), sum = weight.reduce((a, b) => a + b, 0);
  const rowHeight = [...weight].map((w) => (available * w) / sum);
  let y = floor;
  return { rowHeight, rowTop: rowHeight.map((h) => (y -= h)) };
}

/** Dots of one cell in as many lanes as its height has room for and its width makes necessary. */
function placeCell(graph, { column, row, nodes }, { columnX, columnWidth }, { rowTop, rowHeight }, place) {
  const width = columnWidth[column] - 8, height = rowHeight[row] * 0.86, most = Math.max(1, Math.floor(height / 5.5));
  const airy = Math.min(Math.floor(height / LABEL_LANE), nodes.length); // few layers: room for a label beside each dot
  let lanes = Math.max(1, airy);
  while (lanes < most && (width * lanes) / nodes.length < 9) lanes++;
  const perLane = Math.ceil(nodes.length / lanes), step = Math.min(airy > 1 ? WIDE_STEP : DOT_STEP, width / Math.max(1, perLane));
  const between = airy > 1 ? height / lanes : Math.min(Math.max(LANE, Math.min(13, step)), height / lanes);
  const tight = graph.n > 3000 ? 0.72 : graph.n > 1400 ? 0.85 : graph.n < 250 ? 1.2 : 1;
  nodes.forEach((i, j) => {
    const lane = j % lanes, inLane = Math.ceil((nodes.length - lane) / lanes), at = Math.floor(j / lanes);
    const stagger = lane % 2 ? step / 4 : 0;
    place.x[i] = columnX[column] + columnWidth[column] / 2 + (at - (inLane - 1) / 2) * step + stagger;
    place.y[i] = rowTop[row] + rowHeight[row] / 2 + (lane - (lanes - 1) / 2) * between;
    place.r[i] = (graph.kind[i] === FEATURE ? 2.4 + 3.9 * graph.size[i] : 2.7) * tight;
  });
}

function placeEnds(graph, { columnX, columnWidth }, width, height, place) {
  const step = clamp(14, 22, (height - BOTTOM - 60) / Math.max(1, graph.outputRows.length));
  graph.outputRows.forEach((i, j) => {
    place.x[i] = width - GUTTER + 8;
    place.y[i] = TOP + 36 + j * step;
    place.r[i] = 8;
  });
  for (const [position, i] of graph.tokenRow) {
    place.x[i] = columnX[position] + columnWidth[position] / 2;
    place.y[i] = height - BOTTOM + 20;
    place.r[i] = 8;
  }
}

/** Biases stand beside the names of their layers, those of no layer one above the other below the lowest. */
function placeBiases(graph, { rowTop, rowHeight }, height, place) {
  let y = height - BOTTOM - 6;
  for (const i of graph.biasRows) {
    const row = graph.layer[i];
    place.x[i] = LEFT + 6;
    place.y[i] = row < 0 ? (y -= 9) + 9 : rowTop[row] + rowHeight[row] / 2;
    place.r[i] = 3;
  }
}

/** Which kinds stay in place when the view is zoomed. */
export const fixedX = (kind) => kind === OUTPUT || kind === BIAS;
export const fixedY = (kind) => kind === OUTPUT || kind === TOKEN;
