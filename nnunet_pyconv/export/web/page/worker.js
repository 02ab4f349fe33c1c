// Everything that takes time: reading, preprocessing, the network and the way back. No request leaves the page's folder.

import * as ort from "./onnxruntime/ort.wasm.min.mjs";
import { InputError, readImage } from "./image.js";
import { predictLogits, labelsOf } from "./prediction.js";
import { preprocess } from "./preprocessing.js";

ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

const started = start();
let working = started.catch(report);

async function start() {
  const model = await (await found("model.json")).json();
  const card = await (await found("MODEL_CARD.md")).text();
  const sessions = [];
  for (const { file } of model.networks) {
    const bytes = new Uint8Array(await (await found(file)).arrayBuffer());
    sessions.push(await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }));
  }
  postMessage({ model, card });
  return { model, sessions };
}

async function found(name) {
  const response = await fetch(name);
  if (!response.ok) throw new InputError(`the page lacks ${name}; export it again`);
  return response;
}

function report(error) {
  const message = error instanceof InputError ? error.message : `the prediction failed: ${error.message ?? error}`;
  postMessage({ error: message });
}

onmessage = ({ data }) => {
  working = working.then(() => predict(data)).catch(report);
};

async function predict({ files, mirroring }) {
  const { model, sessions } = await started;
  const begin = performance.now();
  const image = await readImage(files);
  const prepared = preprocess(image, model);
  const values = Object.entries(model.labels).filter(([name]) => name !== "ignore");
  const outputs = model.regions_class_order?.length ?? new Set(values.map(([, value]) => value)).size;
  const run = async (fold, patch) => {
    const input = new ort.Tensor("float32", patch, [1, model.channels.length, ...model.patch_size]);
    const { logits } = await sessions[fold].run({ image: input });
    return logits.data;
  };
  const logits = await predictLogits(prepared, model, outputs, run, mirroring, (progress) => postMessage({ progress }));
  const labels = labelsOf(logits, prepared.shape, outputs, model, prepared.geometry);
  const name = files[0].name.replace(/(_\d{4})?\.[^_]*$/, "");
  postMessage({ image, labels, name, milliseconds: performance.now() - begin });
}
