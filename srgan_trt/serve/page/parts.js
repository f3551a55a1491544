// What the page is made of: elements, words, bars.

export function make(tag, values = {}, ...children) {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...children);
  return element;
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", path);
  return svg;
}

export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function words(item) {
  switch (item.state) {
    case "queued": return "Next";
    case "uploading": return item.part < 1 ? `Sending, ${Math.round(item.part * 100)} %` : "Sent";
    case "waiting": return item.position ? `Waiting, ${item.position} before it` : "Waiting for a free place";
    case "running": return item.part ? `Enlarging, ${Math.round(item.part * 100)} %` : "Enlarging";
    case "fetching": return "Fetching the result";
    case "cancelled": return "Given up";
    case "error": return item.note;
    default: return `${item.facts.width} × ${item.facts.height}, ${megabytes(item.facts.bytes)}`;
  }
}

export const isBusy = (item) => ["queued", "uploading", "waiting", "running", "fetching"].includes(item.state);

export function meter(item) {
  const bar = make("span", { className: "meter" }, make("i"));
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", `Progress of ${item.file.name}`);
  fill(bar, item);
  return bar;
}

export function fill(bar, item) {
  const open = !(item.part > 0 && item.part < 1);
  bar.classList.toggle("is-open", open);
  bar.firstChild.style.width = open ? "" : `${item.part * 100}%`;
  if (open) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", Math.round(item.part * 100));
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
