/** What the server says, asked once: answers live as long as the page, over reruns and changes of page. */

import { Graph } from "./graph.js";

/** The graph at this address. Rejects with a sentence a person can read. */
export const loadGraph = remembering(fetchGraph, 8); // one of 500,000 links takes about 20 MB

async function fetchGraph(url) {
  return new Graph(await (await answered(url)).arrayBuffer());
}

/** The same for JSON, of which it keeps the last so many answers. */
export const rememberedJson = (most) => remembering(async (url) => (await answered(url)).json(), most);

/** The function, which keeps its last answers; a failure is not kept, so that trying again tries again. */
function remembering(ask, most) {
  const answers = new Map();
  return (url) => {
    if (!answers.has(url)) {
      answers.set(url, ask(url));
      if (answers.size > most) answers.delete(answers.keys().next().value);
      answers.get(url).catch(() => answers.delete(url));
    }
    return answers.get(url);
  };
}

async function answered(url) {
  let answer;
  try {
    answer = await fetch(url);
  } catch {
    throw new Error("The server does not answer. Check that `throughline app` still runs.");
  }
  if (!answer.ok) throw new Error(await reason(answer));
  return answer;
}

/** Why the server gave nothing, in its own words where it has any. */
async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `The server answered ${answer.status} ${answer.statusText}.`;
  }
}
