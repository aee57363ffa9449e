// The browser side of FilmDial (film_dial.py). All numbers are here: per sentence and layer the feature map before FiLM,
// and the scale and shift that the sentence chose. Turning the dial never waits for Python.

const COLOURS = [[33, 102, 172], [247, 247, 247], [179, 88, 6]]; // blue below zero, orange above
const SIZE = 256;

function readNumbers({ sentences, layers, image }, view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
  let at = 0;
  const take = (count) => new Float32Array(bytes.buffer, (at += 4 * count) - 4 * count, count);
  const heard = sentences.map(() => layers.map(({ shape: [C, h, w] }) => (
    { x: take(C * h * w), scale: take(C), shift: take(C), cells: h * w })));
  const picture = new ImageData(image[1], image[0]);
  for (let i = 0; i < image[0] * image[1]; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = bytes[at + 3 * i + c];
    picture.data[4 * i + 3] = 255;
  }
  return { heard, picture };
}

function colourOf(part) { // −1 ... 1
  const clipped = Math.max(-1, Math.min(1, part));
  const end = COLOURS[clipped < 0 ? 0 : 2];
  return COLOURS[1].map((middle, c) => middle + Math.abs(clipped) * (end[c] - middle));
}

function mapImage(values, columns, limit) {
  const image = new ImageData(columns, values.length / columns);
  values.forEach((value, i) => image.data.set([...colourOf(value / limit), 255], 4 * i));
  return image;
}

function paint(canvas, image) {
  const small = make("canvas", { width: image.width, height: image.height });
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function statistics(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return [mean, spread, Math.min(...values), Math.max(...values)];
}

// What the dial does, in a sentence.
function inWords(scale, shift) {
  const factor = 1 + scale;
  const moved = Math.abs(shift) < 0.005 ? "" : `, and every place is ${shift > 0 ? "raised" : "lowered"} by ${say(Math.abs(shift))}`;
  if (Math.abs(factor) < 0.005) return `Silenced: every place holds β = ${say(shift)}, whatever the camera saw.`;
  if (Math.abs(scale) < 0.005) return moved ? `The differences between places stay${moved}.` : "The identity: y = x, nothing is changed.";
  const size = say(Math.abs(factor));
  if (factor < 0) return `Turned over: high places become low, differences are ${size} times as large${moved}.`;
  return `${scale > 0 ? "Louder" : "Quieter"}: differences between places are ${size} times as large${moved}.`;
}

class Dial extends Panel {
  constructor(model, el) {
    super(model, el, "film-dial");
    this.header = model.get("header");
    Object.assign(this, readNumbers(this.header, model.get("numbers")));
    this.root.setAttribute("aria-label", "FiLM dial");
    this.sentence = 0;
    this.layer = this.header.layer;
    this.channel = this.header.layers[this.layer].channel;
    this.root.append(this.makeChoices(), this.makePictures(), this.makeDials(), this.makeReading());
    paint(this.camera, this.picture);
    this.obey();
  }

  makeChoices() {
    const { sentences, layers } = this.header;
    const heard = this.choice("The robot hears", sentences, 0, (i, at) => this.obey({ sentence: i }, at));
    this.layers = make("select", { id: `${this.id}-layer` });
    layers.forEach(({ name, shape }, i) => this.layers.append(make("option", { value: i }, `${name} (${shape.join(" × ")})`)));
    this.layers.value = this.layer;
    this.layers.addEventListener("change", (event) => {
      const layer = Number(this.layers.value);
      this.obey({ layer, channel: layers[layer].channel }, event.timeStamp);
    });
    this.channels = make("input", { type: "range", id: `${this.id}-channel`, min: 1, step: 1 });
    this.channels.addEventListener("input", (event) => this.obey({ channel: this.channels.value - 1 }, event.timeStamp));
    this.channelOut = make("output", { for: this.channels.id });
    const most = sentences.length > 1 ? "Where the sentences differ most" : "Where the sentence turns most";
    const where = make(
      "div", { class: "controls-row" },
      make("label", { for: this.layers.id }, "FiLM after"), this.layers,
      make("label", { for: this.channels.id }, "channel"), this.channels, this.channelOut,
      this.button(most, (at) => this.obey({ channel: layers[this.layer].channel }, at)),
    );
    return make("div", {}, heard, where);
  }

  makePictures() {
    const canvas = () => make("canvas", { width: SIZE, height: SIZE, role: "img" });
    const framed = (node, caption) => make("figure", {}, node, make("figcaption", {}, caption));
    [this.camera, this.before, this.after, this.line] = [canvas(), canvas(), canvas(), canvas()];
    this.camera.setAttribute("aria-label", this.header.scene);
    this.line.setAttribute("aria-label", "The line y = (1 + γ) x + β over x, with a dot per place");
    this.bar = make("p", { class: "film-dial-bar", "aria-hidden": "true" });
    const pictures = make(
      "div", { class: "film-dial-pictures" },
      framed(this.camera, "the camera"), framed(this.before, "before FiLM: x"),
      framed(this.after, "after: y"), framed(this.line, "y over x, a dot per place"),
    );
    return make("div", {}, pictures, this.bar);
  }

  makeDials() {
    const dial = (name, letter, steps) => {
      const id = `${this.id}-${name}`;
      const marks = make("datalist", { id: `${id}-marks` }); // where the other sentences would turn it
      const range = make("input", { type: "range", id, min: -steps, max: steps, step: 1, list: marks.id });
      const out = make("output", { for: id });
      range.addEventListener("input", (event) => this.turn({ [name]: this.unit(name) * range.value }, event.timeStamp));
      Object.assign(this, { [`${name}Dial`]: range, [`${name}Marks`]: marks });
      this[`${name}Out`] = out;
      return make("div", { class: "film-dial-dial" }, make("label", { for: id }, letter), range, marks, out);
    };
    return make(
      "div", {}, dial("scale", "scale γ", 200), dial("shift", "shift β", 200),
      make("div", { class: "controls-row" },
        this.button("As the sentence says", (at) => this.obey({}, at)),
        this.button("Identity: γ = β = 0", (at) => this.turn({ scale: 0, shift: 0 }, at))),
    );
  }

  makeReading() {
    this.words = make("p", { class: "controls-words", "aria-live": "polite", "aria-atomic": "true" });
    this.rows = ["before: x", "after: y"].map((name) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...Array.from({ length: 4 }, () => make("td"))));
    const heads = ["mean", "spread", "lowest", "highest"].map((name) => make("th", { scope: "col" }, name));
    this.table = make(
      "table", {}, make("caption", {}, "The channel over all places"),
      make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...this.rows));
    return make("div", {}, this.words, this.table);
  }

  // A step of a dial: γ goes far enough for every sentence, β as far as the map's own numbers.
  unit(name) {
    return (name === "scale" ? this.reach : this.limit) / 200;
  }

  // Another sentence, layer or channel: the dial goes where the sentence has turned it.
  obey(change = {}, at) {
    Object.assign(this, change);
    const heard = this.heard[this.sentence][this.layer];
    const [C] = this.header.layers[this.layer].shape;
    this.x = Array.from(heard.x.subarray(this.channel * heard.cells, (this.channel + 1) * heard.cells));
    const settings = this.heard.map((layers) => layers[this.layer]);
    const most = (key) => Math.max(...settings.map((one) => Math.abs(one[key][this.channel])));
    this.reach = Math.max(2, Math.ceil(most("scale")));
    this.limit = Math.max(1.5 * Math.max(...this.x.map(Math.abs)), most("shift")) || 1;
    this.channels.max = C;
    this.channels.value = this.channel + 1;
    this.channelOut.textContent = `${this.channel + 1} of ${C}`;
    this.turn({ scale: heard.scale[this.channel], shift: heard.shift[this.channel] }, at);
  }

  turn(change, at) {
    Object.assign(this, change);
    const y = this.x.map((value) => (1 + this.scale) * value + this.shift);
    const columns = this.header.layers[this.layer].shape[2];
    paint(this.before, mapImage(this.x, columns, this.limit));
    paint(this.after, mapImage(y, columns, this.limit));
    this.drawLine(y);
    const [before, after] = [statistics(this.x), statistics(y)];
    this.rows.forEach((row, i) => [before, after][i].forEach((n, j) => (row.cells[j + 1].textContent = say(n))));
    this.showDials();
    const where = `${this.header.layers[this.layer].name}, channel ${this.channel + 1}`;
    this.before.setAttribute("aria-label", `${where}, before FiLM: mean ${say(before[0])}, spread ${say(before[1])}`);
    this.after.setAttribute("aria-label", `${where}, after FiLM: mean ${say(after[0])}, spread ${say(after[1])}`);
    this.bar.replaceChildren(say(-this.limit, 1), make("i"), `${say(this.limit, 1)} (0 is white)`);
    this.words.textContent = `${inWords(this.scale, this.shift)} ${this.whose()}`;
    Object.assign(this.root.dataset, { scale: this.scale, shift: this.shift, layer: this.layer, channel: this.channel });
    this.painted(at);
  }

  showDials() {
    for (const name of ["scale", "shift"]) {
      const dial = this[`${name}Dial`];
      const places = this.heard.map((layers) => Math.round(layers[this.layer][name][this.channel] / this.unit(name)));
      this[`${name}Marks`].replaceChildren(...places.map((value) => make("option", { value })));
      dial.value = Math.round(this[name] / this.unit(name));
      dial.setAttribute("aria-valuetext", say(this[name]));
      this[`${name}Out`].textContent = say(this[name]);
    }
  }

  // Which sentences have the dial where it is now.
  whose() {
    const here = this.header.sentences.filter((_, i) => {
      const { scale, shift } = this.heard[i][this.layer];
      return Math.abs(scale[this.channel] - this.scale) + Math.abs(shift[this.channel] - this.shift) < 1e-6;
    });
    return here.length ? `So says ${here.map((text) => `“${text}”`).join(" and ")}.` : "Your own setting.";
  }

  drawLine(y) {
    const context = this.line.getContext("2d");
    const place = (value) => SIZE * (0.5 + (0.5 * value) / this.limit);
    const stroke = (from, to, colour, dash = []) => {
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(place(from[0]), SIZE - place(from[1]));
      context.lineTo(place(to[0]), SIZE - place(to[1]));
      context.stroke();
    };
    context.fillStyle = "#fff"; // white in every theme, as the middle of the maps is
    context.fillRect(0, 0, SIZE, SIZE);
    context.lineWidth = 1;
    const [low, high] = [-this.limit, this.limit];
    stroke([low, 0], [high, 0], "#888");
    stroke([0, low], [0, high], "#888");
    stroke([low, low], [high, high], "#888", [4, 6]); // the identity
    context.lineWidth = 2;
    const line = (value) => (1 + this.scale) * value + this.shift;
    stroke([low, line(low)], [high, line(high)], "#222");
    context.fillStyle = "#222";
    this.x.forEach((value, i) => context.fillRect(place(value) - 3, SIZE - place(y[i]) - 3, 6, 6));
  }
}

export default {
  render({ model, el }) {
    const dial = new Dial(model, el);
    return () => dial.remove();
  },
};
