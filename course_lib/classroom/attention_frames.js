// Frames and drawing, for attention.js (one script in the browser): a rollout's pictures and maps, shared by all views of
// a widget, and the veil that shows a map over a picture.

const PATIENCE_MS = 4000;
const SLOW = "No answer yet: the kernel is busy, has stopped, or met an error. Look into View > Show Log Console.";
const CIVIDIS = [[0, 34, 78], [59, 73, 108], [112, 113, 115], [165, 156, 116], [225, 204, 85], [254, 232, 56]];

// ---- frames: shared by all views of one widget

function readFrame(header, texts, bytes) {
  const [rows, columns] = header.image;
  const cells = header.maps.reduce((a, b) => a * b);
  const colours = 3 * rows * columns;
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[3 * i + c];
    image.data[4 * i + 3] = 255;
  }
  const maps = new Float32Array(bytes.slice(colours, colours + 4 * cells).buffer);
  return { image, maps, ...texts };
}

function asBytes(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

class Store {
  constructor() {
    this.rollout = null; // {header, frames, over}
    this.views = new Set();
    this.asked = null; // time of the input that Python has not answered yet
    this.timer = null;
  }

  connect(model) {
    this.model = model;
    this.status = model.get("status");
    model.on("msg:custom", (message, buffers) => this.receive(message, buffers));
    model.on("change:pixels", () => this.readTraits());
    this.readTraits();
  }

  readTraits() {
    const header = this.model.get("header");
    const bytes = asBytes(this.model.get("pixels"));
    if (!header.frames || this.rollout?.header.rollout === header.rollout) return; // streamed here already
    const size = bytes.length / header.frames.length;
    const frames = header.frames.map((texts, i) => readFrame(header, texts, bytes.slice(i * size, (i + 1) * size)));
    this.begin({ header, frames, over: true }, this.model.get("status"));
  }

  receive(message, buffers) {
    if (message.kind === "problem") {
      this.answered();
      this.say(message.status);
    } else if (message.kind === "frame") {
      const frame = readFrame(message.header, message.texts, asBytes(buffers[0]));
      const over = message.status !== undefined;
      if (message.step === 0) {
        const status = `The robot acts on “${message.header.instruction}” …`;
        this.begin({ header: message.header, frames: [frame], over }, status);
      } else if (this.rollout?.header.rollout === message.header.rollout && message.step === this.rollout.frames.length) {
        this.rollout.frames.push(frame);
        this.rollout.over = over;
        this.views.forEach((view) => view.grew());
      }
      if (!over) this.send({ kind: "next", rollout: message.header.rollout, step: message.step + 1 });
      else if (this.asked === null) {
        // else a newer question is on its way: its answer speaks
        this.answered();
        this.say(message.status);
      }
    }
  }

  begin(rollout, status) {
    const asked = this.answered();
    this.rollout = rollout;
    this.say(status);
    this.views.forEach((view) => view.begin(asked));
  }

  ask(instruction, scene, at) {
    this.say("Asking the robot …");
    this.asked = at;
    this.send({ kind: "run", instruction, scene });
  }

  send(message) {
    this.model.send(message);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say(SLOW), PATIENCE_MS);
  }

  answered() {
    clearTimeout(this.timer);
    const asked = this.asked;
    this.asked = null;
    return asked;
  }

  say(status) {
    this.status = status;
    this.views.forEach((view) => view.say(status));
  }
}

// ---- drawing

function colour(weight) {
  const at = weight * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((c, i) => c + (at - low) * (CIVIDIS[low + 1][i] - c));
}

function mapOf(frame, header, token) {
  const [tokens, rows, columns] = header.maps;
  const cells = rows * columns;
  if (token > 0) return frame.maps.subarray((token - 1) * cells, token * cells);
  return Float32Array.from({ length: cells }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < tokens; k++) sum += frame.maps[k * cells + i];
    return sum / tokens;
  });
}

function offscreen(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// The picture under a veil that is thin and yellow where the token looks, thick and dark blue elsewhere.
function draw(canvas, frame, header, map) {
  const [, rows, columns] = header.maps;
  const most = Math.max(...map);
  const veil = new ImageData(columns, rows);
  map.forEach((value, i) => veil.data.set([...colour(value / most), 255 * (0.7 - 0.52 * (value / most))], 4 * i));
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage((frame.canvas ??= offscreen(frame.image)), 0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.drawImage(offscreen(veil), 0, 0, canvas.width, canvas.height);
  return most;
}
