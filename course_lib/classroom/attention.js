// The browser side of AttentionWidget (widgets.py): pictures, maps, keyboard. All frames of a rollout are kept here, so the
// slider and the tokens never wait for Python. Numbers for tests are on the root element: data-input-ms (from an
// input to its picture), data-run-ms (from a new instruction to its first picture), data-model-ms (the policy's part of it).

const PICTURE = 768; // pixels of the big canvas; CSS shows it at half of that or less, so it is crisp on fine screens
const SMALL = 128;
const STEP_MS = 333; // RT-1 acts three times a second

// ---- one view

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function canvasOf(size, attributes) {
  return make("canvas", { width: size, height: size, ...attributes });
}

let views = 0;

class View {
  constructor(store, el) {
    Object.assign(this, { store, step: 0, token: 0, id: `attention-${++views}`, timer: null });
    this.root = make("div", { class: "attention" });
    this.root.append(this.makeAsk(), this.makePlayer(), this.makeStrip(), (this.status = make("p", { role: "status" })));
    el.append(this.root);
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    // JupyterLab's one-letter shortcuts would take 1 to 8 and the arrows; Ctrl and Command combinations stay its own.
    this.guard = (event) => {
      const plain = !(event.ctrlKey || event.metaKey || event.altKey);
      if (this.root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", plain);
    };
    window.addEventListener("keydown", this.guard, true);
    store.views.add(this);
    this.say(store.status);
    if (store.rollout) this.begin(null);
  }

  remove() {
    this.pause();
    this.store.views.delete(this);
    window.removeEventListener("keydown", this.guard, true);
    if (this.store.views.size === 0) this.showStill(true);
  }

  makeAsk() {
    const plain = { maxlength: 160, autocomplete: "off", spellcheck: "false" };
    this.text = make("input", { id: `${this.id}-text`, list: `${this.id}-known`, ...plain });
    this.text.addEventListener("focus", () => this.text.select());
    this.known = make("datalist", { id: `${this.id}-known` });
    this.scene = make("input", { id: `${this.id}-scene`, type: "number", min: 0, step: 1, required: "" });
    const fresh = make("button", { type: "button" }, "New scene");
    fresh.addEventListener("click", (event) => {
      this.scene.value = this.store.rollout.header.scene + 1;
      this.ask(event.timeStamp);
    });
    const group = { role: "group", "aria-label": "Instructions for the things on the table" };
    this.offers = make("span", { class: "attention-offers", ...group });
    const form = make(
      "form", { "aria-label": "New rollout" },
      make("label", { for: this.text.id }, "Instruction"), this.text, this.known, make("button", { type: "submit" }, "Run"),
      make("label", { for: this.scene.id }, "Scene"), this.scene, fresh, this.offers,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(event.timeStamp);
    });
    return form;
  }

  makePlayer() {
    this.picture = canvasOf(PICTURE, { role: "img", tabindex: 0, class: "attention-picture" });
    this.legend = make("span", {}, "");
    this.play = make("button", { type: "button", class: "attention-play" });
    this.play.addEventListener("click", () => this.togglePlay());
    this.slider = make("input", { type: "range", min: 0, value: 0, step: 1, "aria-label": "Step" });
    this.slider.addEventListener("input", (event) => {
      this.pause();
      this.show({ step: Number(this.slider.value) }, event.timeStamp);
    });
    this.count = make("span", { class: "attention-count", "aria-hidden": "true" });
    this.words = make("p", { class: "attention-words", "aria-live": "polite", "aria-atomic": "true" });
    this.table = make("table");
    const bar = make("span", { class: "attention-bar", "aria-hidden": "true" }, "0% ", make("i"), this.legend);
    return make(
      "div", { class: "attention-player" },
      make("div", {}, this.picture, make("div", { class: "attention-controls" }, this.play, this.slider, this.count), bar),
      make("div", { class: "attention-reading" }, this.words, this.table),
    );
  }

  makeStrip() {
    this.strip = make("fieldset", { class: "attention-strip" }, make("legend", {}, "Show the attention of"));
    return this.strip;
  }

  // A radio button with a small map per token: the browser's own keyboard and screen-reader behaviour.
  fillStrip(tokens) {
    if (this.small?.length === tokens + 1) return;
    this.small = [];
    this.radios = [];
    const labels = Array.from({ length: tokens + 1 }, (_, token) => {
      const radio = make("input", { type: "radio", name: `${this.id}-token`, value: token });
      radio.addEventListener("change", (event) => this.show({ token }, event.timeStamp));
      this.radios.push(radio);
      this.small.push(canvasOf(SMALL, { "aria-hidden": "true" }));
      return make("label", {}, radio, this.small[token], make("span", {}, token ? `token ${token}` : "all"));
    });
    this.strip.replaceChildren(this.strip.firstChild, ...labels);
  }

  fillTable(header) {
    const key = [header.labels, header.asked, header.maps[0]].join();
    if (key === this.columns) return;
    this.columns = key;
    const heads = header.labels.map((name, i) => {
      const cell = make("th", { scope: "col" }, i === 0 ? "empty table" : name);
      if (i === header.asked) cell.append(make("small", {}, " (asked for)"));
      return cell;
    });
    const order = [...heads.slice(1), heads[0]]; // things first, the rest last
    const rows = this.small.map((_, token) => {
      const cells = header.labels.map(() => make("td"));
      return make("tr", {}, make("th", { scope: "row" }, token ? `token ${token}` : "all tokens"), ...cells);
    });
    const caption = make("caption", {}, "Where the attention lies");
    this.table.replaceChildren(
      caption, make("thead", {}, make("tr", {}, make("td"), ...order)), make("tbody", {}, ...rows));
  }

  begin(asked) {
    const { header } = this.store.rollout;
    this.pause();
    this.fillStrip(header.maps[0]);
    this.fillTable(header);
    this.text.value = header.instruction;
    this.scene.value = header.scene;
    this.fillOffers(header.things);
    this.token = Math.min(this.token, header.maps[0]);
    this.step = 0;
    this.grew();
    this.show({}, asked ?? undefined, "runMs");
    this.root.dataset.rollout = header.rollout;
    this.root.dataset.modelMs = this.store.rollout.frames[0].model_ms;
    this.showStill(false);
    if (asked !== null && !window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.togglePlay();
  }

  // What can be asked here: a button per thing, and all known sentences about them in the box's list.
  fillOffers(things) {
    if (String(things) === this.things) return; // new buttons would take the keyboard's focus away
    this.things = String(things);
    const known = this.store.model.get("known").filter((text) => things.some((thing) => text.includes(thing)));
    const first = (thing) => known.find((text) => text.includes(thing)) ?? thing;
    this.known.replaceChildren(...known.map((text) => make("option", { value: text })));
    this.offers.replaceChildren("On the table: ", ...things.map((thing) => this.offer(first(thing))));
  }

  offer(text) {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", (event) => {
      this.text.value = text;
      this.ask(event.timeStamp);
    });
    return button;
  }

  ask(at) {
    this.store.ask(this.text.value, this.scene.valueAsNumber, at);
  }

  grew() {
    this.slider.max = this.store.rollout.frames.length - 1;
    this.showCount();
  }

  showCount() {
    const last = this.slider.max;
    this.count.textContent = `step ${this.step} of ${last}`;
    this.slider.setAttribute("aria-valuetext", `step ${this.step} of ${last}`);
  }

  show(change, at, measure = "inputMs") {
    const { header, frames } = this.store.rollout;
    Object.assign(this, change);
    this.step = Math.max(0, Math.min(this.step, frames.length - 1));
    const frame = frames[this.step];
    this.small.forEach((canvas, token) => draw(canvas, frame, header, mapOf(frame, header, token)));
    const most = draw(this.picture, frame, header, mapOf(frame, header, this.token));
    this.legend.textContent = ` ${(100 * most).toFixed(0)}% of the attention in one cell`;
    this.words.textContent = frame.words[this.token];
    const alt = `“${header.instruction}”, step ${this.step}: ${frame.scene}. ${frame.words[this.token]}`;
    this.picture.setAttribute("aria-label", alt);
    this.slider.value = this.step;
    this.radios[this.token].checked = true;
    this.showCount();
    this.showShares(frame);
    Object.assign(this.root.dataset, { step: this.step, token: this.token });
    if (at === undefined) return;
    const painted = () => (this.root.dataset[measure] = performance.now() - at);
    requestAnimationFrame(() => setTimeout(painted));
  }

  showShares(frame) {
    [...this.table.tBodies[0].rows].forEach((row, token) => {
      row.toggleAttribute("data-chosen", token === this.token);
      const [table, ...things] = frame.shares[token];
      [...things, table].forEach((share, i) => {
        row.cells[i + 1].textContent = `${Math.round(100 * share)}%`;
        row.cells[i + 1].style.setProperty("--share", share);
      });
    });
  }

  togglePlay() {
    if (this.timer) return this.pause();
    if (this.store.rollout.over && this.step === this.store.rollout.frames.length - 1) this.show({ step: 0 });
    this.timer = setInterval(() => {
      const { frames, over } = this.store.rollout;
      if (this.step < frames.length - 1) this.show({ step: this.step + 1 });
      if (over && this.step === frames.length - 1) this.pause();
    }, STEP_MS);
    this.showPlay();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.showPlay();
  }

  showPlay() {
    this.play.textContent = this.timer ? "Pause" : "Play";
    this.words.setAttribute("aria-live", this.timer ? "off" : "polite"); // three sentences a second are too many to hear
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.store.rollout) return;
    if (event.target === this.text || event.target === this.scene) {
      if (event.key !== "Enter") return;
      event.preventDefault(); // JupyterLab stops the browser from sending a form with Enter
      return this.ask(event.timeStamp);
    }
    const onPicture = event.target === this.picture;
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
    const plays = onPicture || event.target === this.slider || event.target.type === "radio";
    const token = event.key === "a" ? 0 : /^\d$/.test(event.key) ? Number(event.key) : -1;
    if (token >= 0 && token < this.small.length) this.show({ token }, event.timeStamp);
    else if (onPicture && event.key in steps) {
      this.pause();
      this.show({ step: this.step + steps[event.key] }, event.timeStamp);
    } else if (event.key === " " && plays) this.togglePlay();
    else return;
    event.preventDefault();
  }

  say(status) {
    this.status.textContent = status;
  }

  showStill(visible) {
    const still = this.store.model.get("still");
    if (still) document.querySelectorAll(`figure.${still}`).forEach((figure) => {
      (figure.closest(".jp-OutputArea-child") ?? figure).style.display = visible ? "" : "none";
    });
  }
}

export default () => {
  const store = new Store();
  return {
    initialize({ model }) {
      store.connect(model);
    },
    render({ el }) {
      const view = new View(store, el);
      return () => view.remove();
    },
  };
};
