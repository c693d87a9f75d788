// The box for text: a prompt goes to the server, and what it writes appears as it is written.

import { complete, pause } from "./service.js";

const SHOW_EVERY = 50;  // milliseconds: laying a page out for every token costs more than writing it

const $ = (id) => document.getElementById(id);

/** Offers these networks; without any there is no box. */
export function offer(networks) {
  $("text-card").hidden = networks.length === 0;
  $("text-model").replaceChildren(...networks.map(({ id }) => new Option(id, id)));
  $("writer").hidden = networks.length === 0;
}

/** Makes the box work. `refuse(error)` gives the sentence for an error. */
export function setUp(refuse) {
  let writing = null;

  $("text-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    writing?.abort();
    const own = (writing = new AbortController());
    $("stop").disabled = false;
    try {
      await write(own.signal);
    } catch (error) {
      if (!own.signal.aborted) show(refuse(error));
    } finally {
      if (writing === own) {
        writing = null;
        // The key stays where it was: a button that is switched off would lose it.
        if (document.activeElement === $("stop")) $("write").focus();
        $("stop").disabled = true;
      }
    }
  });
  $("stop").addEventListener("click", () => writing?.abort());
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("text-form").requestSubmit();
  });
}

async function write(signal) {
  const settings = {
    model: $("text-model").value,
    prompt: $("prompt").value,
    max_tokens: Number($("tokens").value),
    temperature: Number($("temperature").value),
  };
  show("");
  $("begun").textContent = settings.prompt;
  $("ended").replaceChildren(new Text());
  $("text-time").textContent = "reading";
  $("text-said").textContent = "";
  const begin = performance.now();
  let first = null;
  let count = 0;
  let held = "";
  let next = -Infinity;
  const showHeld = () => {
    const now = performance.now();
    append(held);
    held = "";
    $("text-time").textContent = speed(count, first - begin, now - first);
    // A long text takes long to lay out; most of the time is to be left for whoever is at the page.
    next = now + Math.max(SHOW_EVERY, 4 * (performance.now() - now));
  };
  try {
    for await (const { text, usage } of complete(settings, signal)) {
      first ??= performance.now();
      held += text;
      count = usage?.completion_tokens ?? count + (text ? 1 : 0);
      if (performance.now() < next) continue;
      showHeld();
      await pause(0);  // or a fast network would keep clicks from being heard
    }
  } finally {
    if (first) showHeld();
    else $("text-time").textContent = "";
    $("text-said").textContent = signal.aborted ? "Stopped." : $("ended").textContent;
  }
}

/** Adds to the text; who reads at its end stays there. */
function append(text) {
  const box = $("written");
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  $("ended").lastChild.appendData(text);
  if (isAtEnd) box.scrollTop = box.scrollHeight;
}

function speed(count, reading, writing) {
  const rate = (1000 * (count - 1)) / writing;
  const told = rate > 0 && Number.isFinite(rate) ? `, ${rate.toFixed(rate < 10 ? 1 : 0)} a second` : "";
  return `${count} token${count === 1 ? "" : "s"}${told}; the first after ${Math.round(reading)} ms`;
}

function show(problem) {
  $("text-problem").textContent = problem ?? "";
  $("text-problem").hidden = !problem;
}
