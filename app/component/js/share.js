/** A link to what is shown: the address of the page, which Python keeps in step. */

import { el } from "./dom.js";

const SETTLED = 400; // milliseconds until the last change stands in the address

/** Copy the address; where the browser does not let us, show it to be copied. */
export async function shareAddress(view) {
  await new Promise((done) => setTimeout(done, SETTLED));
  try {
    await navigator.clipboard.writeText(location.href);
    view.notice("Link to this view copied", true);
  } catch { // no clipboard without https, away from this machine
    const field = el("input.edit", { readonly: true, "aria-label": "Link to this view" });
    field.value = location.href;
    view.notice(field, true);
    field.focus();
    field.select();
  }
}
