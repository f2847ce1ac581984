// All places as a table: the same numbers, for whoever would rather read or can't see the map.

import { element, margin, people } from "./words.js";

const MOST_ROWS = 200;

export class Table {
  #body;
  #more;
  #choose;
  #rows = new Map();

  /** `choose(id)`: called with the place that somebody picks. */
  constructor(body, more, choose) {
    this.#body = body;
    this.#more = more;
    this.#choose = choose;
  }

  /** Fill it. `zones`: with their districts' names. `filter`: what a name must have in it. */
  show(zones, present, outlooks, filter, chosen) {
    const sought = filter.trim().toLowerCase();
    const found = zones.filter((zone) => `${zone.name} ${zone.district}`.toLowerCase().includes(sought));
    const count = (zone) => {
      const record = present.get(zone.id);
      return record && !record.suppressed ? record.estimate : -1;
    };
    found.sort((a, b) => count(b) - count(a) || a.name.localeCompare(b.name));
    const rows = found.slice(0, MOST_ROWS).map((zone) => {
      const row = this.#row(zone);
      row.className = zone.id === chosen ? "chosen" : "";
      const [people, margin, usual] = said(present.get(zone.id), outlooks.get(zone.id));
      [zone.district, people, margin, usual].forEach((words, at) => (row.cells[at + 1].textContent = words));
      return row;
    });
    this.#order(rows);
    this.#more.textContent = found.length > MOST_ROWS ? `and ${found.length - MOST_ROWS} more: name what you look for` : "";
  }

  /** A place's row stays the same one for as long as it has its name: a keyboard may be in it. */
  #row(zone) {
    const before = this.#rows.get(zone.id);
    if (before?.cells[0].textContent === zone.name) return before;
    const row = element("tr");
    const name = element("button", zone.name, { type: "button" });
    name.addEventListener("click", () => this.#choose(zone.id));
    const place = element("th");
    place.scope = "row";
    place.append(name);
    row.append(place, ...Array.from({ length: 4 }, () => element("td")));
    this.#rows.set(zone.id, row);
    return row;
  }

  #order(rows) {
    const there = this.#body.rows;
    if (rows.length === there.length && rows.every((row, at) => row === there[at])) return;
    const held = document.activeElement;
    this.#body.replaceChildren(...rows);
    if (this.#body.contains(held)) held.focus({ preventScroll: true }); // what is moved loses it
  }
}

/** People, give or take, and the usual, in words. */
function said(record, outlook) {
  if (!record) return ["–", "", ""];
  if (record.suppressed) return ["too few", "", ""];
  const usual = outlook?.end === record.end ? people(outlook.usual) : "";
  return [people(record.estimate), people(margin(record)), usual];
}
