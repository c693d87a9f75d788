// The page: a picture from a file, the clipboard or the camera goes to the server, and its classes come back.

import * as camera from "./camera.js";
import { Classes, percent } from "./classes.js";
import * as heatMap from "./heat_map.js";
import * as service from "./service.js";
import * as writing from "./writing.js";

const PICTURES = "image-classification";
const TEXT = "text-generation";
const EXPLAIN_EVERY = 1000;  // milliseconds between heat maps of a camera: they cost more than classes
const SAY_EVERY = 3000;  // milliseconds between what a screen reader is told of a camera
const RATE_OVER = 2000;  // milliseconds that frames a second are counted over
const SIDE = 448;  // pixels of a frame's shorter side, where the network's own size is not known
const TINY = 64;  // pixels: below, each of them is to be seen

const $ = (id) => document.getElementById(id);

let networks = [];
let picture = null;  // {file, source, size}: its bytes, what can be drawn, and [width, height]
let running = new AbortController();  // whatever is asked about the picture; a new picture ends it
const classes = new Classes($("classes"), explainAgain);

// ---- The server ---------------------------------------------------------------------------------

async function connect() {
  setState("waiting", "connecting");
  try {
    networks = await service.models();
  } catch (error) {
    report(error);
    return;
  }
  $("key-form").hidden = true;
  report(null);
  setState("ready", "ready");
  const ofPictures = networks.filter(({ task }) => task === PICTURES);
  const ofText = networks.filter(({ task }) => task === TEXT);
  $("model").replaceChildren(...ofPictures.map(({ id }) => new Option(id, id)));
  $("network").hidden = ofPictures.length === 0;
  $("picture-card").hidden = $("classes-card").hidden = ofPictures.length === 0;
  writing.offer(ofText);
  changeNetwork();
}

function network() {
  return networks.find(({ id }) => id === $("model").value);
}

function canExplain(each) {
  return each.explains === true;
}

function changeNetwork() {
  const explains = network() !== undefined && canExplain(network());
  $("why-card").hidden = !explains;
  classes.choosable = explains && $("why").checked;
  classes.clear();
  clearMap();
  if (picture) look();
}

function setState(state, words) {
  $("state").dataset.state = state;
  $("state").textContent = words;
}

/** The sentence for an error. Where a key is missing, the page asks for it, and there is none. */
function refuse(error) {
  if (error.status === 401) {
    setState("waiting", "locked");
    $("key-form").hidden = false;
    $("key").focus();
    return service.hasKey() ? "This is not the server's key." : null;
  }
  setState(error.status === 0 ? "lost" : "ready", error.status === 0 ? "not reachable" : "ready");
  return error.message;
}

/** Shows an error, or with null that there is none any more. */
function report(error) {
  const problem = error && refuse(error);
  if ($("problem").textContent === (problem ?? "")) return;
  $("problem").textContent = problem ?? "";
  $("problem").hidden = !problem;
}

// ---- A picture from a file ----------------------------------------------------------------------

async function take(file) {
  stopCamera();
  begin();
  const own = running.signal;
  URL.revokeObjectURL($("shown").src);
  const image = $("shown");
  image.src = URL.createObjectURL(file);
  picture = { file, source: null, size: null };
  classes.chosen = null;
  const taken = picture;
  show("picture");
  try {
    await image.decode();
    taken.source = image;
    taken.size = [image.naturalWidth, image.naturalHeight];
    image.classList.toggle("tiny", Math.max(...taken.size) <= TINY);
    image.alt = file.name ? `The picture ${file.name}` : "The picture that was chosen";
  } catch {
    if (!own.aborted) show("unseen");
  }
  if (!own.aborted) await look();
}

/** Asks for the classes of the picture, and for the heat map. */
async function look() {
  begin();
  const own = running.signal;
  const asked = network();
  classes.fade();
  const start = performance.now();
  try {
    const found = await service.classify(asked.id, picture.file, own);
    if (own.aborted) return;
    report(null);
    classes.show(found);
    $("no-classes").hidden = true;
    $("time").textContent = `${Math.round(performance.now() - start)} ms`;
    say(found[0]);
    await explain(picture, asked, own);
  } catch (error) {
    if (own.aborted) return;
    forget();
    if ($("stage").dataset.shows === "unseen") show("nothing");
    report(error);
  }
}

/** Ends what is asked of an earlier picture. */
function begin() {
  running.abort();
  running = new AbortController();
}

function forget() {
  classes.clear();
  clearMap();
  $("no-classes").hidden = false;
  $("time").textContent = "";
}

// ---- The heat map -------------------------------------------------------------------------------

async function explain(subject, asked, signal) {
  if (!canExplain(asked) || !$("why").checked) return;
  let found;
  try {
    found = await service.explain(asked.id, subject.file, classes.chosen, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 0 || error.status === 401) throw error;
    // Some networks have classes and no exact explanation; the server says why, once.
    if (error.status === 400) asked.explains = false;
    clearMap();
    $("why-text").textContent = error.message;
    return;
  }
  if (signal.aborted || !$("why").checked) return;
  heatMap.draw($("map"), subject.source, subject.size, asked, found);
  $("map").hidden = false;
  const words = heatMap.inWords(found);
  $("map").setAttribute("aria-label", words);
  $("why-text").textContent = words;
}

function clearMap() {
  $("map").hidden = true;
  $("why-text").textContent = "Which parts of the picture speak for its class is drawn here.";
}

function explainAgain() {
  // A camera's next frame does it by itself.
  if (picture && !camera.isOpen($("video"))) explain(picture, network(), running.signal).catch(report);
}

// ---- The camera ---------------------------------------------------------------------------------

async function startCamera(deviceId) {
  begin();
  const own = running.signal;
  $("open-camera").disabled = true;
  try {
    await camera.open($("video"), deviceId);
    if (own.aborted) {
      camera.close($("video"));  // something else was chosen meanwhile
      return;
    }
  } catch (error) {
    stopCamera();
    note(error.message);
    return;
  } finally {
    $("open-camera").disabled = false;
  }
  note("");
  camera.whenLost($("video"), () => {
    stopCamera();
    note("The camera has gone.");
  });
  picture = null;
  show("camera");
  $("open-camera").textContent = "Close the camera";
  $("open-camera").setAttribute("aria-pressed", "true");
  await listCameras();
  await watch(own);
}

async function listCameras() {
  const found = await camera.all();
  $("camera").replaceChildren(...found.map(({ label, deviceId }, i) => new Option(label || `Camera ${i + 1}`, deviceId)));
  $("camera").value = camera.current($("video"));
  $("which-camera").hidden = found.length < 2;
}

function stopCamera() {
  if (camera.isOpen($("video"))) begin();
  camera.close($("video"));
  $("open-camera").textContent = "Open the camera";
  $("open-camera").setAttribute("aria-pressed", "false");
  $("which-camera").hidden = true;
  $("rate").hidden = true;
  if ($("stage").dataset.shows === "camera") {
    show("nothing");
    forget();
  }
}

/** Frame after frame, one at a time: a slow server gets fewer of them, and no queue. */
async function watch(signal) {
  const times = [];
  let explained = -Infinity;
  while (!signal.aborted) {
    await camera.nextFrame($("video"));
    if (document.hidden || !$("video").videoWidth) {
      await service.pause(200);
      times.length = 0;
      continue;
    }
    try {
      const asked = network();
      const source = camera.frame($("video"), sideFor(asked));
      const subject = { file: await camera.asFile(source), source, size: [source.width, source.height] };
      const begun = performance.now();
      const found = await service.classify(asked.id, subject.file, signal);
      if (signal.aborted) return;
      report(null);
      classes.show(found);
      $("no-classes").hidden = true;
      showRate(times, performance.now() - begun);
      say(found[0], SAY_EVERY);
      if (performance.now() - explained > EXPLAIN_EVERY) {
        await explain(subject, asked, signal);
        explained = performance.now();
      }
    } catch (error) {
      if (signal.aborted) return;
      report(error);
      if (error.status === 401) {
        stopCamera();
        return;
      }
      await service.pause(1000);
    }
  }
}

/** Twice what the network sees: the server's own scaling then decides, as for any picture. */
function sideFor({ img_size: size, crop_pct: crop = 1 }) {
  return size ? Math.ceil((2 * Math.min(...size)) / crop) : SIDE;
}

function showRate(times, milliseconds) {
  const now = performance.now();
  times.push(now);
  while (now - times[0] > RATE_OVER) times.shift();
  if (times.length < 2) return;
  const rate = (1000 * (times.length - 1)) / (now - times[0]);
  $("rate").textContent = `${rate.toFixed(1)} frames a second`;
  $("rate").hidden = false;
  $("time").textContent = `${Math.round(milliseconds)} ms a frame`;
}

// ---- What is shown, and said --------------------------------------------------------------------

function show(what) {
  $("stage").dataset.shows = what;
  $("shown").hidden = what !== "picture";
  $("video").hidden = what !== "camera";
  $("unseen").hidden = what !== "unseen";
  if (what === "nothing") picture = null;
}

let said = { label: null, at: -Infinity };

/** Tells a screen reader the best class: a new one, and not too often. */
function say({ label, score }, least = 0) {
  const now = performance.now();
  if (least && (label === said.label || now - said.at < least)) return;
  said = { label, at: now };
  $("said").textContent = `${label}, ${percent(score)}`;
}

function note(text) {
  $("camera-note").textContent = text;
  $("camera-note").hidden = !text;
}

// ---- What the user does -------------------------------------------------------------------------

function takeFirst(files) {
  const file = [...files].find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file && network()) take(file);
}

for (const id of ["file", "photo"]) {
  $(id).addEventListener("change", ({ target }) => {
    takeFirst(target.files);
    target.value = "";  // so that the same file can be chosen again
  });
}
$("choose").addEventListener("click", () => $("file").click());
$("take-photo").addEventListener("click", () => $("photo").click());
$("stage").addEventListener("click", () => {
  if ($("stage").dataset.shows === "nothing") $("file").click();
});
$("open-camera").addEventListener("click", () => {
  if (camera.isOpen($("video"))) stopCamera();
  else startCamera("");
});
$("camera").addEventListener("change", ({ target }) => startCamera(target.value));
$("model").addEventListener("change", changeNetwork);
$("why").addEventListener("change", ({ target }) => {
  classes.choosable = target.checked;
  if (!target.checked) classes.chosen = null;
  classes.mark();
  if (target.checked) explainAgain();
  else clearMap();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  service.setKey($("key").value);
  $("key").value = "";
  connect();
});
service.whenBusy((busy) => setState(busy ? "busy" : "ready", busy ? "busy" : "ready"));

for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", [...event.dataTransfer.types].includes("Files"));
  });
}
addEventListener("dragleave", ({ relatedTarget }) => {
  if (relatedTarget === null) $("stage").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  takeFirst(event.dataTransfer.files);
});
addEventListener("paste", ({ clipboardData }) => takeFirst(clipboardData.files));

writing.setUp(refuse);
const noCamera = camera.whyNone();
if (noCamera) {
  $("open-camera").hidden = true;
  $("take-photo").hidden = !matchMedia("(pointer: coarse)").matches;
  note(noCamera);
}
connect();
