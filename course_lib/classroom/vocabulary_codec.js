// Text ⇄ token ids ⇄ action, for VocabularyExplorer: ActionText and ActionVocabulary once more, in their words where
// something is wrong. `header` is {dims, bins}, `layout` {rows, frame}; levels are the numbers of the text.

function idsOf(levels, { rows, frame }) {
  const ids = levels.map((level, place) => rows[place % rows.length][level]);
  return frame.length ? [frame[0], ...ids, frame[1]] : ids;
}

// {levels} or {problem}.
function readText(text, { dims, bins }) {
  const words = text.trim().split(/\s+/).filter(Boolean);
  for (const [k, word] of words.slice(0, dims.length).entries()) {
    const { name, classes } = dims[k];
    const count = classes.length || bins;
    if (/^\d+$/.test(word) && Number(word) < count) continue;
    const meaning = classes.length ? ` (${classes.map((what, i) => `${i} ${what}`).join(", ")})` : "";
    return { problem: `Number ${k + 1} (${name}) must be a whole number 0 … ${count - 1}${meaning}, got “${word}”.` };
  }
  if (words.length === dims.length) return { levels: words.map(Number) };
  return { problem: `Expected ${dims.length} numbers (${dims.map(({ name }) => name).join(", ")}), got ${words.length}.` };
}

function readIds(text, header, { rows, frame }) {
  const words = text.trim().split(/\s+/).filter(Boolean);
  const want = header.dims.length + frame.length;
  if (words.length !== want) return { problem: `Expected ${want} token ids, got ${words.length}.` };
  const levels = [];
  for (const [k, word] of words.entries()) {
    const id = /^\d+$/.test(word) ? Number(word) : -1;
    const edge = frame.length > 0 && (k === 0 || k === want - 1);
    const level = edge ? frame.indexOf(id) - (k ? 1 : 0) : rows[(frame.length ? k - 1 : k) % rows.length].indexOf(id);
    if (edge ? level !== 0 : level < 0) {
      const wanted = edge ? `the ${k ? "end" : "start"} token` : "an action token";
      return { problem: `Token ${k + 1} of ${want} must be ${wanted}, but it is id ${word}.` };
    }
    if (!edge) levels.push(level);
  }
  return readText(levels.join(" "), header); // a class has fewer numbers than a row has ids
}

// What a row stands for in an action, or "".
function standsFor(row, { rows, frame }, { dims }) {
  if (frame.includes(row)) return `the ${frame[0] === row ? "start" : "end"} of an action`;
  const place = rows.findIndex((ids) => ids.includes(row));
  if (place < 0) return "";
  return `number ${rows[place].indexOf(row)} of ${rows.length > 1 ? dims[place].name : "every place"}`;
}

// The value of a number with its unit.
function meaningOf({ low, high, unit, classes }, level, bins) {
  if (classes.length) return classes[level];
  const value = (level / (bins - 1)) * (high - low) + low;
  if (unit === "m") return `${say(1000 * value, 1)} mm`;
  return unit === "rad" ? `${say((180 * value) / Math.PI, 1)}°` : say(value, 3);
}

