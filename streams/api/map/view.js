// Looking nearer: wheel, buttons, a drag, or two fingers move the part of the drawing that is seen.

import { HEIGHT, WIDTH } from "./plane.js";

const NEAREST = 40;
const WHEEL = 1.2;
// Pixels.
const DRAG = 5;

export class View {
  #svg;
  #box = [0, 0, WIDTH, HEIGHT];
  #seen;

  /**
   * `seen(share, unit)`: called whenever it changes how large the drawing is: which share of its width is seen, and how much
   * of it a pixel is.
   */
  constructor(svg, buttons, seen) {
    this.#svg = svg;
    this.#seen = seen;
    new ResizeObserver(() => this.#show()).observe(svg);
    this.#show();
    for (const button of buttons) {
      const factor = Number(button.dataset.zoom);
      button.addEventListener("click", () => (factor ? this.#zoom(factor, ...this.#middle()) : this.#all()));
    }
    svg.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.#zoom(event.deltaY < 0 ? WHEEL : 1 / WHEEL, ...this.#point(event.clientX, event.clientY));
      },
      { passive: false },
    );
    this.#drags();
  }

  #drags() {
    const held = new Map(); // fingers, or the mouse: where they are on the screen
    let moved = 0;
    this.#svg.addEventListener("pointerdown", (event) => {
      if (!held.size) moved = 0;
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    this.#svg.addEventListener("pointermove", (event) => {
      const from = held.get(event.pointerId);
      if (!from || !event.buttons) return void held.delete(event.pointerId);
      const to = [event.clientX, event.clientY];
      const before = spread([...held.values()]);
      held.set(event.pointerId, to);
      const now = spread([...held.values()]);
      moved += Math.hypot(to[0] - from[0], to[1] - from[1]);
      const [x, y] = this.#point(...before.middle);
      const [at_x, at_y] = this.#point(...now.middle);
      this.#box[0] += x - at_x;
      this.#box[1] += y - at_y;
      if (before.apart && now.apart) this.#zoom(now.apart / before.apart, x, y);
      else this.#show();
    });
    for (const over of ["pointerup", "pointercancel"])
      this.#svg.addEventListener(over, (event) => held.delete(event.pointerId));
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

  #point(on_screen_x, on_screen_y) {
    const { x, y } = new DOMPoint(on_screen_x, on_screen_y).matrixTransform(this.#svg.getScreenCTM().inverse());
    return [x, y];
  }

  #show() {
    this.#svg.setAttribute("viewBox", this.#box.join(" "));
    const { clientWidth, clientHeight } = this.#svg;
    const pixels = Math.min(clientWidth / this.#box[2], clientHeight / this.#box[3]);
    if (pixels) this.#seen(this.#box[2] / WIDTH, 1 / pixels);
  }
}

/** Of one or two points their middle, and how far they are apart. */
function spread(points) {
  const [[x, y], [to_x, to_y]] = [points[0], points.at(-1)];
  return { middle: [(x + to_x) / 2, (y + to_y) / 2], apart: Math.hypot(to_x - x, to_y - y) };
}
