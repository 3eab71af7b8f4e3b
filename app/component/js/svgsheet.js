/** A sheet that draws as SVG: as much of a canvas's 2D context as the painter uses, so that a picture has vectors and text. */

const ALIGN = { left: "start", center: "middle", right: "end" };
const DRAWING = { fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, globalAlpha: 1, font: "12px sans-serif", textAlign: "left", textBaseline: "alphabetic", lineJoin: "miter", dash: [] };

export class SvgSheet {
  #parts = []; #path = ""; #saved = []; #clips = 0; #open = 0; #ruler = document.createElement("canvas").getContext("2d");

  constructor(width, height, ground) {
    Object.assign(this, structuredClone(DRAWING), { width, height, ground });
  }

  /** So that it can stand in for a canvas. */
  getContext() { return this; }

  /** The picture as the text of a file. */
  text() {
    const { width, height } = this, close = "</g>".repeat(this.#open);
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`
      + `<rect width="${width}" height="${height}" fill="${escaped(this.ground)}"/>\n${this.#parts.join("\n")}${close}</svg>\n`;
  }

  setTransform() {} // a vector has no pixels to fit
  clearRect() {}
  setLineDash(dash) { this.dash = dash; }
  measureText(text) { this.#ruler.font = this.font; return this.#ruler.measureText(text); }

  beginPath() { this.#path = ""; }
  moveTo(x, y) { this.#path += `M${at(x, y)}`; }
  lineTo(x, y) { this.#path += `${this.#path ? "L" : "M"}${at(x, y)}`; }
  bezierCurveTo(a, b, c, d, x, y) { this.#path += `C${at(a, b)} ${at(c, d)} ${at(x, y)}`; }
  closePath() { this.#path += "Z"; }
  rect(x, y, w, h) { this.#path += `M${at(x, y)}h${n(w)}v${n(h)}h${n(-w)}Z`; }
  arc(x, y, r) { this.#path += `M${at(x - r, y)}a${at(r, r)} 0 1 0 ${at(2 * r, 0)}a${at(r, r)} 0 1 0 ${at(-2 * r, 0)}Z`; } // always a whole circle here

  roundRect(x, y, w, h, corner) {
    const r = Math.max(0, Math.min(corner, w / 2, h / 2)), turn = (dx, dy) => `a${at(r, r)} 0 0 1 ${at(dx, dy)}`;
    this.#path += `M${at(x + r, y)}h${n(w - 2 * r)}${turn(r, r)}v${n(h - 2 * r)}${turn(-r, r)}h${n(2 * r - w)}${turn(-r, -r)}v${n(2 * r - h)}${turn(r, -r)}Z`;
  }

  fill() { this.#add(`<path d="${this.#path}" ${this.#filled()}/>`, this.#path); }
  stroke() { this.#add(`<path d="${this.#path}" fill="none" ${this.#stroked()}/>`, this.#path); }
  fillRect(x, y, w, h) { this.#add(`<rect x="${n(x)}" y="${n(y)}" width="${n(Math.max(0, w))}" height="${n(Math.max(0, h))}" ${this.#filled()}/>`, w > 0 && h > 0); }
  fillText(text, x, y) { this.#text(text, x, y, this.#filled()); }
  strokeText(text, x, y) { this.#text(text, x, y, `fill="none" ${this.#stroked()}`); }

  save() { this.#saved.push({ ...Object.fromEntries(Object.keys(DRAWING).map((name) => [name, this[name]])), open: this.#open }); }

  restore() {
    const { open, ...drawing } = this.#saved.pop();
    Object.assign(this, drawing);
    for (; this.#open > open; this.#open--) this.#parts.push("</g>");
  }

  clip() {
    const id = `clip${++this.#clips}`;
    this.#parts.push(`<clipPath id="${id}"><path d="${this.#path}"/></clipPath><g clip-path="url(#${id})">`);
    this.#open++;
  }

  #add(part, there) { if (there && this.globalAlpha > 0) this.#parts.push(part); }
  #filled() { return `fill="${escaped(this.fillStyle)}"${this.#faded("fill-opacity")}`; }

  #stroked() {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    return `stroke="${escaped(this.strokeStyle)}" stroke-width="${n(this.lineWidth)}" stroke-linejoin="${this.lineJoin}"${dash}${this.#faded("stroke-opacity")}`;
  }

  #faded(name) { return this.globalAlpha < 1 ? ` ${name}="${n(this.globalAlpha)}"` : ""; }

  #text(text, x, y, look) {
    const [, weight = "400", size, family] = /^(?:(\d+) )?([\d.]+)px (.*)$/.exec(this.font), middle = this.textBaseline === "middle" ? 0.35 * size : 0;
    this.#add(`<text x="${n(x)}" y="${n(y + middle)}" font-family="${escaped(family)}" font-size="${size}" font-weight="${weight}" text-anchor="${ALIGN[this.textAlign]}" ${look}>${escaped(text)}</text>`, text);
  }
}

const n = (value) => String(Math.round(100 * value) / 100);
const at = (x, y) => `${n(x)},${n(y)}`;
const NO_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** A text as it may stand in XML. */
export const escaped = (text) => String(text).replace(NO_XML, "\ufffd").replace(/[<>&"]/g, (character) => ({ "<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;" })[character]);
