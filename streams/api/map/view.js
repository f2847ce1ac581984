// Looking nearer: wheel, drag and buttons move the part of the drawing that is seen.

import { HEIGHT, WIDTH } from "./plane.js";

const NEAREST = 40;
const WHEEL = 1.2;
// Pixels.
const DRAG = 5;

export class View {
  #svg;
  #box = [0, 0, WIDTH, HEIGHT];

  constructor(svg, buttons) {
    this.#svg = svg;
    this.#show();
    for (const button of buttons) {
      const factor = Number(button.dataset.zoom);
      button.addEventListener("click", () => (factor ? this.#zoom(factor, ...this.#middle()) : this.#all()));
    }
    svg.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.#zoom(event.deltaY < 0 ? WHEEL : 1 / WHEEL, ...this.#point(event));
      },
      { passive: false },
    );
    this.#drags();
  }

  #drags() {
    let held = null;
    let moved = 0;
    this.#svg.addEventListener("pointerdown", (event) => {
      held = this.#point(event);
      moved = 0;
    });
    this.#svg.addEventListener("pointermove", (event) => {
      if (!held || !event.buttons) return;
      const [x, y] = this.#point(event);
      moved += Math.hypot(event.movementX, event.movementY);
      this.#box[0] += held[0] - x;
      this.#box[1] += held[1] - y;
      this.#show();
    });
    this.#svg.addEventListener("pointerup", () => (held = null));
    // Where a drag ends nothing is chosen.
    this.#svg.addEventListener("click", (event) => moved > DRAG && event.stopPropagation(), { capture: true });
  }

  #zoom(factor, x, y) {
    const wide = Math.min(WIDTH, Math.max(WIDTH / NEAREST, this.#box[2] / factor));
    const by = wide / this.#box[2];
    this.#box = [x - (x - this.#box[0]) * by, y - (y - this.#box[1]) * by, wide, this.#box[3] * by];
    if (wide === WIDTH) this.#all();
    else this.#show();
  }

  #all() {
    this.#box = [0, 0, WIDTH, HEIGHT];
    this.#show();
  }

  #middle() {
    return [this.#box[0] + this.#box[2] / 2, this.#box[1] + this.#box[3] / 2];
  }

  #point(event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.#svg.getScreenCTM().inverse());
    return [x, y];
  }

  #show() {
    this.#svg.setAttribute("viewBox", this.#box.join(" "));
  }
}
