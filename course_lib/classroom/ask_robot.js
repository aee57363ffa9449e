// The browser side of AskRobot (ask_robot.py). All steps of a rollout are kept here, so the slider never waits for Python.
// Numbers for tests are on the root element: data-number (rollout), data-step, data-input-ms (from an input to its picture).

const PICTURE = 512;
const PATIENCE_MS = 6000;
const SLOW = "No answer yet: the kernel is busy, has stopped, or met an error. Look into View > Show Log Console.";

function asBytes(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function readPicture([rows, columns], bytes) {
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) image.data.set([...bytes.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  const canvas = make("canvas", { width: columns, height: rows });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// ---- the rollout, shared by all views of one widget

class Store {
  constructor() {
    this.steps = [];
    this.views = new Set();
    this.timer = null;
  }

  connect(model) {
    this.model = model;
    this.status = model.get("status");
    model.on("msg:custom", (message, buffers) => this.receive(message, buffers));
    model.on("change:rollout", () => this.readTraits());
    this.readTraits();
  }

  readTraits() {
    const { steps, ...header } = this.model.get("rollout");
    if (!steps || this.header?.number === header.number) return; // streamed here already
    const bytes = asBytes(this.model.get("pixels"));
    const size = bytes.length / steps.length;
    this.begin(header, steps.map((texts, i) => ({ ...texts, picture: readPicture(header.image, bytes.subarray(i * size)) })));
    this.over = true;
    this.say(this.model.get("status"));
  }

  begin(header, steps) {
    Object.assign(this, { header, steps, over: false, answer: null });
    this.views.forEach((view) => view.begin());
  }

  receive(message, buffers) {
    clearTimeout(this.timer);
    if (message.kind === "problem") {
      if (message.about === "ask") this.views.forEach((view) => view.answered(message.status));
      else this.say(message.status);
    } else if (message.kind === "answer") {
      this.answer = message;
      const where = message.words ? ` (${message.words}: the cross)` : "";
      const text = message.answer.trim();
      const said = text ? `“${text}”${where}` : "(nothing that could be read)";
      this.views.forEach((view) => view.answered(`${message.question} → ${said}`, message.step));
    } else if (message.kind === "step") this.receiveStep(message, buffers);
  }

  receiveStep({ header, step, texts, status }, buffers) {
    const one = { ...texts, picture: readPicture(header.image, asBytes(buffers[0])) };
    if (step === 0) {
      this.begin(header, [one]);
      this.say(`The robot acts on “${header.instruction}” …`);
      this.views.forEach((view) => view.start());
    } else if (this.header?.number === header.number && step === this.steps.length) {
      this.steps.push(one);
      this.views.forEach((view) => view.grew());
    }
    this.over = status !== undefined;
    if (this.over) this.say(status);
    else this.send({ kind: "next", number: header.number, step: step + 1 });
  }

  send(message) {
    this.model.send(message);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say(SLOW), PATIENCE_MS);
  }

  say(status) {
    this.status = status;
    this.views.forEach((view) => view.say(status));
  }
}

// ---- one view

class View extends Player {
  constructor(store, el) {
    super(store.model, el, "ask-robot", "Ask the robot");
    this.store = store;
    this.status = make("p", { class: "controls-words", role: "status" });
    this.root.append(this.makeForm(), this.makePlayer(), this.makeQuestion(), this.status);
    store.views.add(this);
    this.say(store.status);
    if (store.header) this.begin();
  }

  film() {
    return { steps: this.store.steps.length, over: this.store.over };
  }

  remove() {
    this.store.views.delete(this);
    super.remove();
  }

  // A text box that Enter sends: JupyterLab stops the browser from sending a form with Enter.
  box(name, send) {
    const box = make("input", { type: "text", id: `${this.id}-${name}`, maxlength: 160, autocomplete: "off", spellcheck: "false" });
    box.addEventListener("focus", () => box.select());
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      send(event.timeStamp);
    });
    return box;
  }

  makeForm() {
    this.text = this.box("text", (at) => this.run(at));
    this.scene = make("input", { type: "number", id: `${this.id}-scene`, min: 0, step: 1 });
    this.scene.addEventListener("keydown", (event) => event.key === "Enter" && this.run(event.timeStamp));
    this.offers = make("div", { class: "controls-row", role: "group", "aria-label": "Instructions for this table" });
    const row = make(
      "div", { class: "controls-row" },
      make("label", { for: this.text.id }, "Instruction"), this.text, this.button("Run", (at) => this.run(at)),
      make("label", { for: this.scene.id }, "Scene"), this.scene,
      this.button("New scene", (at) => {
        this.scene.value = this.store.header.scene + 1;
        this.run(at);
      }),
    );
    return make("div", {}, row, this.offers);
  }

  makePlayer() {
    this.plan = make("p", { class: "ask-robot-plan" });
    this.words = make("p", { class: "ask-robot-words", "aria-live": "polite", "aria-atomic": "true" });
    this.rows = make("tbody");
    const heads = ["number", "level", "token", "probability", "means"].map((name) => make("th", { scope: "col" }, name));
    const caption = make("caption", {}, "The action, token by token");
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), this.rows);
    return make(
      "div", { class: "player" },
      make("div", {}, this.makePicture(PICTURE), this.makeBar()), make("div", {}, this.plan, this.words, table),
    );
  }

  makeQuestion() {
    this.question = this.box("question", () => this.ask());
    this.question.setAttribute("list", `${this.id}-questions`);
    this.answer = make("output", { class: "ask-robot-answer", for: this.question.id });
    this.known = make("datalist", { id: `${this.id}-questions` });
    return make(
      "div", { class: "controls-row ask-robot-question" },
      make("label", { for: this.question.id }, "Ask about this picture"), this.question, this.known,
      this.button("Ask", () => this.ask()), this.answer,
    );
  }

  begin() {
    const { header } = this.store;
    this.pause();
    this.text.value = header.instruction;
    this.scene.value = header.scene;
    const things = String(header.things);
    if (things !== this.things) { // new buttons would take the keyboard's focus away
      this.things = things;
      this.offers.replaceChildren("On this table, try ", ...header.offers.map((text) => this.offer(text)));
      const forms = this.model.get("questions");
      const asked = header.things.flatMap((thing) => forms.map((form) => form.replace("…", thing)));
      this.known.replaceChildren(...asked.map((value) => make("option", { value })));
      this.question.value = asked[0] ?? "";
    }
    this.answer.textContent = "";
    this.grew();
    this.go(0, this.asked);
    this.asked = undefined;
    this.root.dataset.number = header.number;
  }

  offer(text) {
    return this.button(text, (at) => {
      this.text.value = text;
      this.run(at);
    });
  }

  run(at) {
    this.asked = at;
    this.say("Asking the robot …");
    this.store.send({ kind: "run", instruction: this.text.value, scene: this.scene.valueAsNumber });
  }

  ask() {
    this.pause();
    this.answer.textContent = "…";
    this.store.send({ kind: "ask", question: this.question.value, step: this.step });
  }

  answered(text, step) {
    this.answer.textContent = text;
    if (step !== undefined) this.go(step);
  }

  go(step, at) {
    const { header, steps } = this.store;
    this.step = this.within(step);
    const one = steps[this.step];
    this.showCount();
    this.draw(one);
    this.plan.replaceChildren(make("b", {}, "Plan: "), one.plan || (one.numbers.length ? "(none)" : "–"));
    this.words.textContent = one.words;
    this.picture.setAttribute("aria-label", `“${header.instruction}”, step ${this.step}: ${one.scene}. ${one.words}`);
    this.rows.replaceChildren(...one.numbers.map((number) => this.row(number)));
    this.root.dataset.step = this.step;
    this.painted(at);
  }

  row({ name, level, token, probability, value }) {
    const bar = make("td", { class: "player-share" }, `${Math.round(100 * probability)}%`);
    bar.style.setProperty("--share", probability);
    const cells = [level, token].map((text) => make("td", {}, String(text)));
    return make("tr", {}, make("th", { scope: "row" }, name.replace("_", " ")), ...cells, bar, make("td", {}, value));
  }

  // The picture, with a cross at each place that the plan or the last answer names.
  draw(one) {
    const context = this.picture.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(one.picture, 0, 0, PICTURE, PICTURE);
    const { answer } = this.store;
    const places = [...one.places, ...(answer?.step === this.step ? answer.places : [])];
    for (const [colour, width] of [["#000", 9], ["#ffd54a", 4]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.beginPath();
      places.forEach(([x, y]) => {
        const [cx, cy, r] = [x * PICTURE, y * PICTURE, PICTURE / 26];
        context.moveTo(cx - r, cy);
        context.lineTo(cx + r, cy);
        context.moveTo(cx, cy - r);
        context.lineTo(cx, cy + r);
      });
      context.stroke();
    }
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
