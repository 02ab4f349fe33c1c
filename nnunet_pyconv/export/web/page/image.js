// Reading images as nnU-Net reads them: {data: Float32Array (C, Z, Y, X), shape, spacing (z, y, x), hasSpacing}.

import { decodeNifti } from "./nifti.js";
import { decodePng } from "./png.js";
import { decodeTiff } from "./tiff.js";

export const LARGEST_VOXELS = 2 ** 27;
const FLAT = 999; // nnU-Net's distance between the slices of an image that has one only

export class InputError extends Error {}

export async function readImage(files) {
  const images = [];
  for (const file of [...files].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    try {
      images.push(await readFile(file));
    } catch (error) {
      throw error instanceof InputError ? error : new InputError(`${file.name} can't be read: it is damaged or truncated`);
    }
  }
  const [first] = images;
  for (const image of images) {
    if (String(image.shape.slice(1)) !== String(first.shape.slice(1))) {
      throw new InputError(`the files have the sizes ${first.shape.slice(1)} and ${image.shape.slice(1)}; expected one`);
    }
  }
  const shape = [images.reduce((sum, image) => sum + image.shape[0], 0), ...first.shape.slice(1)];
  checkSize(shape);
  const data = new Float32Array(shape.reduce((a, b) => a * b));
  let offset = 0;
  for (const image of images) {
    data.set(image.data, offset);
    offset += image.data.length;
  }
  let low = Infinity;
  let high = -Infinity;
  for (const value of data) {
    if (!Number.isFinite(value)) throw new InputError("the image has voxels that are infinite or not a number");
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { ...first, data, shape, low, high };
}

export function checkSize(shape) {
  if (!shape.every((size) => Number.isInteger(size) && size > 0)) throw new InputError(`the image has the size ${shape}`);
  if (shape.reduce((a, b) => a * b) > LARGEST_VOXELS) {
    throw new InputError(`the image has the size ${shape.join(" × ")}; this page takes at most ${LARGEST_VOXELS} voxels`);
  }
}

async function readFile(file) {
  if (file.size > 2 ** 30) throw new InputError(`${file.name} has ${file.size} bytes; this page takes at most 2^30`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const starts = (...values) => values.every((value, index) => bytes[index] === value);
  if (starts(0x89, 0x50, 0x4e, 0x47)) return { spacing: [FLAT, 1, 1], hasSpacing: false, ...(await decodePng(bytes)) };
  if (starts(0x49, 0x49, 42, 0) || starts(0x4d, 0x4d, 0, 42)) {
    return { spacing: [FLAT, 1, 1], hasSpacing: false, ...(await decodeTiff(bytes)) };
  }
  if (starts(0x1f, 0x8b)) return decodeNifti(await inflate(bytes, "gzip", 8 * LARGEST_VOXELS));
  if (bytes.length > 348) return decodeNifti(bytes);
  throw new InputError(`${file.name} is neither PNG, nor TIFF, nor NIfTI`);
}

/** Decompress, and stop where the result would be larger than `largest` bytes. */
export async function inflate(bytes, format, largest) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > largest) {
      await reader.cancel();
      throw new InputError("the image unpacks to more than its size says, or than this page takes");
    }
    parts.push(value);
  }
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
