/** Mouse and touch on the stage: hover, select, pin, move, zoom. */

const STILL = 4; // pixels: a smaller movement is a click
const WHEEL = 0.0022; // zoom per pixel of wheel

/** Start listening; returns what stops it. */
export function listenToPointer(view) {
  const { stage, root } = view, abort = new AbortController(), options = { signal: abort.signal };
  let drag = null;
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const nodeAt = (event) => view.hits.find(...at(event), view.visible);

  stage.addEventListener("pointermove", (event) => {
    if (!view.layout) return;
    if (drag) return move(event);
    if (event.shiftKey) return; // what is under the pointer stays, to be read in the other panes
    const i = nodeAt(event);
    stage.classList.toggle("hot", i >= 0);
    view.hover(i, event);
  }, options);

  function move(event) {
    const dx = event.clientX - drag.fromX, dy = event.clientY - drag.fromY;
    if (!drag.moved && Math.hypot(dx, dy) < STILL) return;
    drag.moved = true;
    stage.classList.add("moving");
    view.camera.pan(drag.x + dx, drag.y + dy);
    view.redraw();
  }

  stage.addEventListener("pointerdown", (event) => {
    if (!view.layout || event.button !== 0 || event.target.closest("button")) return;
    root.focus({ preventScroll: true });
    drag = { fromX: event.clientX, fromY: event.clientY, x: view.camera.x, y: view.camera.y, moved: false };
  }, options);

  addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { moved } = drag;
    drag = null;
    stage.classList.remove("moving");
    if (!moved) click(event);
  }, options);

  function click(event) {
    const i = nodeAt(event);
    if (i >= 0 && (event.ctrlKey || event.metaKey)) view.pin(i);
    else view.select(i === view.selected ? -1 : i);
  }

  stage.addEventListener("pointerleave", () => view.layout && view.hover(-1), options);

  stage.addEventListener("wheel", (event) => {
    const zooms = event.ctrlKey || event.metaKey || root.classList.contains("full"); // otherwise the page scrolls
    if (!view.layout || !zooms) return;
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY * WHEEL), ...at(event));
  }, { ...options, passive: false });

  return () => abort.abort();
}
