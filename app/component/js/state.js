/** What the person chose: selection, pins, filters, mode. Kept here, undone here, and told to Python after a pause. */

const PAUSE = 60; // milliseconds: twenty changes in a row make one message
const MOST_UNDO = 60;
const LINKED = { sel: null, pins: [], groups: null, thr: 1, err: true, mode: "direct" }; // what a link to this view holds
export const START = { ...LINKED, labels: true, links: true };
const SHARED = Object.keys(LINKED);

export class State {
  #past = []; #timer = 0;

  constructor(tell) { Object.assign(this, structuredClone(START)); this.tell = tell; }

  /** Take over a view from outside (a link, Back in the browser); nothing is told back. */
  restore(view) {
    const given = Object.entries(view).filter(([name, value]) => SHARED.includes(name) && value != null);
    Object.assign(this, structuredClone(LINKED), Object.fromEntries(given));
    this.#past = [];
  }

  change(values) {
    if ("pins" in values || "groups" in values) this.#remember();
    Object.assign(this, values);
    this.#tellSoon();
  }

  togglePin(id) {
    this.change({ pins: this.pins.includes(id) ? this.pins.filter((pin) => pin !== id) : [...this.pins, id] });
  }

  get canUndo() { return this.#past.length > 0; }

  undo() {
    if (!this.canUndo) return;
    Object.assign(this, this.#past.pop());
    this.#tellSoon();
  }

  stop() { clearTimeout(this.#timer); }

  #remember() {
    this.#past.push({ pins: this.pins, groups: this.groups });
    if (this.#past.length > MOST_UNDO) this.#past.shift();
  }

  #tellSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.tell(Object.fromEntries(SHARED.map((name) => [name, this[name]]))), PAUSE);
  }
}
