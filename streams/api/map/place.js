// All that is told of one place: now, lately, the next two hours, how long, how often, from where and to where.

import { bars, over_time } from "./chart.js";
import { CONGESTION, LENGTHS, VISITS, element, margin, people } from "./words.js";

const LATELY_MS = 12 * 3600 * 1000;
// An hour's pane, and as long as the next may take.
const FRESH_MS = 75 * 60 * 1000;
const MOST_WAYS = 6;

/** What the API tells of a place beside its newest number. `end`: of that. */
export async function ask(client, place, end) {
  const zone = place.id;
  const from = new Date(Date.parse(end) - LATELY_MS).toISOString();
  const trips = place.district ? "trips_zone" : "trips_parent";
  const [lately, cohorts, dwell, visits, here, hence] = await Promise.all([
    client.records("footfall", { zone, measure: "present", from }),
    client.records("footfall", { zone, measure: "present_cohort" }),
    client.records("dwell", { zone }),
    client.records("visits", { zone }),
    client.records("flows", { destination: zone, measure: trips }),
    client.records("flows", { origin: zone, measure: trips }),
  ]);
  // What is told of what can be told alone may be of an older pane.
  const fresh = (some) => some.filter((flow) => Date.parse(end) - Date.parse(flow.end) <= FRESH_MS);
  return { lately, cohorts, dwell, visits, here: fresh(here), hence: fresh(hence) };
}

/** The panel. `told`: from `ask`. `names`: place to name. */
export function panel(place, record, outlook, told, names, clock) {
  const parts = [element("h2", place.name), element("p", place.district ?? "district")];
  parts.push(...now(record, outlook, names));
  const lately = told.lately.filter((each) => !each.suppressed).map((each) => ({ ...each, at: Date.parse(each.end) }));
  const ahead = (outlook?.forecasts ?? []).map((each) => ({ ...each, at: Date.parse(each.at) }));
  if (lately.length > 1) {
    const about = `People present from ${clock(lately[0].at)} to ${clock(lately.at(-1).at)}: last ${people(lately.at(-1).estimate)}`;
    parts.push(
      element("h3", ahead.length ? "lately, and the next two hours" : "lately"),
      over_time(lately, ahead, clock, about),
    );
  }
  const ways = [
    ["where they come from", told.here, "origin"],
    ["where they go next", told.hence, "destination"],
  ];
  for (const [words, some, end] of ways)
    if (some.length) parts.push(element("h3", words), bars(largest(some, end, names)));
  parts.push(...divided("how long they stay", told.dwell, "bucket", LENGTHS));
  parts.push(...divided("visits today", told.visits, "visit", VISITS));
  parts.push(...persons(told.cohorts));
  if (place.radius_m)
    parts.push(
      element("p", `The network knows where somebody is within ${people(place.radius_m)} m here.`, {
        className: "note",
      }),
    );
  return parts;
}

function now(record, outlook, names) {
  if (!record) return [element("p", "Nothing was told of it yet.")];
  if (record.suppressed) {
    const through = record.speaks_through
      ? ` It speaks through ${names.get(record.speaks_through) ?? record.speaks_through}.`
      : "";
    const why = record.state_lost ? "State was lost: this pane can't be counted." : "Too few people to be told.";
    return [element("p", why + through, { className: "count" })];
  }
  const [low, high] = [record.estimate - margin(record), record.estimate + margin(record)];
  const parts = [element("p", people(record.estimate), { className: "count" })];
  parts.push(element("p", `people, in 19 of 20 cases ${people(low)} to ${people(high)}`));
  if (record.covered < 1)
    parts.push(element("p", `From ${Math.floor(100 * record.covered)} % of the network: the rest was lost.`));
  if (record.complete === false) parts.push(element("p", "The day has just begun: not everyone was heard yet."));
  if (outlook?.end === record.end)
    parts.push(element("p", `${CONGESTION[outlook.congestion]} (${people(outlook.usual)})`));
  return parts;
}

function largest(flows, end, names) {
  const sorted = [...flows].sort((a, b) => b.estimate - a.estimate).slice(0, MOST_WAYS);
  return sorted.map((flow) => [
    names.get(flow[end]) ?? flow[end],
    flow.estimate,
    `give or take ${people(margin(flow))}`,
  ]);
}

function divided(title, records, part, words) {
  const of = new Map(
    records.filter((record) => record[part] && !record.suppressed).map((record) => [record[part], record]),
  );
  const rows = Object.entries(words).filter(([name]) => of.has(name));
  if (!rows.length) return [];
  return [
    element("h3", title),
    bars(rows.map(([name, said]) => [said, of.get(name).estimate, `give or take ${people(margin(of.get(name)))}`])),
  ];
}

function persons(records) {
  const told = records.filter((record) => record.age_band && !record.suppressed);
  if (!told.length) return [];
  const rows = told.sort((a, b) => a.age_band.localeCompare(b.age_band) || a.gender.localeCompare(b.gender));
  const words = (record) => `${record.age_band.replace("_", " to ")}, ${record.gender}`;
  return [
    element("h3", "who"),
    bars(rows.map((record) => [words(record), record.estimate, `give or take ${people(margin(record))}`])),
  ];
}
