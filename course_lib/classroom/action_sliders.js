// The browser side of ActionTokenSliders (action_sliders.py): the tokenizer's arithmetic once more, in float32 step by step
// (Math.fround), so that every token is the one that Python gives.

const BINS = 256;
const FINE = 2000; // positions of a slider; one level of 256 is 7.8 of them
const STEPS = 30; // ten seconds at 3 Hz
const f = Math.fround;

function roundHalfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

function encode({ low, high, classes }, value, rounding) {
  if (classes.length) return value;
  const range = f(f(high) - f(low));
  const clipped = Math.max(f(low), Math.min(f(high), f(value)));
  const level = f(f(f(clipped - f(low)) / range) * (BINS - 1));
  return rounding === "floor" ? Math.floor(level) : roundHalfToEven(level);
}

function decode({ low, high, classes }, token) {
  if (classes.length) return token < classes.length ? token : 0;
  return f(f(f(token / (BINS - 1)) * f(f(high) - f(low))) + f(low));
}

// [wanted or decoded, error] with units as people read them.
function withUnit({ unit, classes }, value) {
  if (classes.length) return classes[value];
  return unit === "m" ? `${say(1000 * value, 1)} mm` : `${say(value, 3)} ${unit}`.trim();
}

function errorWithUnit({ unit, classes }, error) {
  if (classes.length) return "";
  return unit ? `${say(1000 * error, 1)} ${unit === "m" ? "mm" : "mrad"}` : say(error, 4);
}

// What is wrong with a typed string, in ActionText's words, or its tokens.
function parse(text, { dims, order }) {
  const words = text.trim().split(/\s+/).filter(Boolean);
  const names = order.map((place) => dims[place].name);
  for (const [k, word] of words.slice(0, order.length).entries()) {
    const { classes } = dims[order[k]];
    const count = classes.length || BINS;
    if (/^\d+$/.test(word) && Number(word) < count) continue;
    const meaning = classes.length ? ` (${classes.map((name, i) => `${i} ${name}`).join(", ")})` : "";
    return { problem: `Number ${k + 1} (${names[k]}) must be a whole number 0 … ${count - 1}${meaning}, got “${word}”.` };
  }
  if (words.length === order.length) return { tokens: words.map(Number) };
  return { problem: `Expected ${order.length} numbers (${names.join(", ")}), got ${words.length}.` };
}

class Sliders extends Panel {
  constructor(model, el) {
    super(model, el, "action-sliders");
    this.root.setAttribute("aria-label", "Action tokens");
    Object.assign(this, { robots: model.get("robots"), robot: 0, rounding: model.get("rounding") });
    this.action = [...model.get("start")];
    const roundings = ["floor", "nearest"];
    this.words = make("p", { class: "controls-words", "aria-live": "polite", "aria-atomic": "true" });
    this.body = make("tbody");
    const heads = ["number", "", "wanted", "token", "levels around it", "comes back", "error"];
    this.root.append(
      this.choice("Robot", this.robots.map(({ title }) => title), 0, (robot, at) => this.meet(robot, at)),
      this.choice("A number between two levels becomes", ["the lower one (floor, RT-1's release)", "the nearest one"],
        roundings.indexOf(this.rounding), (i, at) => this.show({ rounding: roundings[i] }, at)),
      this.makeSay(),
      make("table", { class: "action-sliders-table" },
        make("caption", {}, "The action, number by number"),
        make("thead", {}, make("tr", {}, ...heads.map((text) => (text ? make("th", { scope: "col" }, text) : make("td"))))), this.body),
      this.words,
    );
    this.meet(0, undefined, this.action);
  }

  makeSay() {
    this.text = make("input", { type: "text", id: `${this.id}-text`, size: 30, autocomplete: "off", spellcheck: "false" });
    const use = () => this.read(this.text.value, performance.now());
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.read(this.text.value, event.timeStamp);
    });
    this.problem = make("p", { role: "status", class: "action-sliders-problem" });
    const still = (at) => this.show({ action: [...this.robots[this.robot].still] }, at);
    return make("div", {},
      make("div", { class: "controls-row" },
        make("label", { for: this.text.id }, "RT-2 would say"), this.text, this.button("Use this string", use),
        this.button("RT-2's example", (at) => this.read(this.model.get("example").join(" "), at)),
        this.button("Do not move", still)),
      this.problem);
  }

  // Another robot: new rows, and an action that does not move (or the one given).
  meet(robot, at, action) {
    this.robot = robot;
    const { dims, still } = this.robots[robot];
    this.rows = dims.map((dim, i) => {
      const id = `${this.id}-${robot}-${i}`;
      const last = dim.classes.length ? dim.classes.length - 1 : FINE;
      const range = make("input", { type: "range", id, min: 0, max: last, step: 1 });
      range.addEventListener("input", (event) => {
        const part = Number(range.value) / last;
        this.action[i] = dim.classes.length ? Number(range.value) : dim.low + (dim.high - dim.low) * part;
        this.show({}, event.timeStamp);
      });
      const cells = ["wanted", "token", "levels", "back", "error"].map((name) => make("td", { class: `action-sliders-${name}` }));
      this.body.rows[i]?.remove();
      return { range, cells, row: make("tr", {}, make("th", { scope: "row" }, make("label", { for: id }, dim.name)), make("td", {}, range), ...cells) };
    });
    this.body.replaceChildren(...this.rows.map(({ row }) => row));
    this.show({ action: action ?? [...still] }, at);
  }

  read(text, at) {
    const { dims, order, still } = this.robots[this.robot];
    const { problem, tokens } = parse(text, this.robots[this.robot]);
    if (problem) return void (this.problem.textContent = problem);
    const action = [...still];
    order.forEach((place, k) => (action[place] = decode(dims[place], tokens[k])));
    this.show({ action }, at);
    const changed = order.filter((place, k) => this.tokens[place] !== tokens[k]).length;
    if (changed) this.problem.textContent = `${changed} of these ${tokens.length} tokens came back as others: decoded and encoded again in float32, floor can fall one level short.`;
  }

  show(change = {}, at) {
    Object.assign(this, change);
    const { dims, order } = this.robots[this.robot];
    this.tokens = dims.map((dim, i) => encode(dim, this.action[i], this.rounding));
    const back = dims.map((dim, i) => decode(dim, this.tokens[i]));
    dims.forEach((dim, i) => this.showRow(dim, this.rows[i], this.action[i], this.tokens[i], back[i]));
    this.problem.textContent = this.leftOut();
    this.text.value = order.map((place) => this.tokens[place]).join(" ");
    this.words.textContent = this.reading(back);
    this.model.set("tokens", this.tokens);
    this.model.set("rounding", this.rounding);
    this.model.save_changes();
    Object.assign(this.root.dataset, { tokens: this.tokens.join(" "), rounding: this.rounding, robot: this.robot });
    this.painted(at);
  }

  // RT-2's string has no place for the base.
  leftOut() {
    const { dims, order } = this.robots[this.robot];
    const moving = dims.filter((dim, i) => !order.includes(i) && Math.abs(this.action[i]) > (dim.high - dim.low) / (2 * (BINS - 1)));
    return moving.length ? `RT-2's string leaves out ${moving.map(({ name }) => name).join(" and ")}: the base would stay.` : "";
  }

  showRow(dim, { range, cells }, value, token, back) {
    const [wanted, tokenCell, levels, backCell, error] = cells;
    range.value = dim.classes.length ? value : Math.round(((value - dim.low) / (dim.high - dim.low)) * FINE);
    range.setAttribute("aria-valuetext", `${withUnit(dim, value)}, token ${token}`);
    wanted.textContent = withUnit(dim, value);
    tokenCell.textContent = token;
    backCell.textContent = withUnit(dim, back);
    error.textContent = errorWithUnit(dim, back - value);
    levels.replaceChildren(...(dim.classes.length ? [] : [this.drawLevels(dim, value, token)]));
  }

  // Five levels around the wanted value: ticks, the chosen one as a disc, the wanted value as a line.
  drawLevels(dim, value, token) {
    const svg = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, text] of Object.entries(attributes)) node.setAttribute(name, text);
      return node;
    };
    const exact = ((value - dim.low) / (dim.high - dim.low)) * (BINS - 1);
    const x = (level) => 60 + 24 * (level - exact);
    const picture = svg("svg", { viewBox: "0 0 120 18", width: 120, height: 18, "aria-hidden": "true" });
    for (let level = Math.ceil(exact - 2.4); level <= exact + 2.4; level++) {
      if (level < 0 || level > BINS - 1) continue;
      picture.append(svg("line", { x1: x(level), x2: x(level), y1: 5, y2: 13, class: "action-sliders-tick" }));
    }
    picture.append(
      svg("circle", { cx: x(token), cy: 9, r: 5, class: "action-sliders-chosen" }),
      svg("line", { x1: 60, x2: 60, y1: 0, y2: 18, class: "action-sliders-wanted-line" }),
    );
    return picture;
  }

  reading(back) {
    const { arm } = this.robots[this.robot];
    const errors = arm.map((i) => 1000 * (back[i] - this.action[i]));
    const length = Math.hypot(...errors);
    const each = errors.map((error, k) => `${"xyz"[k]} ${say(error, 1)}`).join(", ");
    const drift = say(STEPS * length, 0);
    return `The arm goes ${say(length, 1)} mm beside what was wanted (${each}). Given ${STEPS} times, ten seconds at 3 Hz, this command ends ${drift} mm off.`;
  }
}

export default {
  render({ model, el }) {
    const sliders = new Sliders(model, el);
    return () => sliders.remove();
  },
};
