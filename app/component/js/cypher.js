/** Cypher as tokens: what to colour, which brackets belong together, and what may stand at the caret. */

export const KEYWORDS = (
  "MATCH OPTIONAL WHERE RETURN WITH UNWIND ORDER BY ASC DESC LIMIT SKIP DISTINCT AS AND OR XOR NOT IN IS NULL TRUE FALSE " +
  "CASE WHEN THEN ELSE END CALL YIELD UNION ALL ANY NONE SINGLE EXISTS COUNT COLLECT STARTS ENDS CONTAINS SHOW INDEXES " +
  "CONSTRAINTS FUNCTIONS PROCEDURES EXPLAIN PROFILE SHORTEST"
).split(" ");
export const FUNCTIONS = (
  "abs avg ceil coalesce collect count elementId endNode exp floor head keys labels last length log max min nodes percentileCont " +
  "properties range reduce relationships reverse round sign size split sqrt startNode stDev substring sum tail toFloat toInteger " +
  "toLower toString toUpper trim type"
).split(" ");

const TOKEN = /(\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:\\.|[^'\\])*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$))|(`[^`]*(?:`|$))|(\$\w*)|(\d+(?:\.\d+)?(?:e[+-]?\d+)?)|([\p{L}_][\p{L}\p{N}_]*)|([()[\]{}])|(\s+)|(.)/giu;
const KINDS = ["comment", "string", "name", "param", "number", "name", "bracket", "space", "sign"];
const CLOSING = { "(": ")", "[": "]", "{": "}" };
const keywords = new Set(KEYWORDS);

/** Every piece of the text with its kind and place; names say whether they are keyword, function, label or property. */
export function tokens(text) {
  const found = [], open = [];
  let before = null; // the last piece that is no space and no comment
  for (const match of text.matchAll(TOKEN)) {
    const token = { kind: KINDS[match.slice(1).findIndex((group) => group !== undefined)], text: match[0], at: match.index, inside: open.at(-1)?.text ?? "" };
    if (token.kind === "bracket" && CLOSING[token.text]) open.push(token);
    else if (token.kind === "bracket" && CLOSING[open.at(-1)?.text] === token.text) {
      token.partner = open.pop();
      token.partner.partner = token;
    }
    if (token.kind === "name") token.kind = nameKind(token, before, text);
    if (token.kind !== "space" && token.kind !== "comment") before = token;
    found.push(token);
  }
  return found;
}

function nameKind(token, before, text) {
  if (before?.text === ".") return "property";
  if (before && isLabelSign(before, token.inside)) return "label";
  if (keywords.has(token.text.toUpperCase())) return "keyword";
  return /^\s*\(/.test(text.slice(token.at + token.text.length)) ? "function" : "name";
}

/** Whether a label or a type stands behind this sign; in a map a colon stands before a value. */
function isLabelSign(sign, inside) {
  return inside !== "{" && (sign.text === ":" || (inside !== "" && (sign.text === "|" || sign.text === "&")));
}

/** The two brackets that belong together at the caret, or none. */
export function bracketsAt(found, caret) {
  const token = found.find(({ kind, at }) => kind === "bracket" && (at === caret - 1 || at === caret));
  return token?.partner ? [token, token.partner] : [];
}

/** What may stand at the caret: { from, eager, offers }; offers are { text, note }. `asked`: even where nothing is begun. */
export function completionsAt(text, caret, words, asked = false) {
  const word = /[\p{L}\p{N}_]*$/u.exec(text.slice(0, caret))[0], from = caret - word.length;
  const all = tokens(text), found = all.filter(({ at }) => at < from), last = found.at(-1);
  const within = all.find((token) => token.at < caret && caret < token.at + token.text.length);
  if (["comment", "string", "number"].includes(within?.kind) || (last?.kind === "comment" && last.text.startsWith("//") && from === last.at + last.text.length)) return null;
  const before = found.filter(({ kind }) => kind !== "space" && kind !== "comment").at(-1);
  const inside = innermost(found), offers = offersFor(before, last, inside, words, all, from);
  if (!(asked || offers.eager || word.length > 1)) return null;
  const low = word.toLowerCase(), begins = (offer) => offer.text.toLowerCase().startsWith(low);
  if (offers.list.some(({ text, note }) => text === word || (!note && text.toLowerCase() === low))) return null; // it is whole
  const fitting = offers.list.filter((offer) => offer.text.toLowerCase().includes(low));
  const sorted = [...fitting.filter(begins), ...fitting.filter((offer) => !begins(offer) && word.length > 1)];
  return sorted.length ? { from, eager: asked || offers.eager, offers: sorted.slice(0, 40) } : null;
}

function innermost(found) {
  const open = found.filter(({ kind, text, partner }) => kind === "bracket" && CLOSING[text] && !found.includes(partner));
  return open.at(-1)?.text ?? "";
}

function offersFor(before, last, inside, words, all, from) {
  const named = (record, note) => Object.entries(record).map(([text, n]) => ({ text: quoted(text), note: `${note} · ${n.toLocaleString("en")}` }));
  const properties = Object.keys(words.properties).map((text) => ({ text: quoted(text), note: "property" }));
  if (before && before.kind === "sign" && isLabelSign(before, inside)) {
    const labels = named(words.labels, "label"), types = named(words.types, "relationship");
    return { eager: before === last, list: inside === "[" ? [...types, ...labels] : [...labels, ...types] };
  }
  if (before?.text === "." && before === last) return { eager: true, list: properties };
  if (last?.kind === "param" && from === last.at + 1) return { eager: true, list: [] };
  if (inside === "{" && (before?.text === "{" || before?.text === ",")) return { eager: false, list: properties };
  const own = [...new Set(all.filter(({ kind, at }) => kind === "name" && at !== from).map(({ text }) => text))];
  return {
    eager: false,
    list: [
      ...own.map((text) => ({ text, note: "in this query" })),
      ...KEYWORDS.map((text) => ({ text, note: "" })),
      ...FUNCTIONS.map((text) => ({ text: `${text}(`, note: "function" })),
    ],
  };
}

function quoted(name) {
  return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) ? name : "`" + name.replaceAll("`", "``") + "`";
}
