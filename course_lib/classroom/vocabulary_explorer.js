// The browser side of VocabularyExplorer (vocabulary_explorer.py): the table, a row of it, an action. The gradients were
// taken in Python; vocabulary_codec.js turns text, token ids and action into one another.

const COLUMNS = 64;
const CELL = 11;
const FLOOR = -5; // powers of ten below the largest gradient that the colours tell apart
const CIVIDIS = [[0, 34, 78], [64, 77, 107], [124, 123, 120], [188, 175, 111], [254, 232, 56]]; // for any kind of colour vision
const KINDS = ["#cc79a7", "#888888", "#56b4e9", "#009e73", "#0072b2", "#f0f0f0", "#f0e442"]; // Okabe and Ito's
const PARTS = ["all", "said", "read", "asked", "heard"];

const rgb = (colour) => `rgb(${colour.map(Math.round).join(",")})`;

function cividis(part) { // 0 ... 1
  const place = Math.max(0, Math.min(1, part)) * (CIVIDIS.length - 1);
  const low = Math.min(CIVIDIS.length - 2, Math.floor(place));
  return rgb(CIVIDIS[low].map((from, c) => from + (place - low) * (CIVIDIS[low + 1][c] - from)));
}

const corner = (row) => [(row % COLUMNS) * CELL, Math.floor(row / COLUMNS) * CELL];
const short = (number) => (number === 0 ? "0" : number.toPrecision(2).replace(/e-0?/, "e−"));
const times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${n} times`);
const rowsOf = (n) => (n === 1 ? "1 row" : `${n.toLocaleString("en")} rows`);

class Explorer extends Panel {
  constructor(model, el) {
    super(model, el, "vocabulary-explorer");
    this.root.setAttribute("aria-label", "Vocabulary explorer");
    this.header = model.get("header");
    this.readNumbers(model.get("numbers"));
    Object.assign(this, { layout: 0, step: 0, colouring: 0, pictures: {} });
    this.levels = model.get("text").split(" ").map(Number);
    this.row = this.ids()[0];
    const { layouts, steps } = this.header;
    this.about = make("p", {});
    this.reading = make("p", {});
    this.root.append(
      this.choice("Action tokens", layouts.map(({ title }) => title), 0, (layout, at) => this.show({ layout }, at)),
      this.choice("A training step", steps, 0, (step, at) => this.show({ step }, at)),
      this.choice("Colour shows", ["how much each row learns", "what each row is"], 0, (colouring, at) => this.show({ colouring }, at)),
      this.makeTable(), this.makeRow(),
      make("div", { class: "controls-words", "aria-live": "polite", "aria-atomic": "true" }, this.about, this.reading),
      this.makeSay(), this.makeAction(),
    );
    this.show();
  }

  readNumbers(view) {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
    let at = 0;
    const take = (count) => new Float32Array(bytes.buffer, (at += 4 * count) - 4 * count, count);
    this.learning = this.header.layouts.map(({ size }) => this.header.steps.map(() => {
      const step = Object.fromEntries(PARTS.map((name) => [name, take(size)]));
      return { ...step, most: step.all.reduce((a, b) => Math.max(a, b), 0) };
    }));
  }

  makeTable() {
    this.canvas = make("canvas", { role: "img" });
    this.canvas.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const row = Math.floor((y * this.canvas.width) / box.width / CELL) * COLUMNS + Math.floor((x * COLUMNS) / box.width);
      if (row < this.now().size) this.show({ row }, event.timeStamp);
    });
    this.legend = make("ul", { class: "vocabulary-explorer-legend" });
    return make("div", {}, this.canvas, this.legend);
  }

  makeRow() {
    const id = `${this.id}-row`;
    this.slider = make("input", { type: "range", id, min: 0, step: 1 });
    this.slider.addEventListener("input", (event) => this.show({ row: Number(this.slider.value) }, event.timeStamp));
    this.word = make("input", { type: "text", id: `${id}-word`, size: 14, autocomplete: "off", spellcheck: "false" });
    const find = (at) => this.find(this.word.value.trim().toLowerCase(), at);
    this.onEnter(this.word, find);
    this.missing = make("p", { role: "status", class: "vocabulary-explorer-problem" });
    return make("div", {}, make("div", { class: "controls-row" },
      make("label", { for: id }, "row"), this.slider,
      make("label", { for: this.word.id }, "or the token"), this.word, this.button("Find", find)), this.missing);
  }

  makeSay() {
    const field = (name, size) => make("input", { type: "text", id: `${this.id}-${name}`, size, autocomplete: "off", spellcheck: "false" });
    [this.text, this.tokenIds] = [field("text", 30), field("ids", 54)];
    const fromText = (at) => this.read(readText(this.text.value, this.header), at);
    const fromIds = (at) => this.read(readIds(this.tokenIds.value, this.header, this.now()), at);
    this.onEnter(this.text, fromText);
    this.onEnter(this.tokenIds, fromIds);
    this.problem = make("p", { role: "status", class: "vocabulary-explorer-problem" });
    const examples = this.header.examples.map(({ name, text }) => this.button(name, (at) => this.read(readText(text, this.header), at)));
    return make("div", {},
      make("div", { class: "controls-row" }, make("label", { for: this.text.id }, "as text"), this.text,
        this.button("Read this text", fromText), ...examples),
      make("div", { class: "controls-row" }, make("label", { for: this.tokenIds.id }, "as token ids"), this.tokenIds,
        this.button("Read these ids", fromIds)),
      this.problem);
  }

  makeAction() {
    this.sliders = this.header.dims.map(({ name, classes }, place) => {
      const last = (classes.length || this.header.bins) - 1;
      const range = make("input", { type: "range", min: 0, max: last, step: 1, "aria-label": name });
      range.addEventListener("input", (event) => {
        this.levels[place] = Number(range.value);
        this.show({}, event.timeStamp);
      });
      return range;
    });
    this.body = make("tbody");
    const heads = ["place", "what", "number", "", "row", "its token", "means"];
    return make("table", { class: "vocabulary-explorer-table" },
      make("caption", {}, "The action, token by token"),
      make("thead", {}, make("tr", {}, ...heads.map((text) => (text ? make("th", { scope: "col" }, text) : make("td"))))), this.body);
  }

  onEnter(input, use) {
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      use(event.timeStamp);
    });
  }

  now() {
    return this.header.layouts[this.layout];
  }

  ids() {
    return idsOf(this.levels, this.now());
  }

  find(token, at) {
    const row = this.header.tokens.indexOf(token);
    if (row >= 0) return this.show({ row }, at);
    this.missing.textContent = `There is no token “${token}” among the ${this.header.tokens.length} of the text.`;
  }

  read({ problem, levels }, at) {
    if (problem) return void (this.problem.textContent = problem);
    this.show({ levels }, at);
  }

  show(change = {}, at) {
    Object.assign(this, change);
    this.row = Math.min(this.row, this.now().size - 1);
    this.slider.max = this.now().size - 1;
    this.slider.value = this.row;
    this.slider.setAttribute("aria-valuetext", `${this.row}, ${this.tokenText(this.row)}`);
    this.problem.textContent = this.missing.textContent = "";
    const ids = this.ids();
    this.paint(ids);
    this.showLegend();
    this.showAction(ids);
    this.about.textContent = this.aboutLayout();
    this.reading.textContent = this.aboutRow();
    this.text.value = this.levels.join(" ");
    this.tokenIds.value = ids.join(" ");
    this.model.set("chosen", this.now().name);
    this.model.set("text", this.text.value);
    this.model.set("ids", ids);
    this.model.save_changes();
    Object.assign(this.root.dataset, { ids: ids.join(" "), levels: this.text.value, layout: this.now().name, row: this.row });
    this.painted(at);
  }

  kind(row) {
    return row < this.header.kinds.length ? this.header.kinds[row] : this.header.kind_names.length - 1;
  }

  tokenText(row) {
    if (row < this.header.tokens.length) return `“${this.header.tokens[row]}”`;
    const edge = this.now().frame.indexOf(row);
    return edge < 0 ? "new" : edge ? "end" : "start";
  }

  // The table without marks; drawn once for each layout, step and colouring.
  picture() {
    const key = [this.layout, this.step, this.colouring].join();
    if (this.pictures[key]) return this.pictures[key];
    const { size } = this.now();
    const { all, most } = this.learning[this.layout][this.step];
    const canvas = make("canvas", { width: COLUMNS * CELL, height: Math.ceil(size / COLUMNS) * CELL });
    const context = canvas.getContext("2d");
    context.strokeStyle = "#888";
    for (let row = 0; row < size; row++) {
      const [x, y] = corner(row);
      if (this.colouring === 0 && all[row] === 0) { // an empty frame: nothing is learned here
        context.strokeRect(x + 2.5, y + 2.5, CELL - 6, CELL - 6);
        continue;
      }
      context.fillStyle = this.colouring ? KINDS[this.kind(row)] : cividis(1 - Math.log10(all[row] / most) / FLOOR);
      context.fillRect(x + 0.5, y + 0.5, CELL - 1, CELL - 1);
    }
    return (this.pictures[key] = canvas);
  }

  paint(ids) {
    const { size } = this.now();
    const picture = this.picture();
    Object.assign(this.canvas, { width: picture.width, height: picture.height });
    const context = this.canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const frame = (row, outer, inner) => {
      const [x, y] = corner(row);
      for (const [colour, inset, width] of [[outer, -0.5, 1], [inner, 1, 2]]) {
        Object.assign(context, { strokeStyle: colour, lineWidth: width });
        context.strokeRect(x + inset, y + inset, CELL - 2 * inset, CELL - 2 * inset);
      }
    };
    ids.forEach((row) => frame(row, "#fff", "#d55e00"));
    frame(this.row, "#fff", "#000");
    this.canvas.setAttribute("aria-label", `The ${size} rows of the table, ${COLUMNS} in a line. The action's are ${ids.join(", ")}.`);
  }

  showLegend() {
    const item = (style, text, name = "") => make("li", {}, make("i", { style, class: name, "aria-hidden": "true" }), text);
    const counts = this.header.kind_names.map((_, k) => {
      const old = this.header.kinds.filter((kind) => kind === k).length;
      return k === this.header.kind_names.length - 1 ? this.now().added : old;
    });
    const bar = `background: linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(cividis).join(",")})`;
    const kinds = this.header.kind_names.map((name, k) => [name, k]).filter(([, k]) => counts[k]);
    this.legend.replaceChildren(
      ...(this.colouring ? kinds.map(([name, k]) => item(`background: ${KINDS[k]}`, `${name} (${counts[k]})`))
        : [item("", "no gradient"), item(bar, "1/100,000 … 1 of the largest gradient", "bar")]),
      item("", "the action's tokens", "action"));
  }

  showAction(ids) {
    const { frame } = this.now();
    const focused = this.sliders.indexOf(document.activeElement); // before the sliders move into new lines
    const line = (place, what, number, slider, id, means) => {
      const jump = this.button(String(id), (at) => this.show({ row: id }, at));
      jump.setAttribute("aria-label", `show row ${id}`);
      return make("tr", {}, make("th", { scope: "row" }, String(place + 1)), make("td", {}, what), make("td", {}, number),
        make("td", {}, slider), make("td", {}, jump), make("td", {}, this.tokenText(id)), make("td", {}, means));
    };
    const first = frame.length ? 1 : 0;
    const lines = this.header.dims.map((dim, k) => {
      const level = this.levels[k];
      const value = meaningOf(dim, level, this.header.bins);
      this.sliders[k].value = level;
      this.sliders[k].setAttribute("aria-valuetext", `${level}, ${value}`);
      return line(k + first, dim.name, String(level), this.sliders[k], ids[k + first], value);
    });
    if (frame.length) {
      lines.unshift(line(0, "start", "", "", frame[0], ""));
      lines.push(line(lines.length, "end", "", "", frame[1], ""));
    }
    this.body.replaceChildren(...lines);
    if (focused >= 0) this.sliders[focused].focus();
  }

  aboutLayout() {
    const { added, parameters, all, size, title } = this.now();
    const { all: gradients, asked } = this.learning[this.layout][this.step];
    const learn = gradients.filter((g) => g > 0).length;
    const more = added ? `${rowsOf(added)} of ${this.header.width} numbers are added (${parameters.toLocaleString("en")} of now ${all.toLocaleString("en")} parameters)`
      : "no row is added";
    return `${title}: ${more}. In this step ${rowsOf(learn)} of ${size.toLocaleString("en")} have a gradient; ${asked.filter((n) => n > 0).length} are a right answer somewhere.`;
  }

  aboutRow() {
    const step = this.learning[this.layout][this.step];
    const [all, said, read, asked, heard] = PARTS.map((name) => step[name][this.row]);
    const stands = standsFor(this.row, this.now(), this.header);
    const who = `Row ${this.row} is ${this.tokenText(this.row)} (${this.header.kind_names[this.kind(this.row)]})${stands ? ` and stands for ${stands}` : ""}.`;
    if (all === 0) return `${who} No gradient: this step leaves it exactly as it is.`;
    const role = asked ? `It is the right answer ${times(asked)}: there it is pulled up.`
      : said ? "It is never the right answer: every answer pushes it down a little." : "It is not among the choices, only read.";
    return `${who} ${role} It is read ${heard ? times(heard) : "nowhere"}. Gradient ${short(all)}, ${short((100 * all) / step.most)}% of the largest: as a word to say ${short(said)}, as a word that was read ${short(read)}.`;
  }
}

export default {
  render({ model, el }) {
    const explorer = new Explorer(model, el);
    return () => explorer.remove();
  },
};
