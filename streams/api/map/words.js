// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const LENGTHS = {
  under_5: "under 5 min",
  "5_10": "5 to 10",
  "11_20": "11 to 20",
  "21_60": "21 to 60",
  "61_120": "1 to 2 h",
  "121_240": "2 to 4 h",
  over_240: "over 4 h",
  cut: "longer than seen",
};
export const VISITS = { first: "first", second: "second", third_or_more: "third or more" };
export const CONGESTION = {
  much_quieter: "much quieter than usual",
  quieter: "quieter than usual",
  usual: "as usual",
  busier: "busier than usual",
  much_busier: "much busier than usual",
};

export function people(value) {
  return whole.format(Math.max(0, Math.round(value)));
}

/** Half of a 95 % interval of those truly there: noise, and what the network sees of them. */
export function margin(record) {
  return 1.96 * Math.hypot(record.se, record.view_se ?? 0);
}

// By how much clocks are put back anywhere: half an hour on Lord Howe Island.
const PUT_BACK_MS = [1800000, 3600000];

/** A clock of the town: weekday and time, and what else is asked for. Of times that it shows twice, since it is put back
 * between them, it tells how far it is ahead as well. */
export function clock(timezone, more = {}) {
  const asked = {
    timeZone: timezone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    ...more,
  };
  const shown = new Intl.DateTimeFormat("en-GB", asked);
  const exact = new Intl.DateTimeFormat("en-GB", { ...asked, timeZoneName: "shortOffset" });
  return (time) => {
    const at = new Date(time).getTime();
    const text = shown.format(at);
    const twice = PUT_BACK_MS.some((ms) => [at - ms, at + ms].some((other) => shown.format(other) === text));
    return twice ? exact.format(at) : text;
  };
}

/** How long ago a time is: minutes, from two hours on hours, from two days on days. */
export function age(time) {
  const minutes = Math.floor((Date.now() - Date.parse(time)) / 60000);
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} hours` : `${Math.floor(minutes / 1440)} days`;
}

/** An element of HTML with text, never markup: names come from whoever made the plan. */
export function element(name, text = "", of = {}) {
  const made = Object.assign(document.createElement(name), of);
  made.textContent = text;
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same of SVG. */
export function drawn(name, of = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(of)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}
