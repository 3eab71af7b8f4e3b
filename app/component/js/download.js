/** What can be taken along: the graph as files of other tools, and the pictures on screen. */

import { el } from "./dom.js";
import { Painter } from "./paint.js";
import { SvgSheet, escaped } from "./svgsheet.js";

const FILES = [
  ["json", "JSON", "Nodes, links, labels, pins and supernodes, as circuit-tracer and Neuronpedia read them"],
  ["graphml", "GraphML", "For Gephi, yEd, Cytoscape and networkx"],
  ["csv", "CSV", "nodes.csv and edges.csv, zipped"],
];
const BOX_FONT = 12, BOX_PAD = 9, CLOSE = 600_000; // pixels; milliseconds until an address of a file is given up

/** The button with its menu; the menu closes when something was chosen or the focus went elsewhere. */
export function downloadMenu(view) {
  const file = ([format, name, title]) => el("a", { role: "menuitem", title, "data-format": format, download: "" }, name);
  const picture = (name, title, run) => el("button", { role: "menuitem", title, onclick: run }, name);
  const files = FILES.map(file);
  const menu = el("div.menu", { role: "menu", hidden: true }, el("b", {}, "Graph"), ...files,
    el("b", {}, "Picture"), picture("SVG", "The graph as it is shown, as vectors", () => saveSvg(view)), picture("PNG", "The graph as it is shown, as pixels", () => savePng(view)),
    picture("SVG of the circuit", "The boxes and their links", () => view.pinned.size ? saveCircuit(view) : view.notice("Nothing is pinned, so there is no circuit to draw")));
  const open = (on = menu.hidden) => {
    for (const link of files) link.href = view.exportAddress?.(link.dataset.format) ?? "#";
    menu.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
  };
  const button = el("button.btn.download", { "aria-haspopup": "menu", "aria-expanded": "false", onclick: () => open() }, "Download ▾");
  const place = el("div.menued", {}, button, menu);
  menu.addEventListener("click", () => open(false));
  place.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), open(false), button.focus()));
  place.addEventListener("focusout", (event) => place.contains(event.relatedTarget) || open(false));
  return place;
}

function savePng(view) {
  const [ground] = view.painter.canvases, sheet = el("canvas", { width: ground.width, height: ground.height });
  const c = sheet.getContext("2d");
  c.fillStyle = view.theme.bg;
  c.fillRect(0, 0, sheet.width, sheet.height);
  for (const canvas of view.painter.canvases) c.drawImage(canvas, 0, 0);
  save(sheet.toDataURL(), `${nameOf(view)}.png`);
}

function saveSvg(view) {
  const { layout, theme, painter } = view, sheet = new SvgSheet(layout.width, layout.height, theme.bg);
  const drawing = new Painter(view, [sheet, sheet, sheet]);
  drawing.backdrop = painter.backdrop;
  drawing.all();
  saveText(sheet.text(), `${nameOf(view)}.svg`);
}

/** The boxes of the circuit with their links. */
function saveCircuit(view) {
  const { theme, circuit } = view, { clientWidth: width, clientHeight: height } = circuit.node, lines = circuit.lines.cloneNode(true);
  const boxes = circuit.units.map((unit) => {
    const texts = [...unit.box.querySelectorAll(".name, small")].map((node) => node.textContent), { offsetWidth: w, offsetHeight: h } = unit.box;
    const text = texts.map((each, k) => `<text x="${unit.X}" y="${unit.Y + (k - (texts.length - 1) / 2) * 13 + 4}" text-anchor="middle" font-size="${k ? BOX_FONT - 2 : BOX_FONT}" font-weight="${k ? 400 : 600}" fill="${theme[k ? "muted" : "fg"]}">${escaped(fitted(each, w, k))}</text>`);
    return `<g><title>${escaped(unit.name)}</title><rect x="${unit.X - w / 2}" y="${unit.Y - h / 2}" width="${w}" height="${h}" rx="7" fill="${theme.bg}" stroke="${theme.faint}"/>${text.join("")}</g>`;
  });
  saveText(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${escaped(theme.font)}">`
    + `<rect width="${width}" height="${height}" fill="${theme.bg}"/>\n${lines.innerHTML}\n${boxes.join("\n")}</svg>\n`, `${nameOf(view)}-circuit.svg`);
}

const fitted = (text, width, k) => {
  const most = Math.floor((width - 2 * BOX_PAD) / (k ? 4.6 : 5.8)); // letters of the usual width
  return text.length > most + 2 ? text.slice(0, most) + "…" : text;
};

const nameOf = (view) => view.graph.slug || view.graph.graph_id;

function saveText(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  save(address, name);
  setTimeout(() => URL.revokeObjectURL(address), CLOSE);
}

const save = (href, download) => el("a", { href, download }).click();
