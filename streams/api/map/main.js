// The page: what is known, who asks for it, and what is drawn when something comes.

import { Client } from "./client.js";
import { ask, panel } from "./place.js";
import { Scene } from "./scene.js";
import { Table } from "./table.js";
import { View } from "./view.js";
import { age, clock, element } from "./words.js";

const TOKEN = "throng token";
const AGAIN_MS = 5000;
// Beside the feed everything is asked for this often: what is withdrawn is told by no record.
const ANEW_MS = 30000;
// A pane is hundreds of records, drawn once; a place's own numbers are asked for no more often than this.
const PANEL_MS = 2000;
// What ended longer ago than so many panes (15 minutes, by default) is not how it is now.
const OLD_PANES = 3;
// Numbers of another time go on if panes come more than so many times as fast as they would now, the last one lately.
const FAST = 2;
const LATELY_MS = 60000;
const DAY_MS = 86400000;
const NO_ENTRY = ["token", "expired", "purpose"];

const $ = (id) => document.getElementById(id);
const scene = new Scene($("scene"), $("legend"), choose);
const table = new Table(document.querySelector("tbody"), $("more"), (id) => {
  choose(id);
  if (known.chosen) $("place").scrollIntoView({ block: "nearest" }); // it is above the table
});
const known = {
  places: null,
  zones: [],
  names: new Map(),
  time: String,
  date: String,
  present: new Map(),
  outlooks: new Map(),
  flows: new Map(),
  chosen: null,
  told: null,
};
let client = null;
// Whether the client's token has let it in.
let following = false;
// How the feed is: its state, and the words for it.
let feed = ["waiting", ""];
// The state that was told last, and its words: while the feed is live what it shows may come of age.
let said = ["", ""];
// The newest pane's end, when it came (by the page's own clock), and how many in a row came faster than time goes.
let pace = { end: null, at: 0, fast: 0 };
let drawing = false;
let asking = null;

new View($("scene"), document.querySelectorAll("[data-zoom]"), (share, unit) => {
  scene.seen(share, unit);
  draw();
});
setInterval(() => {
  if (following) anew();
  draw();
}, ANEW_MS);
document.addEventListener("visibilitychange", () => following && !document.hidden && anew());
$("between").addEventListener("change", () => {
  known.flows = new Map();
  draw();
  anew();
});
$("filter").addEventListener("input", draw);
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  enter($("token").value.trim());
});
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) history.replaceState(null, "", location.pathname);
const held = given ?? sessionStorage.getItem(TOKEN);
if (held) enter(held);
else $("ask").hidden = false;

async function enter(token) {
  client?.end();
  client = new Client(token);
  const mine = client;
  while (client === mine) {
    try {
      await whole();
      break;
    } catch (refused) {
      if (client !== mine) return;
      if (NO_ENTRY.includes(refused.code)) return leave(refused);
      say("waiting", refused.code === "plan" ? "nothing is released yet" : refused.message);
      await new Promise((over) => setTimeout(over, AGAIN_MS));
    }
  }
  if (client !== mine) return; // somebody has entered another one meanwhile
  sessionStorage.setItem(TOKEN, token);
  following = true;
  client.follow(take, (state, refused) => {
    if (state === "ended") return leave(refused);
    feed = [state, refused?.message ?? state];
    say(...feed);
    if (state === "live") anew(); // what was told before the feed was open
  });
}

function leave(refused) {
  client.end();
  client = null;
  following = false;
  sessionStorage.removeItem(TOKEN);
  forget();
  document.querySelector("main").hidden = true;
  $("ask").hidden = false;
  $("refused").textContent = refused.message;
  say("ended", "");
}

/** All of it: the places of the newest plan, and what is told of them now. */
async function whole() {
  const places = await client.get("places");
  const districts = new Map(places.parents.map((parent) => [parent.id, parent.name]));
  known.places = places;
  known.zones = places.zones.map((zone) => ({ ...zone, district: districts.get(zone.parent) ?? zone.parent }));
  known.names = new Map([...districts, ...places.zones.map((zone) => [zone.id, zone.name])]);
  known.time = clock(places.timezone);
  known.date = clock(places.timezone, { day: "numeric", month: "short", year: "numeric" });
  $("town").textContent = places.name;
  document.querySelector("main").hidden = false;
  $("ask").hidden = true;
  const placed = scene.lay(places);
  $("map").classList.toggle("nowhere", placed === 0);
  await now();
}

async function now() {
  const between = $("between").value;
  const [present, outlooks, flows] = await Promise.all([
    client.records("footfall", { measure: "present" }),
    client.records("outlook", { measure: "present" }),
    between ? client.records("flows", { measure: between }) : [],
  ]);
  const place = (record) => record.zone;
  known.present = together(present, known.present, place);
  known.outlooks = together(outlooks, known.outlooks, place);
  if (between === $("between").value) known.flows = together(flows, known.flows, pair);
  draw();
}

/** What was answered, and what the feed has told meanwhile: of the newest pane of the answer, or of a newer one. */
function together(answered, before, key) {
  const newest = answered.reduce((end, record) => (record.end > end ? record.end : end), "");
  const since = [...before.values()].filter((record) => record.end >= newest);
  return new Map([...answered, ...since].map((record) => [key(record), record]));
}

/** Ask for all of it once more; again soon, if that fails. */
async function anew() {
  const mine = client;
  try {
    await now();
    if (mine === client) say(...feed);
  } catch (refused) {
    if (mine !== client) return;
    if (NO_ENTRY.includes(refused.code)) return leave(refused);
    if (refused.code === "withheld") forget();
    say("waiting", refused.message);
    setTimeout(() => mine === client && anew(), AGAIN_MS);
  }
}

/** Withdrawn is withdrawn: nothing of it stays on the screen. */
function forget() {
  Object.assign(known, { present: new Map(), outlooks: new Map(), flows: new Map(), told: null });
  draw();
}

function take(topic, record) {
  const mine = client;
  if (known.places && record.plan !== known.places.plan)
    return void whole().catch((refused) => mine === client && say("waiting", refused.message));
  if (topic === "footfall" && record.measure === "present") keep(known.present, record);
  else if (topic === "outlook") keep(known.outlooks, record);
  else if (topic === "flows" && record.measure === $("between").value && record.destination) flow(record);
  else return;
  draw();
}

function keep(records, record) {
  const before = records.get(record.zone);
  if (!before || before.end <= record.end) records.set(record.zone, record);
}

/** Of the pane that is shown, or of a newer one, which it then begins. */
function flow(record) {
  const end = known.flows.values().next().value?.end ?? "";
  if (record.end > end) known.flows = new Map();
  if (record.end >= end) known.flows.set(pair(record), record);
}

function pair(record) {
  return `${record.origin}\n${record.destination}`;
}

function choose(id) {
  known.chosen = known.chosen === id ? null : id;
  known.told = null;
  draw();
}

/** Draw once for whatever comes until the next frame. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (known.places) drawn_now();
  });
}

/** A record of the newest pane that is shown, if anything is. */
function newest_of() {
  return [...known.present.values()].reduce((newest, record) => (newest?.end >= record.end ? newest : record), null);
}

function is_old({ start, end }) {
  return Date.now() - Date.parse(end) > OLD_PANES * (Date.parse(end) - Date.parse(start));
}

/** Look at how fast panes come. */
function keep_pace(end) {
  if (end === pace.end) return;
  const at = performance.now();
  const faster = pace.end !== null && Date.parse(end) - Date.parse(pace.end) > FAST * (at - pace.at);
  pace = { end, at, fast: faster ? pace.fast + 1 : 0 };
}

/** What is said of numbers of another time: one that goes on, or one that stands still. */
function of_another_time(end) {
  const since = age(end);
  if (pace.fast < 2 || performance.now() - pace.at > LATELY_MS) return ["old", `connected; the newest is ${since} old`];
  return Date.now() - Date.parse(end) > DAY_MS
    ? ["playing", "playing an earlier day"]
    : ["playing", `catching up: ${since} behind`];
}

function drawn_now() {
  const newest = newest_of();
  if (newest) keep_pace(newest.end);
  const time = newest && (is_old(newest) ? known.date : known.time)(newest.end);
  $("clock").textContent = newest ? `people present ${time}` : "";
  say(...said);
  scene.show(known.present, known.outlooks, known.chosen);
  scene.trips([...known.flows.values()], known.chosen);
  table.show(known.zones, known.present, known.outlooks, $("filter").value, known.chosen);
  terms(known.present.values().next().value);
  const place =
    known.zones.find((zone) => zone.id === known.chosen) ??
    known.places.parents.find((parent) => parent.id === known.chosen);
  if (!place) return tell([element("p", "Choose a place, on the map or in the table.", { className: "note" })]);
  if (known.told?.place === place.id) show(place);
  const stale = known.told?.place !== place.id || known.told.end !== newest?.end;
  if (stale && newest && !asking) asking = ask_of(place, newest.end);
}

async function ask_of(place, end) {
  const mine = client;
  try {
    const told = await ask(mine, place, end);
    if (mine === client && known.chosen === place.id) known.told = { ...told, place: place.id, end };
  } catch (refused) {
    if (mine === client) say("waiting", refused.message);
  }
  draw();
  setTimeout(
    () => {
      asking = null;
      draw();
    },
    known.chosen === place.id ? PANEL_MS : 0,
  );
}

function show(place) {
  tell(panel(place, known.present.get(place.id), known.outlooks.get(place.id), known.told, known.names, known.time));
}

/** Put it into the panel, which is read aloud whenever that is done: so if it says something new alone. */
function tell(parts) {
  const made = element("div");
  made.append(...parts);
  if (made.innerHTML !== $("place").innerHTML) $("place").replaceChildren(...made.childNodes);
}

function terms(record) {
  $("terms").textContent = record
    ? `Every number carries noise: epsilon ${record.epsilon} for all that is told of a person's day. Fewer than surely ${record.k} people are not told. For ${record.purpose}, counted under: ${record.policy}.`
    : "";
}

function say(state, words) {
  said = [state, words];
  const newest = newest_of();
  if (state === "live" && newest && is_old(newest))
    [state, words] = of_another_time(newest.end);
  $("state").className = state;
  // It is read aloud whenever it is set.
  if ($("state").textContent !== words) $("state").textContent = words;
}
