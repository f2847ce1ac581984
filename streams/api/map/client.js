// The API as the page asks it: records, places, and the live feed, which is followed for as long as the page is open.

export class Refused extends Error {
  /** `status`: of HTTP, 0 if nobody answered. `code`: what the API calls it. */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
// A feed is never silent for longer than 10 s: a connection that is, is dead, whether or not anybody has said so.
const SILENCE_MS = 30000;

export class Client {
  #token;
  #ended = new AbortController();

  constructor(token) {
    this.#token = token;
  }

  /** Ask nothing any more, and let go of the feed. */
  end() {
    this.#ended.abort();
  }

  /** What is at `/v1/PATH`. Raises Refused. */
  async get(path, query = {}) {
    const answer = await this.#ask(`/v1/${path}?${new URLSearchParams(query)}`);
    return answer.json();
  }

  /** Records; none where nothing was told, or the token has no scope for it. */
  async records(topic, query) {
    try {
      return (await this.get(topic, query)).records;
    } catch (refused) {
      if (refused.status === 404 || refused.code === "scope") return [];
      throw refused;
    }
  }

  /**
   * Follow the feed. `take(topic, record)`: each record. `say(state, refused)`: "live", "waiting", or "ended" if there is
   * no use in asking again. It goes on behind the last event that came.
   */
  async follow(take, say) {
    let wait = FIRST_WAIT_MS;
    let last = "";
    const came = (event) => {
      if (event.id) last = event.id;
      if (event.name === "ended") throw new Refused(403, event.data.error, event.data.message);
      wait = FIRST_WAIT_MS;
      take(event.name, event.data);
    };
    while (!this.#ended.signal.aborted) {
      try {
        const answer = await this.#ask("/v1/feed", last ? { "Last-Event-ID": last } : {});
        say("live");
        await read(answer.body, came);
      } catch (refused) {
        if (this.#ended.signal.aborted) return;
        if (!(refused instanceof Refused)) say("waiting", new Refused(0, "away", "the server does not answer"));
        else if (["token", "expired", "purpose"].includes(refused.code)) return say("ended", refused);
        else say("waiting", refused);
      }
      await new Promise((over) => setTimeout(over, wait));
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }

  async #ask(path, headers = {}) {
    let answer;
    try {
      answer = await fetch(path, {
        headers: { Authorization: `Bearer ${this.#token}`, ...headers },
        cache: "no-store",
        signal: this.#ended.signal,
      });
    } catch {
      throw new Refused(0, "away", "the server does not answer");
    }
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({ error: "server", message: answer.statusText }));
    throw new Refused(answer.status, said.error, said.message);
  }
}

/** Read Server-Sent Events (HTML Living Standard, 9.2.6) to their end, as this API writes them: one line of data each. */
async function read(body, came) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const dead = setTimeout(() => reader.cancel(), SILENCE_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(dead));
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const text of events) {
      const fields = Object.fromEntries(text.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) came({ name: fields.event, data: JSON.parse(fields.data), id: fields.id });
    }
  }
}
