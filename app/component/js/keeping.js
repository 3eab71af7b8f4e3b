/** The question before groups are kept as supernodes: what would come, and what would go. */

import { el } from "./dom.js";
import { plural } from "./text.js";

/** A card that calls `keep()` or `close()`; `changes` as `toKeep` of groups.js gives them. */
export function questionCard({ kept, gone }, keep, close) {
  const changes = kept.length + gone.length > 0, names = (list) => list.map((name) => `“${name}”`).join(", ");
  return el("div.question", { role: "dialog", "aria-label": "Keep supernodes" },
    el("b", {}, changes ? "Keep as supernodes of this graph, by hand" : "These groups are kept already"),
    ...kept.map(({ name, members }) => el("span", {}, name, el("span.soft", {}, ` · ${plural(members.length, "node")}`))),
    gone.length ? el("span", {}, `Taken away: ${names(gone)}`) : null,
    el("span.soft", {}, "In patterns: supernode:NAME. Double-click a box to rename it."),
    el("div.acts", {}, changes ? el("button.btn.primary", { onclick: keep }, "Keep") : null, el("button.btn", { onclick: close }, changes ? "Cancel" : "Close")));
}
