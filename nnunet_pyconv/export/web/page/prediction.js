// nnU-Net's sliding window over slices, its mirroring and ensembling, and the way back to labels of the image.

import { rangeOf, roundHalfEven, transpose } from "./preprocessing.js";
import { resampleSlice, separateAxis } from "./resampling.js";

const STEP_SIZE = 0.5;

/**
 * Predict all slices; `run(fold, patch)` gives the logits (K, Y, X) of a patch (C, Y, X).
 * Returns logits (K, Z, Y, X) in the geometry of `data`.
 */
export async function predictLogits({ data, shape }, model, outputs, run, mirroring, progress) {
  const [channels, depth, height, width] = shape;
  const [patchHeight, patchWidth] = model.patch_size;
  const [paddedHeight, paddedWidth] = [Math.max(height, patchHeight), Math.max(width, patchWidth)];
  const [top, left] = [(paddedHeight - height) >> 1, (paddedWidth - width) >> 1];
  const weights = gaussian(patchHeight, patchWidth);
  const rows = steps(paddedHeight, patchHeight);
  const columns = steps(paddedWidth, patchWidth);
  const mirrorings = mirroring ? subsets(model.mirror_axes ?? []) : [[]];
  const total = depth * rows.length * columns.length * mirrorings.length * model.networks.length;
  let done = 0;
  const logits = new Float32Array(outputs * depth * height * width);
  for (let z = 0; z < depth; z++) {
    for (let fold = 0; fold < model.networks.length; fold++) {
      const sums = new Float32Array(outputs * paddedHeight * paddedWidth);
      const weightSums = new Float32Array(paddedHeight * paddedWidth);
      for (const y of rows) {
        for (const x of columns) {
          const patch = new Float32Array(channels * patchHeight * patchWidth);
          for (let c = 0; c < channels; c++)
            for (let i = 0; i < patchHeight; i++) {
              const row = y + i - top;
              if (row < 0 || row >= height) continue;
              for (let j = 0; j < patchWidth; j++) {
                const column = x + j - left;
                if (column < 0 || column >= width) continue;
                const from = ((c * depth + z) * height + row) * width + column;
                patch[(c * patchHeight + i) * patchWidth + j] = data[from];
              }
            }
          const average = new Float32Array(outputs * patchHeight * patchWidth);
          for (const axes of mirrorings) {
            const result = flip(await run(fold, flip(patch, channels, axes)), outputs, axes);
            for (let i = 0; i < average.length; i++) average[i] += result[i] / mirrorings.length;
            progress(++done / total);
          }
          for (let i = 0; i < patchHeight; i++)
            for (let j = 0; j < patchWidth; j++) {
              const [weight, to] = [weights[i * patchWidth + j], (y + i) * paddedWidth + x + j];
              weightSums[to] += weight;
              for (let k = 0; k < outputs; k++) {
                sums[k * paddedHeight * paddedWidth + to] += weight * average[(k * patchHeight + i) * patchWidth + j];
              }
            }
        }
      }
      for (let k = 0; k < outputs; k++)
        for (let i = 0; i < height; i++)
          for (let j = 0; j < width; j++) {
            const from = (top + i) * paddedWidth + left + j;
            const value = sums[k * paddedHeight * paddedWidth + from] / weightSums[from];
            logits[((k * depth + z) * height + i) * width + j] += value / model.networks.length;
          }
    }
  }
  return logits;

  function flip(values, count, axes) {
    if (axes.length === 0) return values;
    const result = new Float32Array(values.length);
    for (let c = 0; c < count; c++)
      for (let i = 0; i < patchHeight; i++)
        for (let j = 0; j < patchWidth; j++) {
          const [row, column] = [axes.includes(0) ? patchHeight - 1 - i : i, axes.includes(1) ? patchWidth - 1 - j : j];
          result[(c * patchHeight + i) * patchWidth + j] = values[(c * patchHeight + row) * patchWidth + column];
        }
    return result;
  }
}

function subsets(axes) {
  return axes.reduce((all, axis) => [...all, ...all.map((subset) => [...subset, axis])], [[]]);
}

export function steps(size, patch) {
  const count = Math.ceil((size - patch) / (patch * STEP_SIZE)) + 1;
  const distance = count > 1 ? (size - patch) / (count - 1) : 0;
  return Array.from({ length: count }, (_, number) => roundHalfEven(distance * number));
}

/** Weight of each pixel of a patch: a Gaussian of sigma = patch / 8, at most 10, cut off at 4 sigma and nowhere 0. */
function gaussian(height, width) {
  const line = (size) => {
    const [sigma, middle] = [size / 8, Math.floor(size / 2)];
    const radius = Math.floor(4 * sigma + 0.5);
    return Float64Array.from({ length: size }, (_, i) =>
      Math.abs(i - middle) > radius ? 0 : Math.exp((-0.5 * (i - middle) ** 2) / sigma ** 2),
    );
  };
  const [rows, columns] = [line(height), line(width)];
  const weights = Float32Array.from({ length: height * width }, (_, i) => 10 * rows[Math.floor(i / width)] * columns[i % width]);
  const smallest = weights.reduce((low, value) => (value > 0 && value < low ? value : low), 10);
  return weights.map((value) => value || smallest);
}

/** Labels (Z, Y, X) of the image from logits in the network's geometry. */
export function labelsOf(logits, [, depth, height, width], outputs, model, geometry) {
  const { spacing, target, crop, cropped, before } = geometry;
  const size = [cropped[2], cropped[3]];
  const volume = depth * height * width;
  const axis = separateAxis(target, spacing, model.resample_logits.force_separate_z);
  const same = size[0] === height && size[1] === width;
  const inside = new Uint16Array(depth * size[0] * size[1]);
  const best = new Float32Array(inside.length).fill(-Infinity);
  for (let k = 0; k < outputs; k++) {
    const channel = logits.subarray(k * volume, (k + 1) * volume);
    const range = axis === null && !same ? rangeOf(channel) : null;
    for (let z = 0; z < depth; z++) {
      const slice = channel.subarray(z * height * width, (z + 1) * height * width);
      const values = same ? slice : resampleSlice(slice, [height, width], size, model.resample_logits, axis, range);
      const offset = z * size[0] * size[1];
      for (let i = 0; i < values.length; i++) {
        if (model.regions_class_order) {
          if (values[i] > 0) inside[offset + i] = model.regions_class_order[k];
        } else if (values[i] > best[offset + i]) {
          best[offset + i] = values[i];
          inside[offset + i] = k;
        }
      }
    }
  }
  const labels = new Uint16Array(before[1] * before[2] * before[3]);
  let from = 0;
  for (let z = crop[0][0]; z < crop[0][1]; z++)
    for (let y = crop[1][0]; y < crop[1][1]; y++)
      for (let x = crop[2][0]; x < crop[2][1]; x++) labels[(z * before[2] + y) * before[3] + x] = inside[from++];
  return transpose(labels, [1, before[1], before[2], before[3]], model.transpose_backward).data;
}
