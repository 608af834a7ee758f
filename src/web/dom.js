/** Elements of a page: finds, makes and lists them. Texts become text nodes, never HTML. */

const HIDDEN_MS = 100; // a hidden page has no frames

export const $ = (id) => document.getElementById(id);

export const plural = (count, thing) => (count === 1 ? `1 ${thing}` : `${count} ${thing}s`);

/** Creates an element with properties; children are elements, or strings that become text nodes. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Returns a function that schedules `run` for the next frame; several calls before the frame run it once. */
export function oncePerFrame(run) {
  let isDue = false;
  const now = () => {
    isDue = false;
    run();
  };
  return () => {
    if (isDue) return;
    isDue = true;
    if (document.hidden) setTimeout(now, HIDDEN_MS);
    else requestAnimationFrame(now);
  };
}

/** Returns a function that runs `run` after a pause; several calls within the pause run it once. */
export function after(pauseMs, run) {
  let timer;
  return () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      run();
    }, pauseMs);
  };
}

/**
 * Fills a list with buttons. Each entry has a `name`, the `parts` of its button, and `press`, or no `press` if there is
 * nothing to press. Buttons that are there already stay: one that is replaced under the pointer gets no click.
 */
export function fill(list, entries) {
  const there = new Map([...list.children].map((item) => [item.dataset.name, item]));
  const items = entries.map(({ name, parts, press, title = "", isCurrent = false }) => {
    const isButton = press !== undefined;
    let item = there.get(name);
    if (!item || (item.firstChild?.tagName === "BUTTON") !== isButton) {
      item = make("li", isButton ? {} : { className: "me" });
      item.dataset.name = name;
      if (isButton) item.append(make("button", { type: "button", title }));
    }
    const holder = isButton ? item.firstChild : item;
    holder.replaceChildren(...parts);
    if (!isButton) return item;
    holder.onclick = press;
    if (isCurrent) holder.setAttribute("aria-current", "true");
    else holder.removeAttribute("aria-current");
    return item;
  });
  // An item that moves loses the focus.
  items.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  while (list.children.length > items.length) list.lastChild.remove();
}
