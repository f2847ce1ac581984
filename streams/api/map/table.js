// All places as a table: the same numbers, for whoever would rather read or can't see the map.

import { element, margin, people } from "./words.js";

const MOST_ROWS = 200;

/** Fill the table. `zones`: with their districts' names. `filter`: what a name must have in it. */
export function fill(body, more, zones, present, outlooks, filter, chosen, choose) {
  const sought = filter.trim().toLowerCase();
  const found = zones.filter((zone) => `${zone.name} ${zone.district}`.toLowerCase().includes(sought));
  const count = (zone) => {
    const record = present.get(zone.id);
    return record && !record.suppressed ? record.estimate : -1;
  };
  found.sort((a, b) => count(b) - count(a) || a.name.localeCompare(b.name));
  body.replaceChildren(
    ...found
      .slice(0, MOST_ROWS)
      .map((zone) => line(zone, present.get(zone.id), outlooks.get(zone.id), zone.id === chosen, choose)),
  );
  more.textContent = found.length > MOST_ROWS ? `and ${found.length - MOST_ROWS} more: name what you look for` : "";
}

function line(zone, record, outlook, chosen, choose) {
  const row = element("tr");
  row.className = chosen ? "chosen" : "";
  const name = element("button", zone.name, { type: "button" });
  name.addEventListener("click", () => choose(zone.id));
  const place = element("th");
  place.scope = "row";
  place.append(name);
  row.append(place, element("td", zone.district));
  if (!record) row.append(element("td", "–"), element("td"), element("td"));
  else if (record.suppressed) row.append(element("td", "too few"), element("td"), element("td"));
  else {
    const usual = outlook?.end === record.end ? people(outlook.usual) : "";
    row.append(element("td", people(record.estimate)), element("td", people(margin(record))), element("td", usual));
  }
  return row;
}
