// Two small charts: people over time with their interval, and bars.

import { drawn, element, people } from "./words.js";

const WIDE = 340;
const HIGH = 130;
const LEFT = 38;
const BELOW = 18;

/**
 * People over time. `points`, `ahead`: { at, estimate, low, high } in order, what was and what is foretold. `clock`: what
 * names a time. `about`: for those who don't see it.
 */
export function over_time(points, ahead, clock, about) {
  const all = [...points, ...ahead];
  const [first, last] = [all[0].at, all.at(-1).at];
  const top = Math.max(1, ...all.map((point) => point.high));
  const x = (at) => LEFT + ((at - first) / Math.max(last - first, 1)) * (WIDE - LEFT - 6);
  const y = (count) => HIGH - BELOW - (Math.max(0, count) / top) * (HIGH - BELOW - 8);
  const line = (some, of) => some.map((point) => `${x(point.at).toFixed(1)},${y(of(point)).toFixed(1)}`);
  const band = (some) => [...line(some, (p) => p.high), ...line([...some].reverse(), (p) => p.low)].join(" ");
  const chart = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "chart", role: "img", "aria-label": about });
  chart.append(drawn("line", { x1: LEFT, x2: WIDE - 6, y1: y(0), y2: y(0), class: "axis" }));
  for (const [some, name] of [
    [points, "past"],
    [points.length && ahead.length ? [points.at(-1), ...ahead] : ahead, "ahead"],
  ]) {
    if (!some.length) continue;
    chart.append(drawn("polygon", { points: band(some), class: `band ${name}` }));
    chart.append(drawn("polyline", { points: line(some, (p) => p.estimate).join(" "), class: `line ${name}` }));
  }
  const marks = [
    [LEFT - 4, y(top) + 4, "end", people(top)],
    [LEFT - 4, y(0), "end", "0"],
    [LEFT, HIGH - 4, "start", clock(first)],
  ];
  if (last > first) marks.push([WIDE - 6, HIGH - 4, "end", clock(last)]);
  for (const [at, height, anchor, text] of marks)
    chart.append(drawn("text", { x: at, y: height, "text-anchor": anchor }, text));
  return chart;
}

/** Bars with their numbers, as a list: [[words, value, note], …]. */
export function bars(rows) {
  const top = Math.max(1, ...rows.map(([, value]) => value));
  const list = element("ul");
  list.className = "bars";
  for (const [words, value, note] of rows) {
    const row = element("li");
    const drawing = drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    drawing.append(drawn("rect", { width: (100 * Math.max(0, value)) / top, height: 10 }));
    const number = element("span", people(value));
    if (note) number.title = note;
    row.append(element("span", words), drawing, number);
    list.append(row);
  }
  return list;
}
