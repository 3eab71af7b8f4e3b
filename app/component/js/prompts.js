/** Where a feature is active in all graphs, asked of the server once per feature and page. */

import { rememberedJson } from "./loader.js";

const ask = rememberedJson(200);

/** `{ n, of, prompts: [{ graph_id, link, tokens, at: [[position, activation]] }] }`. Rejects with a sentence. */
export function featurePrompts(graph, i) {
  const feature = `${graph.source_set}/${graph.layer[i]}/${graph.dictionary_index[i]}`;
  return ask(`/throughline/feature?${new URLSearchParams({ f: feature })}`);
}
