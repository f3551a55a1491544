// The HTTP interface, as the page uses it.

export class Refused extends Error {
  constructor(message, { code = "unreachable", status = 0, retryAfter = null } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const UNREACHABLE = "The service cannot be reached: see that it runs and that you are connected, then try again.";
let token = sessionStorage.getItem("token");

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  setToken(given);
  history.replaceState(null, "", location.pathname); // out of sight, and of bookmarks
}

export function setToken(text) {
  token = text.trim();
  sessionStorage.setItem("token", token);
}

function head() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function refusal(status, text, retryAfter) {
  let facts = {};
  try {
    facts = JSON.parse(text);
  } catch {
    facts = { error: `The service answered with ${status}: try again later.` };
  }
  const seconds = Number.parseFloat(retryAfter);
  return new Refused(facts.error, { code: facts.code, status, retryAfter: Number.isFinite(seconds) ? seconds : null });
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: head() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(UNREACHABLE);
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer;
}

export async function models(signal) {
  return (await ask("v1/models", { signal })).json();
}

// By XMLHttpRequest: fetch does not tell how much was sent.
export function addJob(file, options, { onSent, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `v1/jobs?${new URLSearchParams(options)}`);
    for (const [name, value] of Object.entries(head())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 202) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Refused(UNREACHABLE));
    request.onabort = () => reject(new DOMException("given up", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

// By fetch: an EventSource cannot show a token.
export async function* events(id, signal) {
  const answer = await ask(`v1/jobs/${id}/events`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const line = block.split("\n").find((each) => each.startsWith("data: "));
        if (line) yield JSON.parse(line.slice(6));
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(UNREACHABLE);
  }
}

export async function result(id, signal) {
  return (await ask(`v1/jobs/${id}/result`, { signal })).blob();
}

export function forget(id) {
  return fetch(`v1/jobs/${id}`, { method: "DELETE", headers: head(), keepalive: true }).catch(() => {});
}
