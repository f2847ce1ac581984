// The map: a circle for each zone, as large as it has people; districts behind them; trips as arrows.

import { WIDTH, centre, hull, largest, positions, readable } from "./plane.js";
import { CONGESTION, drawn, element, margin, people } from "./words.js";

const MOST_ARROWS = 40;
// Pixels; the smaller letters where the map is narrower than `NARROW`.
const LETTERS = [11, 13];
const NARROW = 600;
const SMALLEST = 4;
const WIDEST_NUMBER = 44;
const HEAD = 13;

export class Scene {
  #svg;
  #legend;
  #choose;
  #zones = new Map();
  #at = new Map();
  #districts = new Map();
  #layers = {};
  #radius = 1;
  #top = 1;
  // What is drawn for people and trips stays as large on the screen, however near one looks: places come apart by that.
  #share = 1;
  #unit = 1;

  /** `choose(id)`: called with the place that somebody picks. */
  constructor(svg, legend, choose) {
    this.#svg = svg;
    this.#legend = legend;
    this.#choose = choose;
  }

  /** Draw the places of a plan anew, without people. */
  lay(places) {
    this.#at = positions(places.zones);
    this.#radius = largest(this.#at.size);
    this.#zones.clear();
    this.#districts.clear();
    this.#svg.replaceChildren(arrowhead());
    for (const name of ["districts", "circles", "trips", "names"]) {
      this.#layers[name] = drawn("g", { class: name });
      this.#svg.append(this.#layers[name]);
    }
    for (const parent of places.parents) {
      const points = places.zones
        .filter((zone) => zone.parent === parent.id && this.#at.has(zone.id))
        .map((zone) => this.#at.get(zone.id));
      if (points.length) this.#lay_district(parent, points);
    }
    for (const zone of places.zones) if (this.#at.has(zone.id)) this.#lay_zone(zone);
    return this.#at.size;
  }

  #lay_district(parent, points) {
    const shape = drawn("polygon", {
      points: hull(points)
        .map((point) => point.join())
        .join(" "),
      class: "district",
    });
    this.#picks(shape, parent);
    const [x, y] = centre(points);
    this.#at.set(parent.id, [x, y]);
    const name = drawn("text", { x, y, class: "name of-district" }, parent.name);
    this.#layers.names.append(name);
    this.#districts.set(parent.id, { name: parent.name, shape, label: [x, y, parent.name, name] });
    this.#layers.districts.append(shape);
  }

  #lay_zone(zone) {
    const [x, y] = this.#at.get(zone.id);
    const circle = drawn("circle", { cx: x, cy: y, r: SMALLEST, class: "zone unknown", "data-place": zone.id });
    const title = drawn("title", {}, zone.name);
    circle.append(title);
    this.#picks(circle, zone);
    this.#layers.circles.append(circle);
    const name = drawn("text", { x, y, class: "name" }, zone.name);
    this.#layers.names.append(name);
    this.#zones.set(zone.id, { zone, circle, title, label: [x, y, zone.name, name] });
  }

  #picks(shape, place) {
    for (const [key, value] of Object.entries({ tabindex: 0, role: "button", "aria-label": place.name }))
      shape.setAttribute(key, value);
    shape.addEventListener("click", () => this.#choose(place.id));
    shape.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.#choose(place.id);
    });
  }

  /** How near the drawing is seen from now on; it counts when people are shown next. */
  seen(share, unit) {
    [this.#share, this.#unit] = [share, unit];
    this.#svg.classList.add("still");
  }

  /** Show who is where. `present`, `outlooks`: records by place. `chosen`: the place to point out. */
  show(present, outlooks, chosen) {
    const told = [...this.#zones.keys()].map((id) => present.get(id)).filter((record) => record && !record.suppressed);
    this.#top = Math.max(1, ...told.map((record) => record.estimate));
    for (const [id, { zone, circle, title }] of this.#zones) {
      const record = present.get(id);
      const said = said_of(zone.name, record, outlooks.get(id));
      const size = record && !record.suppressed ? this.#of(record.estimate) * this.#share : SMALLEST * this.#unit;
      circle.setAttribute("r", size.toFixed(2));
      circle.setAttribute("class", `zone ${kind(record, outlooks.get(id))}${id === chosen ? " chosen" : ""}`);
      circle.setAttribute("aria-label", said);
      title.textContent = said;
    }
    for (const [id, { shape }] of this.#districts)
      shape.setAttribute("class", `district${id === chosen ? " chosen" : ""}`);
    this.#svg.style.setProperty("--pixel", `${this.#unit}px`);
    this.#name_them(told, chosen);
    this.#explain(outlooks.size > 0);
    requestAnimationFrame(() => this.#svg.classList.remove("still"));
  }

  /** Names where there is room: of the chosen place, of districts, and of the places with the most people. */
  #name_them(told, chosen) {
    const labels = [
      ...[this.#zones.get(chosen)].filter(Boolean),
      ...this.#districts.values(),
      ...told.sort((a, b) => b.estimate - a.estimate).map((record) => this.#zones.get(record.zone)),
    ].map((place) => place.label);
    const size = LETTERS[Number((WIDTH * this.#share) / this.#unit >= NARROW)] * this.#unit;
    const shown = new Set(readable(labels, size));
    for (const { label } of [...this.#zones.values(), ...this.#districts.values()]) {
      const [, y, , name] = label;
      name.classList.toggle("shown", shown.has(label));
      name.setAttribute("y", (y + size / 3).toFixed(2));
      name.style.fontSize = `${size}px`;
    }
  }

  /** Show the largest flows; those of the chosen place alone, if one is. */
  trips(flows, chosen) {
    const shown = flows
      .filter((flow) => flow.origin !== flow.destination && this.#at.has(flow.origin) && this.#at.has(flow.destination))
      .sort((a, b) => Number(touches(b, chosen)) - Number(touches(a, chosen)) || b.estimate - a.estimate)
      .slice(0, MOST_ARROWS);
    const top = Math.max(1, ...shown.map((flow) => flow.estimate));
    const head = this.#svg.querySelector("#head");
    for (const side of ["markerWidth", "markerHeight"]) head?.setAttribute(side, HEAD * this.#share);
    this.#layers.trips?.replaceChildren(...shown.map((flow) => this.#arrow(flow, top, touches(flow, chosen))));
  }

  #arrow(flow, top, near) {
    const [from, to] = [this.#at.get(flow.origin), this.#at.get(flow.destination)];
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    // Bent to the right, so that both ways are seen.
    const bend = [(from[0] + to[0]) / 2 - dy / 6, (from[1] + to[1]) / 2 + dx / 6];
    const share = Math.max(0, flow.estimate / top);
    const path = drawn("path", {
      d: `M${from} Q${bend} ${to}`,
      class: near ? "trip near" : "trip",
      "stroke-width": (1 + 6 * Math.sqrt(share)) * this.#share,
      "marker-end": "url(#head)",
    });
    path.append(
      drawn(
        "title",
        {},
        `${this.#name(flow.origin)} to ${this.#name(flow.destination)}: ${people(flow.estimate)} trips`,
      ),
    );
    return path;
  }

  #name(id) {
    return this.#zones.get(id)?.zone.name ?? this.#districts.get(id)?.name ?? id;
  }

  #of(count) {
    return Math.max(SMALLEST, this.#radius * Math.sqrt(Math.max(0, count) / this.#top));
  }

  #explain(compared) {
    const step = 10 ** Math.floor(Math.log10(this.#top));
    const sizes = [...new Set([step / 10, step, Math.floor(this.#top / step) * step])].filter((size) => size >= 1);
    const pixels = this.#share / this.#unit;
    const size = Math.max(2 * this.#radius * pixels + 4, WIDEST_NUMBER);
    const drawing = drawn("svg", {
      width: size * sizes.length,
      height: size + 16,
      "aria-hidden": "true",
    });
    sizes.forEach((count, at) => {
      drawing.append(drawn("circle", { cx: size * (at + 0.5), cy: size / 2, r: this.#of(count) * pixels, class: "zone plain" }));
      drawing.append(drawn("text", { x: size * (at + 0.5), y: size + 12, class: "size" }, people(count)));
    });
    const kinds = compared ? Object.entries(CONGESTION) : [["plain", "people present"]];
    const list = element("ul");
    for (const [name, words] of [...kinds, ["suppressed", "too few to be told"]]) {
      const line = element("li", words);
      line.className = name;
      list.append(line);
    }
    this.#legend.replaceChildren(drawing, list);
  }
}

function touches(flow, place) {
  return flow.origin === place || flow.destination === place;
}

function kind(record, outlook) {
  if (!record) return "unknown";
  if (record.suppressed) return "suppressed";
  return outlook?.end === record.end ? outlook.congestion : "plain";
}

function said_of(name, record, outlook) {
  if (!record) return `${name}: nothing told yet`;
  if (record.suppressed) return `${name}: too few people to be told`;
  const compared = outlook?.end === record.end ? `, ${CONGESTION[outlook.congestion]}` : "";
  return `${name}: ${people(record.estimate)} people, give or take ${people(margin(record))}${compared}`;
}

function arrowhead() {
  const marker = drawn("marker", {
    id: "head",
    viewBox: "0 0 8 8",
    refX: 7,
    refY: 4,
    markerWidth: HEAD,
    markerHeight: HEAD,
    markerUnits: "userSpaceOnUse",
    orient: "auto",
  });
  marker.append(drawn("path", { d: "M0,0 L8,4 L0,8 Z" }));
  const held = drawn("defs");
  held.append(marker);
  return held;
}
