/** How numbers and tokens are written: tabular, signed, and never an invisible token. */

export const clamp = (low, high, value) => Math.max(low, Math.min(high, value));
export const signed = (value, digits = 2) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
export const count = (value) => value.toLocaleString("en-US");
export const plural = (value, word, many = word + "s") => `${count(value)} ${value === 1 ? word : many}`;

/** A fraction as percent; one decimal below ten percent. */
export function percent(fraction) {
  const digits = Math.abs(fraction) < 0.0995 ? 1 : 0;
  return (100 * fraction).toFixed(digits) + "%";
}

/** A signed share as percent, with a true minus. */
export const signedPercent = (fraction) => (fraction < 0 ? "−" : "+") + percent(Math.abs(fraction));

/** What is left over, as percent; as a power of ten where percent would say nothing. */
export const remainder = (fraction) => (Math.abs(fraction) < 5e-4 && fraction ? fraction.toExponential(0) : percent(fraction));

/** A token as one can see it: without the leading space, line ends and tabs as signs, never empty. */
export function visible(token) {
  const shown = token.replace(/\n/g, "⏎").replace(/\t/g, "⇥").trim();
  return shown || "␣";
}

export const cut = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
