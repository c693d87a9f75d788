// What is asked of the server. Addresses are relative, so that the page also works below another path.

const KEY = "vimnp key";
const PATIENCE = 5;  // times that a busy server is asked again
const LONGEST = 10;  // seconds to wait before that

/** The server did not do what it was asked for, and says why. */
export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

let busy = () => {};

/** Calls `listener(true)` when the server is too busy to answer, and `listener(false)` when it is not. */
export function whenBusy(listener) {
  busy = listener;
}

export function hasKey() {
  return Boolean(sessionStorage.getItem(KEY));
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** The networks that are served: objects with id, task, classes, img_size, crop_pct and explains. */
export async function models() {
  return (await (await ask("v1/models")).json()).data;
}

/** The likeliest classes of a picture: [{label, score}]. */
export async function classify(network, picture, signal) {
  return (await ask(path("models", network), { method: "POST", body: picture, signal })).json();
}

/** What speaks for a class: {label, score, rows, columns, contributions}. */
export async function explain(network, picture, label, signal) {
  const query = label === null ? "" : `?class=${encodeURIComponent(label)}`;
  return (await ask(path("explain", network) + query, { method: "POST", body: picture, signal })).json();
}

/** The pieces of a text as they are written: {text, usage}; one of the two may be missing. */
export async function* complete(settings, signal) {
  const response = await ask("v1/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...settings, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const { choices = [], usage = null, error } = JSON.parse(data);
    if (error) throw new Refusal(error.message ?? String(error));
    yield { text: choices[0]?.text ?? "", usage };
  }
  throw new Refusal("The connection broke off before the text was over.");
}

/** The data of server-sent events, one after another. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

function path(kind, network) {
  return `${kind}/${network.split("/").map(encodeURIComponent).join("/")}`;
}

async function ask(address, options = {}) {
  for (let again = 0; ; again += 1) {
    const response = await send(address, options);
    if (response.status !== 503 || again === PATIENCE) {
      busy(response.status === 503);
      if (response.ok) return response;
      throw new Refusal(await reason(response), response.status);
    }
    busy(true);
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await pause(1000 * Math.min(seconds, LONGEST), options.signal);
  }
}

async function send(address, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  try {
    return await fetch(address, { ...options, headers, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.");
  }
}

/** The server's own sentence, in any of the forms that its answers have. */
async function reason(response) {
  try {
    const { error } = await response.json();
    return sentence(error.message ?? error);
  } catch {
    return `The server answered with ${response.status}.`;
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** Waits for some milliseconds, or until it is told not to. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
