/** Graphs by address, fetched once: the cache lives as long as the page, over reruns and changes of page. */

import { Graph } from "./graph.js";

const KEPT = 8; // parsed graphs; one of 500,000 links takes about 20 MB
const cache = new Map();

/** The graph at this address. Rejects with a sentence a person can read. */
export function loadGraph(url) {
  if (!cache.has(url)) {
    cache.set(url, fetchGraph(url));
    if (cache.size > KEPT) cache.delete(cache.keys().next().value);
    cache.get(url).catch(() => cache.delete(url)); // a failure is not kept, so that trying again tries again
  }
  return cache.get(url);
}

async function fetchGraph(url) {
  let answer;
  try {
    answer = await fetch(url);
  } catch {
    throw new Error("The server does not answer. Check that `throughline app` still runs.");
  }
  if (!answer.ok) throw new Error(await reason(answer));
  return new Graph(await answer.arrayBuffer());
}

/** Why the server gave no graph, in its own words where it has any. */
export async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `The server answered ${answer.status} ${answer.statusText}.`;
  }
}
