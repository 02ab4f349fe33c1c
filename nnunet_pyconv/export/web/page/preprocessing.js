// nnU-Net's preprocessing, slice by slice: transpose, crop to nonzero, normalise, resample within the slice.

import { InputError } from "./image.js";
import { resampleSlice, separateAxis } from "./resampling.js";

const SMALLEST = 1e-8;

/** An array (C, Z, Y, X) with its spatial axes in another order. */
export function transpose(data, shape, order) {
  if (String(order) === "0,1,2") return { data, shape };
  const sizes = order.map((axis) => shape[axis + 1]);
  const strides = [shape[2] * shape[3], shape[3], 1];
  const steps = order.map((axis) => strides[axis]);
  const volume = shape[1] * shape[2] * shape[3];
  const result = new data.constructor(data.length);
  let to = 0;
  for (let c = 0; c < shape[0]; c++)
    for (let i = 0; i < sizes[0]; i++)
      for (let j = 0; j < sizes[1]; j++)
        for (let k = 0; k < sizes[2]; k++) result[to++] = data[c * volume + i * steps[0] + j * steps[1] + k * steps[2]];
  return { data: result, shape: [shape[0], ...sizes] };
}

export function preprocess(image, model) {
  if (image.shape[0] !== model.channels.length) {
    throw new InputError(
      `the image has ${image.shape[0]} channels; the model expects ${model.channels.length} (${model.channels.join(", ")})`,
    );
  }
  const turned = transpose(image.data, image.shape, model.transpose_forward);
  const spacing = model.transpose_forward.map((axis) => image.spacing[axis]);
  const { data, shape, crop, nonzero } = cropToNonzero(turned.data, turned.shape);
  const [channels, depth, height, width] = shape;
  const volume = depth * height * width;
  const inside = model.normalization.some((how) => how.use_mask) ? fillHoles(nonzero, shape) : null;
  for (let c = 0; c < channels; c++) {
    normalize(data.subarray(c * volume, (c + 1) * volume), model.normalization[c], inside);
  }
  const target = [spacing[0], ...model.spacing];
  const size = [1, 2].map((axis) => roundHalfEven((spacing[axis] / target[axis]) * shape[axis + 1]));
  const axis = separateAxis(spacing, target, model.resample_image.force_separate_z);
  const geometry = { spacing, target, crop, cropped: shape, before: turned.shape };
  if (size[0] === height && size[1] === width) return { data, shape, geometry };
  const resampled = new Float32Array(channels * depth * size[0] * size[1]);
  for (let c = 0; c < channels; c++) {
    const channel = data.subarray(c * volume, (c + 1) * volume);
    const range = axis === null ? rangeOf(channel) : null; // else each slice is clipped to its own
    for (let z = 0; z < depth; z++) {
      const slice = channel.subarray(z * height * width, (z + 1) * height * width);
      const values = resampleSlice(slice, [height, width], size, model.resample_image, axis, range);
      resampled.set(values, (c * depth + z) * size[0] * size[1]);
    }
  }
  return { data: resampled, shape: [channels, depth, ...size], geometry };
}

export function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Python's round: to the even number where two are equally near. */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest === 0.5 ? below + (below & 1) : Math.round(value);
}

function cropToNonzero(data, shape) {
  const [channels, ...sizes] = shape;
  const volume = sizes[0] * sizes[1] * sizes[2];
  const [low, high] = [[...sizes], [-1, -1, -1]];
  for (let i = 0; i < data.length; i++) {
    if (data[i] === 0) continue;
    const v = i % volume;
    const place = [Math.floor(v / (sizes[1] * sizes[2])), Math.floor(v / sizes[2]) % sizes[1], v % sizes[2]];
    for (let axis = 0; axis < 3; axis++) {
      if (place[axis] < low[axis]) low[axis] = place[axis];
      if (place[axis] > high[axis]) high[axis] = place[axis];
    }
  }
  const crop = sizes.map((size, axis) => (high[axis] < 0 ? [0, size] : [low[axis], high[axis] + 1]));
  const cropped = crop.map(([from, to]) => to - from);
  const result = new Float32Array(channels * cropped[0] * cropped[1] * cropped[2]);
  const nonzero = new Uint8Array(cropped[0] * cropped[1] * cropped[2]);
  let to = 0;
  for (let c = 0; c < channels; c++)
    for (let z = crop[0][0]; z < crop[0][1]; z++)
      for (let y = crop[1][0]; y < crop[1][1]; y++)
        for (let x = crop[2][0]; x < crop[2][1]; x++) {
          const value = data[((c * sizes[0] + z) * sizes[1] + y) * sizes[2] + x];
          if (value !== 0) nonzero[to % nonzero.length] = 1;
          result[to++] = value;
        }
  return { data: result, shape: [channels, ...cropped], crop, nonzero };
}

/** Fill what is not connected with the outside, as SciPy's binary_fill_holes does in three dimensions. */
function fillHoles(nonzero, shape) {
  const [, depth, height, width] = shape;
  const outside = new Uint8Array(nonzero.length);
  const queue = [];
  const visit = (z, y, x) => {
    const at = (z * height + y) * width + x;
    if (!nonzero[at] && !outside[at]) {
      outside[at] = 1;
      queue.push(at);
    }
  };
  for (let z = 0; z < depth; z++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        if (z === 0 || z === depth - 1 || y === 0 || y === height - 1 || x === 0 || x === width - 1) visit(z, y, x);
  while (queue.length) {
    const at = queue.pop();
    const [z, y, x] = [Math.floor(at / (height * width)), Math.floor(at / width) % height, at % width];
    if (z > 0) visit(z - 1, y, x);
    if (z < depth - 1) visit(z + 1, y, x);
    if (y > 0) visit(z, y - 1, x);
    if (y < height - 1) visit(z, y + 1, x);
    if (x > 0) visit(z, y, x - 1);
    if (x < width - 1) visit(z, y, x + 1);
  }
  return outside.map((value) => 1 - value);
}

function normalize(values, how, inside) {
  const scale = (subtract, divide, only) => {
    for (let i = 0; i < values.length; i++) if (!only || only[i]) values[i] = (values[i] - subtract) / divide;
  };
  if (how.scheme === "ZScoreNormalization") {
    const only = how.use_mask ? inside : null;
    let [count, sum, squares] = [0, 0, 0];
    for (let i = 0; i < values.length; i++) if (!only || only[i]) (count++, (sum += values[i]));
    const mean = sum / count;
    for (let i = 0; i < values.length; i++) if (!only || only[i]) squares += (values[i] - mean) ** 2;
    scale(mean, Math.max(Math.sqrt(squares / count), SMALLEST), only);
  } else if (how.scheme === "CTNormalization") {
    for (let i = 0; i < values.length; i++) values[i] = Math.min(Math.max(values[i], how.lower), how.upper);
    scale(how.mean, Math.max(how.std, SMALLEST));
  } else if (how.scheme === "RescaleTo01Normalization") {
    const [low, high] = rangeOf(values);
    scale(low, Math.max(high - low, SMALLEST));
  } else if (how.scheme === "RGBTo01Normalization") {
    const [low, high] = rangeOf(values);
    if (low < 0 || high > 255) throw new InputError(`the image has values from ${low} to ${high}; expected 0 to 255`);
    scale(0, 255);
  }
}
