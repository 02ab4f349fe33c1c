// The page: takes files, shows what the worker finds, and saves the mask.

import { encodeNifti } from "./nifti.js";
import { encodePng } from "./png.js";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#9a6324", "#ffe119"];
const element = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
let model = null;
let result = null; // {image: {data, shape, spacing, ...}, labels}

if (!self.crossOriginIsolated && "serviceWorker" in navigator) {
  // threads need headers that a plain server doesn't send; the service worker adds them from the second load on
  navigator.serviceWorker.register("threads.js").catch(() => {});
}

function show(message, isError = false) {
  element("message").textContent = message;
  element("message").className = isError ? "error" : "";
  if (isError) element("progress").hidden = true;
}

function labelValues() {
  // values that occur in a mask, each with its name; a value within several regions has the last one's name
  const names = new Map();
  const order = model.regions_class_order;
  const named = Object.entries(model.labels).filter(([name]) => name !== "background" && name !== "ignore");
  named.forEach(([name, value], index) => names.set(order ? order[index] : value, name));
  return names;
}

const colourOf = (value) => COLOURS[(value - 1) % COLOURS.length];

function draw() {
  const { image, labels } = result;
  const [, depth, height, width] = image.shape;
  const slice = Math.min(Number(element("slice").value), depth - 1);
  const canvas = element("view");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const opacity = Number(element("opacity").value);
  const volume = depth * height * width;
  const channels = image.shape[0] >= 3 ? [0, 1, 2] : [0, 0, 0];
  const offset = slice * height * width;
  for (let i = 0; i < height * width; i++) {
    const label = labels[offset + i];
    const colour = label ? parseInt(colourOf(label).slice(1), 16) : 0;
    for (let c = 0; c < 3; c++) {
      const grey = (255 * (image.data[channels[c] * volume + offset + i] - image.low)) / (image.high - image.low || 1);
      const share = label ? opacity : 0;
      pixels.data[4 * i + c] = (1 - share) * grey + share * ((colour >> (16 - 8 * c)) & 255);
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  element("number").textContent = `${slice + 1} of ${depth}`;
  const counts = new Map();
  for (let i = 0; i < height * width; i++) counts.set(labels[offset + i], (counts.get(labels[offset + i]) ?? 0) + 1);
  const typed = Number(element("pixel").value);
  const area = image.hasSpacing ? image.spacing[1] * image.spacing[2] : typed * typed;
  element("labels").replaceChildren(
    ...[...labelValues()].map(([value, name]) => {
      const row = document.createElement("tr");
      const count = counts.get(value) ?? 0;
      for (const text of [name, String(count), area > 0 ? (count * area).toFixed(2) : "–"]) {
        row.insertCell().textContent = text;
      }
      const colour = document.createElement("span");
      colour.className = "colour";
      colour.style.background = colourOf(value);
      row.cells[0].prepend(colour);
      return row;
    }),
  );
}

worker.onmessage = ({ data }) => {
  if (data.model) {
    model = data.model;
    element("name").textContent = model.name.replace("/", " ");
    element("card").textContent = data.card;
    const names = model.channels;
    if (names.length > 1) element("channels").textContent = ` (channels: ${names.join(", ")})`;
    element("mirroring").closest("p").hidden = model.mirror_axes === null;
    show("Ready.");
    document.body.dataset.state = "ready";
  } else if (data.progress !== undefined) {
    element("progress").value = data.progress;
  } else if (data.error) {
    show(data.error, true);
    document.body.dataset.state = "error";
  } else {
    result = data;
    const depth = result.image.shape[1];
    element("slice").max = depth - 1;
    element("slice").value = depth >> 1;
    element("slices").hidden = depth === 1;
    element("pixel").closest("p").hidden = result.image.hasSpacing;
    element("progress").hidden = true;
    element("result").hidden = false;
    show(`Done in ${(data.milliseconds / 1000).toFixed(1)} s, on this device.`);
    draw();
    document.body.dataset.state = "done";
  }
};
worker.onerror = (event) => show(`The page could not start: ${event.message ?? "its files are incomplete"}`, true);

function predict(files) {
  if (!model || files.length === 0) return;
  element("progress").hidden = false;
  element("progress").value = 0;
  element("result").hidden = true;
  show("Segmenting …");
  document.body.dataset.state = "busy";
  worker.postMessage({ files: [...files], mirroring: element("mirroring").checked });
}

async function download() {
  const { image, labels, name } = result;
  const [, depth, height, width] = image.shape;
  const isVolume = depth > 1 || image.nifti;
  const bytes = isVolume ? encodeNifti(labels, [depth, height, width], image) : await encodePng(labels, width, height);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = `${name}_mask.${isVolume ? "nii" : "png"}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

element("files").addEventListener("change", (event) => predict(event.target.files));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") predict(event.dataTransfer.files);
  });
}
for (const id of ["slice", "opacity", "pixel"]) element(id).addEventListener("input", draw);
element("download").addEventListener("click", download);
