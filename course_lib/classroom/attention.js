// The browser side of AttentionWidget (widgets.py): pictures, maps, keyboard. All frames of a rollout are kept here, so the
// slider and the tokens never wait for Python. Numbers for tests are on the root element: data-input-ms (from an
// input to its picture), data-run-ms (from a new instruction to its first picture), data-model-ms (the policy's part of it).

const PICTURE = 768; // pixels of the big canvas; CSS shows it at half of that or less, so it is crisp on fine screens
const SMALL = 128;

// ---- one view

class View extends Player {
  constructor(store, el) {
    super(store.model, el, "attention", "What RT-1 looks at");
    Object.assign(this, { store, token: 0 });
    this.root.append(this.makeAsk(), this.makePlayer(), this.makeStrip(), (this.status = make("p", { role: "status" })));
    store.views.add(this);
    this.say(store.status);
    if (store.rollout) this.begin(null);
  }

  film() {
    return { steps: this.store.rollout.frames.length, over: this.store.rollout.over };
  }

  remove() {
    this.store.views.delete(this);
    super.remove();
  }

  makeAsk() {
    const plain = { maxlength: 160, autocomplete: "off", spellcheck: "false" };
    this.text = make("input", { id: `${this.id}-text`, list: `${this.id}-known`, ...plain });
    this.text.addEventListener("focus", () => this.text.select());
    this.known = make("datalist", { id: `${this.id}-known` });
    this.scene = make("input", { id: `${this.id}-scene`, type: "number", min: 0, step: 1, required: "" });
    const fresh = this.button("New scene", (at) => {
      this.scene.value = this.store.rollout.header.scene + 1;
      this.ask(at);
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
    this.legend = make("span", {}, "");
    this.words = make("p", { class: "attention-words", "aria-live": "polite", "aria-atomic": "true" });
    this.table = make("table");
    const bar = make("span", { class: "attention-bar", "aria-hidden": "true" }, "0% ", make("i"), this.legend);
    return make(
      "div", { class: "player" },
      make("div", {}, this.makePicture(PICTURE), this.makeBar(), bar), make("div", {}, this.words, this.table),
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
      this.small.push(make("canvas", { width: SMALL, height: SMALL, "aria-hidden": "true" }));
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
      const cells = header.labels.map(() => make("td", { class: "player-share" }));
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
    if (asked !== null) this.start();
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
    return this.button(text, (at) => {
      this.text.value = text;
      this.ask(at);
    });
  }

  ask(at) {
    this.store.ask(this.text.value, this.scene.valueAsNumber, at);
  }

  go(step, at) {
    this.show({ step }, at);
  }

  show(change, at, measure = "inputMs") {
    const { header, frames } = this.store.rollout;
    Object.assign(this, change);
    this.step = this.within(this.step);
    const frame = frames[this.step];
    this.small.forEach((canvas, token) => draw(canvas, frame, header, mapOf(frame, header, token)));
    const most = draw(this.picture, frame, header, mapOf(frame, header, this.token));
    this.legend.textContent = ` ${(100 * most).toFixed(0)}% of the attention in one cell`;
    this.words.textContent = frame.words[this.token];
    const alt = `“${header.instruction}”, step ${this.step}: ${frame.scene}. ${frame.words[this.token]}`;
    this.picture.setAttribute("aria-label", alt);
    this.radios[this.token].checked = true;
    this.showCount();
    this.showShares(frame);
    Object.assign(this.root.dataset, { step: this.step, token: this.token });
    this.painted(at, measure);
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

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.store.rollout) return;
    if (event.target === this.text || event.target === this.scene) {
      if (event.key !== "Enter") return;
      event.preventDefault(); // JupyterLab stops the browser from sending a form with Enter
      return this.ask(event.timeStamp);
    }
    const token = event.key === "a" ? 0 : /^\d$/.test(event.key) ? Number(event.key) : -1;
    if (token >= 0 && token < this.small.length) this.show({ token }, event.timeStamp);
    else if (event.key === " " && (event.target === this.slider || event.target.type === "radio")) this.togglePlay();
    else return super.onKey(event);
    event.preventDefault();
  }

  say(status) {
    this.status.textContent = status;
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
