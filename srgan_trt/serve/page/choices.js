// What people choose: model, texture, size, format, quality, noise.

import { capital, make } from "./parts.js";

export const DENOISE = { auto: "As the file needs it", off: "Leave it as it is", 0: "A little", 1: "Some", 2: "More", 3: "Most" };
const NAMES = { png: "PNG", jpg: "JPEG", webp: "WebP", tiff: "TIFF", avif: "AVIF", jxl: "JPEG XL" };
const TEXTURE = { 0: "smooth", 0.25: "a little", 0.5: "half", 0.75: "much", 1: "crisp, partly invented" };
const SCALES = [2, 3, 8]; // beside the model's own

const $ = (selector) => document.querySelector(selector);
let service = null;

export const modelOf = (name) => service?.models.find((each) => each.name === name);

// As the service takes them: what is not there is left to it.
export function options() {
  const chosen = { model: $("#model").value, format: $("#formats input:checked")?.value ?? "png", denoise: $("#denoise").value };
  if (chosen.format in (service?.quality ?? {})) chosen.quality = $("#quality").value;
  if ($("#size").value === "width") chosen.width = $("#width").value || "1";
  else if ($("#size").value) chosen.scale = $("#size").value;
  const own = modelOf(chosen.model)?.texture ?? null;
  if (own !== null && Number($("#texture").value) !== own) chosen.texture = $("#texture").value;
  return chosen;
}

// How large the stage is before the result is there.
export function factorOf(chosen) {
  return Number(chosen.scale ?? modelOf(chosen.model)?.scale ?? 4);
}

// By what a service offers.
export function offer(found) {
  service = found;
  $("#model").replaceChildren(...service.models.map((each) => new Option(each.name, each.name)));
  $("#denoise").replaceChildren(...service.denoise.map((each) => new Option(DENOISE[each] ?? each, each)));
  const old = $("#formats input:checked")?.value ?? "png";
  $("#formats").replaceChildren(
    ...service.formats.map((each) =>
      make("label", {}, make("input", { type: "radio", name: "format", value: each, checked: each === old }), make("span", { textContent: NAMES[each] ?? each })),
    ),
  );
  offerOfModel();
}

// What another model brings with it.
function offerOfModel() {
  const { scale, texture } = modelOf($("#model").value);
  const old = $("#size").value;
  const others = SCALES.filter((each) => each !== scale && each <= scale ** 2);
  $("#size").replaceChildren(
    ...["", ...others].map((each) => new Option(`${each || scale} times as large`, each)),
    new Option("By width", "width"),
  );
  $("#size").value = old;
  if ($("#size").selectedIndex < 0) $("#size").selectedIndex = 0;
  $("#texture").value = texture ?? 0;
}

export function show() {
  const chosen = options();
  const model = modelOf(chosen.model);
  if (model) {
    $("#model-hint").textContent = `${capital(model.what ?? "a model of this service's owner")}.`;
    $("#claim").textContent = chosen.width ? "Pictures, as wide as you like" : `Pictures, ${factorOf(chosen)} times as large`;
  }
  $("#texture-field").hidden = (model?.texture ?? null) === null;
  $("#texture-value").textContent = TEXTURE[$("#texture").value];
  $("#texture").setAttribute("aria-valuetext", TEXTURE[$("#texture").value]);
  $("#width-field").hidden = $("#size").value !== "width";
  $("#quality-field").hidden = !("quality" in chosen);
  $("#quality-value").textContent = $("#quality").value;
}

$("#model").addEventListener("input", offerOfModel);
$("#formats").addEventListener("input", () => {
  const { format } = options();
  if (format in service.quality) $("#quality").value = service.quality[format];
});
