/** Where a feature is active in all graphs, asked of the server once per feature and page. */

import { reason } from "./loader.js";

const KEPT = 200; // answers
const answers = new Map();

/** `{ n, of, prompts: [{ graph_id, link, tokens, at: [[position, activation]] }] }`. Rejects with a sentence. */
export function featurePrompts(graph, i) {
  const key = `${graph.source_set}/${graph.layer[i]}/${graph.dictionary_index[i]}`;
  if (!answers.has(key)) {
    answers.set(key, fetchPrompts(key));
    if (answers.size > KEPT) answers.delete(answers.keys().next().value);
    answers.get(key).catch(() => answers.delete(key));
  }
  return answers.get(key);
}

async function fetchPrompts(key) {
  const answer = await fetch(`/throughline/feature?${new URLSearchParams({ f: key })}`);
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}
