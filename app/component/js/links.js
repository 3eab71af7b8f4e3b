/** A link between two boxes as a curve: colour is the sign, width and darkness the share. */

import { svg } from "./dom.js";

const HALF = 16; // pixels: about half the height of a box

/** An SVG path from one unit up to another; `share` is null where the link has no strength. */
export function linkLine({ from, to, share }, most, theme, title) {
  const z = share == null ? 0.25 : Math.min(1, Math.abs(share) / most), up = from.Y >= to.Y ? 1 : -1;
  const y1 = from.Y - up * HALF, y2 = to.Y + up * HALF, bend = up * Math.max(14, 0.45 * Math.abs(y1 - y2));
  const stroke = share == null ? theme.faint : share > 0 ? theme.pos : theme.neg;
  return svg("path", {
    d: `M${from.X},${y1}C${from.X},${y1 - bend} ${to.X},${y2 + bend} ${to.X},${y2}`, fill: "none", stroke,
    "stroke-linecap": "round", "stroke-opacity": 0.25 + 0.53 * z, "stroke-width": 1 + 4.8 * z,
  }, svg("title", {}, title));
}
