/** The keyboard, while the graph has the focus. */

/** Start listening; returns what stops it. */
export function listenToKeys(view) {
  const actions = {
    ArrowUp: () => follow(view, "outputs"), ArrowDown: () => follow(view, "inputs"),
    ArrowLeft: () => sidestep(view, -1), ArrowRight: () => sidestep(view, 1),
    p: () => view.pin(view.selected), r: () => view.rail.rename(),
    t: () => view.set({ mode: "paths" }), d: () => view.set({ mode: "direct" }),
    e: () => view.set({ err: !view.state.err }), l: () => view.set({ labels: !view.state.labels }), b: () => view.set({ links: !view.state.links }),
    g: () => view.circuit.groupMarked(), f: () => view.fullScreen(), "?": () => view.toolbar.toggleHelp(), "/": () => view.toolbar.find.focus(),
    "+": () => view.zoom(1.5), "=": () => view.zoom(1.5), "-": () => view.zoom(1 / 1.5), 0: () => view.zoom(1e-9),
    Escape: () => escape(view),
  };
  const listen = (event) => {
    if (!view.layout || event.target.tagName === "INPUT") return;
    const command = event.ctrlKey || event.metaKey, undo = command && event.key === "z";
    const action = undo ? () => view.undo() : command || event.altKey ? null : actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation(); // C and R belong to Streamlit, the rest to us
    action();
  };
  view.root.addEventListener("keydown", listen);
  return () => view.root.removeEventListener("keydown", listen);
}

/** Go along the strongest link in this direction. */
function follow(view, direction) {
  const { graph, visible, selected } = view, end = direction === "inputs" ? "source" : "target";
  if (selected < 0) return view.select(graph.goalRows[0] ?? -1);
  let best = -1;
  for (const e of graph[direction](selected)) {
    if (visible[graph[end][e]] && (best < 0 || Math.abs(graph.share[e]) > Math.abs(graph.share[best]))) best = e;
  }
  if (best >= 0) view.select(graph[end][best]);
}

/** Go to the next node of the same kind in the same layer. */
function sidestep(view, step) {
  const { graph, visible, layout, selected } = view;
  if (selected < 0) return;
  const row = graph.rowsWhere((i) => visible[i] && graph.layer[i] === graph.layer[selected] && graph.kind[i] === graph.kind[selected]);
  row.sort((a, b) => layout.x[a] - layout.x[b] || layout.y[a] - layout.y[b]);
  const next = row[row.indexOf(selected) + step];
  if (next != null) view.select(next);
}

function escape(view) {
  if (!view.toolbar.help.hidden) view.toolbar.toggleHelp(false);
  else if (view.root.classList.contains("full")) view.fullScreen(false);
  else view.select(-1);
}
