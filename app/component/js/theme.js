/** The colours of the page around us, resolved for a canvas, and mixtures of them. */

const NAMES = ["bg", "fg", "line", "muted", "faint", "band", "column", "accent", "pos", "neg", "pin", "node", "panel"];
const mixed = new Map();

/** Colours by name, the font, and whether the page is dark; also sets the class that the style sheet goes by. */
export function readTheme(root) {
  root.classList.toggle("dark", luminance(getComputedStyle(root).backgroundColor) < 110);
  const probe = root.appendChild(document.createElement("i"));
  const resolve = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const colours = Object.fromEntries(NAMES.map((name) => [name, resolve(name)]));
  probe.remove();
  return { ...colours, font: getComputedStyle(root).fontFamily, dark: root.classList.contains("dark") };
}

function channels(colour) {
  const numbers = colour.match(/[\d.]+/g).map(Number);
  return colour.startsWith("color(") ? numbers.slice(0, 3).map((v) => v * 255) : numbers.slice(0, 3);
}

function luminance(colour) {
  const [r, g, b] = channels(colour);
  return 0.3 * r + 0.59 * g + 0.11 * b;
}

/** `t` of the way from one colour to the other, in 24 steps so that they can be kept. */
export function mix(from, to, t) {
  const step = Math.round(Math.max(0, Math.min(1, t)) * 24), key = `${from}|${to}|${step}`;
  if (!mixed.has(key)) {
    const a = channels(from), b = channels(to);
    mixed.set(key, `rgb(${a.map((v, k) => Math.round(v + ((b[k] - v) * step) / 24)).join()})`);
  }
  return mixed.get(key);
}
