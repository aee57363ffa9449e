// A rollout that plays step by step, for ask_robot.js and attention.js (one script with controls.js and each widget's own):
// picture, button, slider, count, and the keys on the picture. Who extends Player has `words`, which are read aloud, and
//     film()          {steps: how many there are so far, over: whether more will come}
//     go(step, at)    show this step; `at` is the time of the input that asks for it

const STEP_MS = 333; // RT-1 acts three times a second
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };

class Player extends Panel {
  constructor(model, el, name, label) {
    super(model, el, name);
    this.root.setAttribute("aria-label", label);
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    Object.assign(this, { step: 0, playing: null });
  }

  remove() {
    this.pause();
    super.remove();
  }

  makePicture(pixels) {
    this.picture = make("canvas", { width: pixels, height: pixels, role: "img", tabindex: 0, class: "player-picture" });
    return this.picture;
  }

  makeBar() {
    this.play = this.button("Play", () => this.togglePlay());
    this.slider = make("input", { type: "range", min: 0, value: 0, step: 1, "aria-label": "Step" });
    this.slider.addEventListener("input", (event) => {
      this.pause();
      this.go(Number(this.slider.value), event.timeStamp);
    });
    this.count = make("span", { class: "player-count", "aria-hidden": "true" });
    return make("div", { class: "controls-row player-bar" }, this.play, this.slider, this.count);
  }

  grew() {
    this.slider.max = this.film().steps - 1;
    this.showCount();
  }

  within(step) {
    return Math.max(0, Math.min(step, this.film().steps - 1));
  }

  showCount() {
    const text = `step ${this.step} of ${this.slider.max}`;
    this.slider.value = this.step;
    this.count.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }

  start() {
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.togglePlay();
  }

  togglePlay() {
    if (this.playing) return this.pause();
    const atEnd = () => this.film().over && this.step === this.film().steps - 1;
    if (atEnd()) this.go(0);
    this.playing = setInterval(() => {
      if (this.step < this.film().steps - 1) this.go(this.step + 1);
      if (atEnd()) this.pause();
    }, STEP_MS);
    this.showPlay();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    this.showPlay();
  }

  showPlay() {
    this.play.textContent = this.playing ? "Pause" : "Play";
    this.words.setAttribute("aria-live", this.playing ? "off" : "polite"); // three sentences a second are too many to hear
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.picture) return;
    if (event.key in STEPS) {
      this.pause();
      this.go(this.step + STEPS[event.key], event.timeStamp);
    } else if (event.key === " ") this.togglePlay();
    else return;
    event.preventDefault();
  }
}
