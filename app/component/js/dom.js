/** Build DOM nodes from data: every text goes in as a text node, so a label can never become markup. */

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

/** An element, e.g. el("button.btn.primary", { title: "…", onclick: run }, "Run"). */
export function el(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, props, children);
}

/** The same for SVG elements. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** Put these classes on a node where the condition holds, e.g. toggle(node, { on: true, dim: false }). */
export function toggle(node, classes) {
  for (const [name, on] of Object.entries(classes)) node.classList.toggle(name, !!on);
}

/** Show a button as pressed or not. */
export function press(button, on) {
  toggle(button, { on });
  button.setAttribute("aria-pressed", String(!!on));
}
