/** A list of choices under or over a field: arrows move in it while the focus stays in the field. */
import { make } from "./dom.js";

/** The choices of one field. Each has `text` or `parts` to show, and is handed to `pick`. */
export class Listbox {
  #list; #field; #pick;
  #options = [];
  #active = 0;

  constructor(list, field, pick) {
    [this.#list, this.#field, this.#pick] = [list, field, pick];
    // The field keeps the focus.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", ({ target }) => {
      const index = [...list.children].indexOf(target.closest("li"));
      if (index >= 0) this.#pick(this.#options[index]);
    });
  }

  get isOpen() { return this.#options.length > 0; }
  get active() { return this.#options[this.#active]; }

  show(options) {
    if (options.length === 0 && !this.isOpen) return;
    this.#options = options;
    this.#list.hidden = options.length === 0;
    this.#list.replaceChildren(...options.map(({ text, parts = [text] }, index) => {
      const item = make("li", { id: `${this.#list.id}-${index}` }, ...parts);
      item.setAttribute("role", "option");
      return item;
    }));
    this.#mark(0);
  }
  close() { this.show([]); }

  #mark(index) {
    this.#active = index;
    [...this.#list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
    const item = this.#list.children[index];
    if (item) this.#field.setAttribute("aria-activedescendant", item.id);
    else this.#field.removeAttribute("aria-activedescendant");
    item?.scrollIntoView({ block: "nearest" });
  }

  /** Handles the keys of the field, but for those that close a dialog or leave the field. */
  listen() {
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || event.key === "Tab" || event.isComposing) return;
      if (this.press(event)) event.preventDefault();
    });
  }

  /** Handles a key; returns whether it was meant for the list. */
  press({ key }) {
    if (!this.isOpen) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (step) {
      const { length } = this.#options;
      this.#mark((this.#active + step + length) % length);
    } else if (key === "Enter" || key === "Tab") {
      this.#pick(this.active);
    } else if (key === "Escape") {
      this.close();
    } else {
      return false;
    }
    return true;
  }
}
