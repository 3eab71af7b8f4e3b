/** Change a text in its place: Enter or a click elsewhere takes it, Escape leaves it. */

import { el } from "./dom.js";

/** Put a field in place of a node's content. `take(text)` is called once, where the text was changed. */
export function editText(node, text, title, take) {
  const input = el("input.edit", { "aria-label": title, title, spellcheck: "false" }), before = [...node.childNodes];
  let open = true;
  const close = (changed) => {
    if (!open) return;
    open = false;
    const focus = node.closest(".ag");
    node.replaceChildren(...before);
    focus?.focus({ preventScroll: true });
    if (changed) take(input.value.trim());
  };
  input.value = text;
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") close(input.value.trim() !== text.trim());
    if (event.key === "Escape") close(false);
  });
  for (const kind of ["click", "dblclick", "pointerdown"]) input.addEventListener(kind, (event) => event.stopPropagation());
  input.addEventListener("blur", () => close(input.value.trim() !== text.trim()));
  node.replaceChildren(input);
  input.focus({ preventScroll: true });
  input.select();
}
