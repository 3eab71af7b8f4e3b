/**
 * Supernodes: which nodes share a box in the circuit, and what becomes of that when a person changes it.
 *
 * A group is `{ name, members }`, members by node_id. What a view and its link hold are the groups that a person made,
 * without members where a stored one of this name was undone; null while nothing was made.
 */

import { FEATURE } from "./graph.js";

const MOST_NAME = 200; // letters

/** The groups made, those stored beside them, and while none was made one for all other features of a label. */
export function groupsOf(graph, pinned, made) {
  const named = new Set(made?.map((group) => group.name)), own = (made ?? []).filter((group) => group.members.length > 1);
  const found = [...own, ...storedGroups(graph, new Set(own.flatMap((group) => group.members))).filter((group) => !named.has(group.name))];
  return made ? found : [...found, ...byLabel(graph, pinned, found)];
}

/** The rows of a group that are pinned; one that is alone is shown as a node. */
export function shownRows(graph, pinned, group) {
  const rows = [...new Set(group.members)].map((id) => graph.rowOf.get(id)).filter((i) => pinned.has(i));
  return rows.length > 1 ? rows : [];
}

/** The groups with one more of all members of these boxes, in place of theirs. */
export function joined(graph, groups, units) {
  const ids = new Set(units.flatMap((unit) => unit.group?.members ?? unit.members.map((i) => graph.node_id[i])));
  const named = units.find((unit) => unit.group) ?? units.find((unit) => graph.label[unit.members[0]].trim()) ?? units[0];
  const left = groups.map((group) => ({ ...group, members: group.members.filter((id) => !ids.has(id)) }));
  const others = left.filter((group) => group.members.length > 1);
  return [...others, { name: free(named.name, others), members: [...ids] }];
}

/** The groups with another name for this one; a name that another has gets a number. */
export function renamed(groups, group, name) {
  const others = groups.filter((other) => other.name !== group.name);
  return groups.map((other) => (other.name === group.name ? { ...other, name: free(name, others) } : other));
}

/** What a view holds of these groups: those that are not stored like this, and the names of stored ones that are gone. */
export function madeOf(graph, groups) {
  const stored = storedGroups(graph), names = new Set(groups.map((group) => group.name));
  const gone = stored.filter((group) => !names.has(group.name)).map(({ name }) => ({ name, members: [] }));
  return [...groups.filter((group) => !stored.some((other) => same(group, other))), ...gone];
}

/** What keeping the groups on screen would change in the store: those to keep, and names of those to take away. */
export function toKeep(graph, pinned, groups) {
  const made = madeOf(graph, groups), byHand = new Set(graph.supernodes.filter((group) => group.by_hand).map((group) => group.name));
  const kept = made.filter((group) => shownRows(graph, pinned, group).length).map(({ name, members }) => ({ name, members }));
  return { kept, gone: made.filter((group) => !group.members.length && byHand.has(group.name)).map((group) => group.name) };
}

/** Stored supernodes, those by hand first; a node of two counts for the first. */
function storedGroups(graph, taken = new Set()) {
  const used = new Set(taken), ranked = [...graph.supernodes].sort((a, b) => b.by_hand - a.by_hand);
  const found = []; // files of other tools may have two of one name
  for (const { name, members } of ranked) {
    const left = members.filter((id) => !used.has(id));
    if (left.length < 2) continue;
    left.forEach((id) => used.add(id));
    found.push({ name: free(name, found), members: left });
  }
  return found;
}

function byLabel(graph, pinned, others) {
  const taken = new Set(others.flatMap((group) => group.members)), members = new Map(), found = [...others];
  for (const i of pinned) {
    const label = graph.kind[i] === FEATURE && !taken.has(graph.node_id[i]) && graph.label[i].trim();
    if (label) members.set(label, [...(members.get(label) ?? []), graph.node_id[i]]);
  }
  for (const [label, ids] of members) if (ids.length > 1) found.push({ name: free(label, found), members: ids });
  return found.slice(others.length);
}

const same = (a, b) => a.name === b.name && [...a.members].sort().join() === [...b.members].sort().join();

function free(name, others) {
  const taken = new Set(others.map((group) => group.name)), wanted = name.trim().slice(0, MOST_NAME) || "group";
  let found = wanted;
  for (let k = 2; taken.has(found); k++) found = `${wanted} (${k})`;
  return found;
}
