/** All links of a node, also those that are not in the browser: pruned away, or left out of a very large graph. */

import { reason } from "./loader.js";

const KEPT = 50; // answers
const answers = new Map();

/** `{ inputs: { n, links }, outputs }` as app/neighbours.py gives them. Rejects with a sentence a person can read. */
export function allLinks(url, node_id) {
  const address = new URL(url, location.origin), query = new URLSearchParams({ v: address.searchParams.get("v") ?? "", node: node_id });
  const place = `${address.pathname.replace("/graph/", "/links/").replace(/agv$/, "json")}?${query}`;
  if (!answers.has(place)) {
    answers.set(place, fetchLinks(place));
    if (answers.size > KEPT) answers.delete(answers.keys().next().value);
    answers.get(place).catch(() => answers.delete(place));
  }
  return answers.get(place);
}

async function fetchLinks(place) {
  const answer = await fetch(place);
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}
