// The list of the likeliest classes. Its rows are kept, and told anew: a button that somebody is on stays.

export class Classes {
  /** `choose(label)` is called with the class that was chosen, or null when it is chosen no more. */
  constructor(list, choose) {
    this.list = list;
    this.choose = choose;
    this.chosen = null;
    this.choosable = false;
  }

  /** Shows classes, best first: [{label, score}]. */
  show(found) {
    while (this.list.children.length > found.length) this.list.lastChild.remove();
    while (this.list.children.length < found.length) this.list.append(this.row());
    found.forEach(({ label, score }, index) => {
      const button = this.list.children[index].firstChild;
      const [name, share, bar] = button.children;
      button.value = label;
      name.textContent = label;
      share.textContent = percent(score);
      bar.firstChild.style.width = `${100 * score}%`;
    });
    this.mark();
    this.list.classList.remove("stale");
  }

  clear() {
    this.list.replaceChildren();
    this.chosen = null;
  }

  /** Says that what is shown is of an earlier picture. */
  fade() {
    this.list.classList.add("stale");
  }

  mark() {
    for (const { firstChild: button } of this.list.children) {
      button.disabled = !this.choosable;
      if (this.choosable) button.setAttribute("aria-pressed", button.value === this.chosen);
      else button.removeAttribute("aria-pressed");
    }
  }

  row() {
    const row = document.createElement("li");
    const button = element("button", "");
    const bar = element("span", "bar");
    bar.append(element("span", ""));
    button.type = "button";
    button.append(element("span", "label"), element("span", "share"), bar);
    button.addEventListener("click", () => {
      this.chosen = this.chosen === button.value ? null : button.value;
      this.mark();
      this.choose(this.chosen);
    });
    row.append(button);
    return row;
  }
}

/** A share from 0 to 1 in words. */
export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function element(name, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}
