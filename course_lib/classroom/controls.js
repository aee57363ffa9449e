// What the widgets of the lessons share (one script with each widget's own): elements, a panel that keeps JupyterLab's
// one-letter shortcuts away and hides the still picture, and numbers as people read them.

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// "−0.50": a real minus sign, as many decimals as asked, and no "−0.00".
function say(number, decimals = 2) {
  const text = Math.abs(number).toFixed(decimals);
  return number < 0 && Number(text) !== 0 ? `−${text}` : text;
}

let panels = 0;

class Panel {
  constructor(model, el, name) {
    Object.assign(this, { model, id: `${name}-${++panels}` });
    this.root = make("div", { class: `controls ${name}`, role: "group" });
    // JupyterLab would take plain letters and digits as commands; Ctrl and Command combinations stay its own.
    this.guard = (event) => {
      const plain = !(event.ctrlKey || event.metaKey || event.altKey);
      if (this.root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", plain);
    };
    window.addEventListener("keydown", this.guard, true);
    el.append(this.root);
    Panel.living.add(this);
    this.showStill(false);
  }

  remove() {
    window.removeEventListener("keydown", this.guard, true);
    Panel.living.delete(this);
    if (![...Panel.living].some((panel) => panel.model === this.model)) this.showStill(true);
  }

  showStill(visible) {
    const still = this.model.get("still");
    if (still) document.querySelectorAll(`figure.${still}`).forEach((figure) => {
      (figure.closest(".jp-OutputArea-child") ?? figure).style.display = visible ? "" : "none";
    });
  }

  // A named choice as radio buttons: the browser's own keyboard and screen-reader behaviour.
  choice(title, options, chosen, change) {
    const name = `${this.id}-${++panels}`;
    const labels = options.map((text, i) => {
      const radio = make("input", { type: "radio", name, value: i });
      radio.checked = i === chosen;
      radio.addEventListener("change", (event) => change(i, event.timeStamp));
      return make("label", {}, radio, make("span", {}, text));
    });
    return make("fieldset", { class: "controls-choice" }, make("legend", {}, title), ...labels);
  }

  button(text, click) {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", (event) => click(event.timeStamp));
    return button;
  }

  // Milliseconds from an input to its picture, for the tests.
  painted(at, measure = "inputMs") {
    if (at === undefined) return;
    requestAnimationFrame(() => setTimeout(() => (this.root.dataset[measure] = performance.now() - at)));
  }
}
Panel.living = new Set();
