/** All links of a node, also those that are not in the browser: pruned away, or left out of a very large graph. */

import { rememberedJson } from "./loader.js";

const ask = rememberedJson(50);

/** `{ inputs: { n, links }, outputs }` as app/neighbours.py gives them. Rejects with a sentence a person can read. */
export function allLinks(url, node_id) {
  const address = new URL(url, location.origin), query = new URLSearchParams({ v: address.searchParams.get("v") ?? "", node: node_id });
  return ask(`${address.pathname.replace("/graph/", "/links/").replace(/agv$/, "json")}?${query}`);
}
