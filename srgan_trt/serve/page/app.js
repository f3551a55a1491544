// The page: a list of pictures, each on its way through the service, and one of them on the stage.

import { Viewer } from "./viewer.js";
import { zip } from "./zip.js";
import { DENOISE, factorOf, modelOf, offer, options, show as showChoices } from "./choices.js";
import { capital, fill, icon, isBusy, make, megabytes, meter, save, words } from "./parts.js";
import { Refused, addJob, events, forget, models, result, setToken } from "./service.js";

const AT_ONCE = 2; // pictures that are sent or worked on: the others wait here, not in the service's queue
const PATIENCE = 30; // times that a full queue is asked again
const HOPELESS = ["bad_picture", "unknown_format", "too_many_bytes", "too_many_pixels", "bad_option"]; // another try ends as the first
const CROSS = "M6 6l12 12M18 6 6 18";
const ARROW = "M12 4v11m0 0-4-4m4 4 4-4M5 20h14";

const $ = (selector) => document.querySelector(selector);
const viewer = new Viewer();
const items = [];
let current = null;
let service = null;
let number = 0;

// ---- options

function showOptions() {
  showChoices();
  const same = current && JSON.stringify(current.options) === JSON.stringify(options());
  $("#redo").hidden = !current || same || !["done", "error", "cancelled"].includes(current.state);
}

async function connect() {
  try {
    service = await models();
  } catch (error) {
    if (error.code === "no_token") return void askToken(connect);
    $("#model-hint").textContent = `${error.message} `;
    $("#model-hint").append(make("button", { type: "button", className: "quiet", textContent: "Try again", onclick: connect }));
    return;
  }
  offer(service);
  const { bytes, pixels } = service.limits;
  $("#limits").textContent = `JPEG, PNG, WebP, TIFF, AVIF, JPEG XL, BMP or GIF, up to ${Math.floor(bytes / 2 ** 20)} MB and ${Math.round(pixels / 1e6)} megapixels. They go to this service only, which keeps none.`;
  showOptions();
  advance();
}

let waitingForToken = [];
function askToken(then) {
  waitingForToken.push(then);
  if ($("#gate").open) return;
  $("#gate-error").textContent = sessionStorage.getItem("token") ? "That token is not the one." : "";
  $("#gate").showModal();
}

$("#gate").addEventListener("close", () => {
  setToken($("#token").value);
  for (const then of waitingForToken.splice(0)) then();
});
$("#gate").addEventListener("cancel", (event) => event.preventDefault());

// ---- the way of a picture

function add(files) {
  let first = null;
  for (const file of files) {
    number += 1;
    const item = { id: number, file, state: "queued", part: 0, note: "", options: null, url: URL.createObjectURL(file), size: null, fetched: null, lost: new Set() };
    items.push(item);
    first ??= item;
    const probe = new Image();
    probe.onload = () => {
      item.size = [probe.naturalWidth, probe.naturalHeight];
      if (item === current) show();
    };
    probe.src = item.url;
    drawItem(item);
    if (service && file.size > service.limits.bytes) {
      fail(item, new Refused(`The file has ${megabytes(file.size)}, the limit here is ${Math.floor(service.limits.bytes / 2 ** 20)} MB: save it in a denser format.`, { code: "too_many_bytes" }));
    }
  }
  if (first && (!current || files.length === 1)) select(first);
  advance();
}

function advance() {
  if (!service) return;
  const busy = items.filter((item) => ["uploading", "waiting", "running", "fetching"].includes(item.state)).length;
  for (const item of items.filter((each) => each.state === "queued").slice(0, Math.max(0, AT_ONCE - busy))) run(item);
}

async function run(item) {
  item.abort = new AbortController();
  const { signal } = item.abort;
  item.options = options();
  try {
    const job = await admitted(item, signal);
    item.job = job.id;
    item.label = job.size ?? `x${modelOf(item.options.model).scale}`;
    item.size = [job.width, job.height].sort((a, b) => (item.size && item.size[0] < item.size[1] ? a - b : 0));
    for await (const facts of events(job.id, signal)) {
      if (facts.state === "failed" || facts.state === "cancelled") throw new Refused(facts.error, { code: facts.code });
      if (facts.state === "done") item.facts = facts.result;
      else set(item, facts.state, { part: facts.total ? facts.done / facts.total : 0, position: facts.position });
    }
    if (!item.facts) throw new Refused("The connection ended before the picture was done: try again.");
    set(item, "fetching", { part: 1 });
    const blob = await result(job.id, signal);
    item.fetched = { blob, url: URL.createObjectURL(blob) };
    set(item, "done");
    say(`${item.file.name} is done.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.code === "no_token") {
      set(item, "queued");
      return void askToken(advance);
    }
    fail(item, error);
  } finally {
    if (item.job && item.state !== "running" && item.state !== "waiting") {
      forget(item.job);
      item.job = null;
    }
    advance();
  }
}

// The job, once the service has room for it.
async function admitted(item, signal) {
  for (let left = PATIENCE; ; left -= 1) {
    set(item, "uploading", { part: 0 });
    try {
      return await addJob(item.file, item.options, { signal, onSent: (part) => set(item, "uploading", { part }) });
    } catch (error) {
      if (!left || !["queue_full", "too_many_of_yours"].includes(error.code)) throw error;
      set(item, "waiting", { position: null });
      await new Promise((resolve, reject) => {
        const timer = setTimeout(resolve, 1000 * (error.retryAfter ?? 2));
        signal.addEventListener("abort", () => (clearTimeout(timer), reject(new DOMException("given up", "AbortError"))));
      });
    }
  }
}

function fail(item, error) {
  item.note = capital(error.message);
  item.code = error.code;
  set(item, "error");
  say(`${item.file.name}: ${error.message}`);
}

function set(item, state, values = {}) {
  Object.assign(item, { state, ...values });
  drawItem(item);
  if (item === current) show();
  showFoot();
}

function release(item) {
  item.abort?.abort();
  if (item.job) forget(item.job);
  item.job = null;
  if (item.fetched) URL.revokeObjectURL(item.fetched.url);
  item.fetched = item.facts = null;
}

function cancel(item) {
  release(item);
  set(item, "cancelled");
  say(`${item.file.name} was given up.`);
  advance();
}

function again(item) {
  release(item);
  item.note = "";
  set(item, "queued", { part: 0 });
  advance();
}

function remove(item) {
  release(item);
  URL.revokeObjectURL(item.url);
  const at = items.indexOf(item);
  items.splice(at, 1);
  item.element.remove();
  if (item === current) select(items[Math.min(at, items.length - 1)] ?? null);
  (current?.element.querySelector(".choose") ?? $("#welcome button")).focus();
  showFoot();
  advance();
}

// ---- what is seen

function drawItem(item) {
  if (!item.element) {
    const thumb = make("img", { className: "thumb", alt: "", src: item.url });
    thumb.onerror = () => thumb.replaceWith(make("span", { className: "thumb" }));
    const lines = make("span", { className: "lines" }, make("span", { className: "name", textContent: item.file.name }), make("span", { className: "what" }));
    const choose = make("button", { type: "button", className: "choose", onclick: () => select(item) }, thumb, lines);
    item.element = make("li", { className: "item" }, choose, make("span", { className: "acts" }));
    $("#list").append(item.element);
  }
  const element = item.element;
  element.classList.toggle("is-error", item.state === "error");
  element.classList.toggle("is-current", item === current);
  element.querySelector(".choose").toggleAttribute("aria-current", item === current);
  element.querySelector(".what").textContent = words(item);
  const bar = element.querySelector(".meter");
  if (!isBusy(item)) bar?.remove();
  else if (bar) fill(bar, item);
  else element.querySelector(".lines").append(meter(item));
  // The button is made anew only where it does another thing: it may have the focus.
  const act = isBusy(item) ? "Cancel" : item.state === "done" ? "Download" : "Remove";
  const acts = element.querySelector(".acts");
  if (acts.dataset.act === act) return;
  const focused = acts.contains(document.activeElement);
  acts.dataset.act = act;
  const button = act === "Download"
    ? make("a", { className: "button icon", href: item.fetched.url, download: nameOf(item) }, icon(ARROW))
    : make("button", { type: "button", className: "icon", onclick: () => (act === "Cancel" ? cancel(item) : remove(item)) }, icon(CROSS));
  button.setAttribute("aria-label", `${act} ${item.file.name}`);
  acts.replaceChildren(button);
  if (focused) button.focus();
}

function nameOf(item) {
  return `${item.file.name.replace(/\.[^.]*$/, "") || "picture"}_${item.label}.${item.options.format}`;
}

function select(item) {
  current = item;
  for (const each of items) drawItem(each);
  $("#welcome").hidden = Boolean(item);
  $("#workspace").hidden = !item;
  document.body.classList.toggle("is-empty", !item);
  show();
}

let shown = null;
function show() {
  showOptions();
  showFoot();
  if (!current) return void (shown = null);
  const item = current;
  const done = item.state === "done";
  const scale = factorOf(item.options ?? options());
  const [width, height] = done ? [item.facts.width, item.facts.height] : (item.size ?? [0, 0]).map((side) => side * scale);
  const key = `${item.id} ${done && item.fetched.url} ${width} ${height}`;
  if (key !== shown) {
    viewer.open({ before: item.url, after: done ? item.fetched.url : null, width, height, keep: shown?.startsWith(`${item.id} `) });
    shown = key;
  }
  const link = $("#download");
  link.hidden = !done;
  if (done) Object.assign(link, { href: item.fetched.url, download: nameOf(item) });
  showNotice(item);
  showFacts(item);
}

function showNotice(item) {
  const notice = $("#notice");
  const state = `${item.id} ${item.state} ${item.note}`;
  const noBefore = item.lost.has(`before ${item.url}`);
  const noAfter = item.state !== "done" || item.lost.has(`after ${item.fetched.url}`);
  notice.hidden = item.state === "done" && !noAfter;
  notice.classList.toggle("is-error", item.state === "error");
  $("#stage").classList.toggle("is-blank", noBefore && noAfter);
  $("#stage").classList.toggle("is-alone", noBefore || noAfter);
  $("#split").disabled = noBefore || noAfter;
  const line = notice.querySelector(".line");
  if (notice.dataset.state === state && line && isBusy(item)) {
    line.textContent = words(item);
    fill(notice.querySelector(".meter"), item);
    return;
  }
  notice.dataset.state = state;
  const button = (text, act, primary) => make("button", { type: "button", textContent: text, className: primary ? "primary" : "", onclick: act });
  const title = make("strong", { textContent: item.file.name });
  if (isBusy(item)) {
    notice.replaceChildren(title, make("span", { className: "line", textContent: words(item) }), meter(item), make("div", { className: "row" }, button("Cancel", () => cancel(item))));
  } else if (item.state === "error") {
    notice.replaceChildren(title, make("p", { className: "error-text", textContent: item.note }), make("div", { className: "row" }, ...(HOPELESS.includes(item.code) ? [] : [button("Try again", () => again(item), true)]), button("Remove", () => remove(item))));
  } else if (item.state === "cancelled") {
    notice.replaceChildren(title, make("span", { textContent: "Given up." }), make("div", { className: "row" }, button("Start again", () => again(item), true), button("Remove", () => remove(item))));
  } else {
    notice.replaceChildren(title, make("span", { textContent: "This browser cannot show the picture. The result is ready to download." }));
  }
}

for (const picture of [$("#before"), $("#after")]) {
  picture.addEventListener("error", () => {
    if (!current || !picture.hasAttribute("src")) return;
    current.lost.add(`${picture.id} ${picture.src}`);
    picture.hidden = true;
    show();
  });
}

function showFacts(item) {
  const fact = (name, value) => make("span", {}, `${name} `, make("b", { textContent: value }));
  const facts = [];
  if (item.size) facts.push(fact("From", `${item.size[0]} × ${item.size[1]}`));
  if (item.state === "done") {
    const seconds = Object.values(item.facts.seconds).reduce((sum, each) => sum + each, 0);
    facts.push(fact("to", `${item.facts.width} × ${item.facts.height}`), fact("in", `${seconds.toFixed(1)} s`), fact("by", item.options.model));
    if (item.facts.denoised !== null) facts.push(fact("noise taken away:", DENOISE[item.facts.denoised].toLowerCase()));
    facts.push(...item.facts.notes.map((note) => make("span", { className: "note", textContent: `Note: ${note}` })));
  }
  $("#facts").replaceChildren(...facts);
}

function showFoot() {
  $("#list-card").hidden = !items.length;
  $("#clear").hidden = !items.length;
  $("#download-all").hidden = items.filter((item) => item.state === "done").length < 2;
}

function say(text) {
  $("#status").textContent = text;
}

// ---- what people do

async function downloadAll() {
  const taken = new Set();
  const files = items.filter((item) => item.state === "done").map((item) => {
    let name = nameOf(item);
    for (let copy = 2; taken.has(name); copy += 1) name = nameOf(item).replace(/(\.[^.]*)$/, ` (${copy})$1`);
    taken.add(name);
    return { name, blob: item.fetched.blob };
  });
  save(await zip(files), "pictures.zip");
}

const actions = {
  pick: () => $("#picker").click(),
  fit: () => viewer.fit(),
  pixels: () => viewer.pixels(),
  "zoom-in": () => viewer.zoom(1),
  "zoom-out": () => viewer.zoom(-1),
  "download-all": downloadAll,
  clear: () => [...items].forEach(remove),
  redo: () => again(current),
};
document.addEventListener("click", (event) => actions[event.target.closest("[data-action]")?.dataset.action]?.());
$("#options").addEventListener("input", showOptions);
$("#options").addEventListener("submit", (event) => event.preventDefault());
$("#picker").addEventListener("change", () => {
  add([...$("#picker").files]);
  $("#picker").value = "";
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  add(files);
});
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("is-dragging");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("is-dragging"));
document.addEventListener("drop", (event) => {
  document.body.classList.remove("is-dragging");
  if (!holdsFiles(event)) return;
  event.preventDefault();
  add([...event.dataTransfer.files]);
});
addEventListener("pagehide", () => items.forEach((item) => item.job && forget(item.job)));

connect();
