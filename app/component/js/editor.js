/** The Cypher editor: a text field over its own coloured copy, with completion from what is in the database. */

import { bracketsAt, completionsAt, tokens } from "./cypher.js";
import { el, toggle } from "./dom.js";
import { readTheme } from "./theme.js";

const IDLE_MS = 400; // without a key until Python hears of the text
const LINE = 20; // pixels, as in the style sheet

export class View {
  constructor(parent) {
    this.copy = el("pre", { "aria-hidden": "true" });
    this.field = el("textarea", { spellcheck: "false", autocapitalize: "off", wrap: "off", "aria-label": "Cypher", "aria-autocomplete": "list", "aria-controls": "words" });
    this.list = el("ul.words", { id: "words", role: "listbox", hidden: true });
    this.ruler = el("span.ruler", { "aria-hidden": "true" }, "0".repeat(100));
    this.root = el("div.editor", {}, this.copy, this.field, this.ruler, this.list);
    parent.append(this.root);
    this.offered = null;
    const on = (name, run) => this.field.addEventListener(name, run);
    on("input", () => this.#typed());
    on("keydown", (event) => this.#key(event));
    on("scroll", () => this.#scrolled());
    on("blur", () => { this.#close(); this.#tell(); });
    for (const name of ["keyup", "click"]) on(name, () => this.#paint());
  }

  destroy() { clearTimeout(this.timer); this.root.remove(); }

  /** Called at every message of Python: another text, words to insert, or just a new theme. */
  update({ data, setStateValue, setTriggerValue }) {
    this.words = data.words;
    this.send = (text) => setStateValue("text", { nonce: this.nonce, text });
    this.run = (text) => setTriggerValue("run", { nonce: this.nonce, text });
    if (data.nonce !== this.nonce) {
      this.nonce = data.nonce;
      this.told = this.field.value = data.text;
      this.inserted = data.insert.nonce;
    } else if (data.insert.nonce !== this.inserted) {
      this.inserted = data.insert.nonce;
      this.#put(data.insert.text, this.field.selectionStart, this.field.selectionEnd);
      this.#tell();
    }
    requestAnimationFrame(() => { readTheme(this.root); this.#paint(); }); // the style sheet of a new theme applies by then
    this.root.dataset.ready = "";
  }

  #typed() {
    this.#paint();
    this.#offer();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#tell(), IDLE_MS);
  }

  #tell() {
    clearTimeout(this.timer);
    if (this.field.value === this.told) return;
    this.told = this.field.value;
    this.send(this.told);
  }

  #key(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "Enter") {
      this.#tell();
      this.run(this.field.value);
    } else if (control && event.key === " ") this.#offer(true);
    else if (!this.offered) return;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Tab" || (event.key === "Enter" && (this.offered.eager || this.moved))) this.#accept(this.chosen);
    else if (event.key === "Escape") this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #offer(asked = false) {
    const { selectionStart: caret, selectionEnd, value } = this.field;
    this.offered = caret === selectionEnd ? completionsAt(value, caret, this.words, asked) : null;
    if (!this.offered) return this.#close();
    this.list.replaceChildren(...this.offered.offers.map((offer, k) => {
      const accept = (event) => { event.preventDefault(); this.#accept(k); }; // before the field loses its caret
      return el("li", { role: "option", id: `word${k}`, onpointerdown: accept }, el("b", {}, offer.text), el("small", {}, offer.note));
    }));
    const lines = value.slice(0, this.offered.from).split("\n"), width = this.ruler.getBoundingClientRect().width / 100;
    const left = 12 + lines.at(-1).length * width - this.field.scrollLeft, top = 12 + lines.length * LINE - this.field.scrollTop;
    Object.assign(this.list.style, { left: `${Math.max(4, Math.min(left, this.root.clientWidth - 290))}px`, top: `${top}px` });
    this.list.hidden = false;
    this.chosen = 0;
    this.#move(0);
    this.moved = false; // Enter begins a new line where a word was merely guessed at
  }

  #move(by) {
    const n = this.list.children.length;
    this.chosen = (this.chosen + by + n) % n;
    this.moved = true;
    [...this.list.children].forEach((item, k) => { toggle(item, { on: k === this.chosen }); item.setAttribute("aria-selected", k === this.chosen); });
    this.list.children[this.chosen].scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", `word${this.chosen}`);
  }

  #accept(k) {
    const { from, offers } = this.offered;
    this.#put(offers[k].text, from, this.field.selectionStart);
    this.#typed();
    this.#close();
  }

  #close() {
    this.offered = null;
    this.list.hidden = true;
    this.field.removeAttribute("aria-activedescendant");
  }

  /** Put a text in place of another, so that the browser can undo it. */
  #put(text, from, to) {
    this.field.focus();
    this.field.setSelectionRange(from, to);
    if (!document.execCommand("insertText", false, text)) this.field.setRangeText(text, from, to, "end");
    this.#paint();
  }

  #paint() {
    const found = tokens(this.field.value), pair = document.activeElement && this.#focused() ? bracketsAt(found, this.field.selectionStart) : [];
    this.copy.replaceChildren(...found.map((token) => (token.kind === "space" ? token.text : el(`span.${token.kind}${pair.includes(token) ? ".pair" : ""}`, {}, token.text))), "\n");
    const lines = this.field.value.split("\n").length;
    this.root.style.setProperty("--lines", Math.max(4, Math.min(lines, 16)));
    this.#scrolled();
  }

  #focused() { return this.root.getRootNode().activeElement === this.field; }

  #scrolled() {
    this.copy.scrollTop = this.field.scrollTop;
    this.copy.scrollLeft = this.field.scrollLeft;
  }
}
