// NIfTI-1: 2D and 3D images.

import { InputError, checkSize } from "./image.js";

const HEADER = 348;
const FLAT = 999;
const READ = {
  2: [1, (view, at) => view.getUint8(at)],
  4: [2, (view, at, little) => view.getInt16(at, little)],
  8: [4, (view, at, little) => view.getInt32(at, little)],
  16: [4, (view, at, little) => view.getFloat32(at, little)],
  64: [8, (view, at, little) => view.getFloat64(at, little)],
  256: [1, (view, at) => view.getInt8(at)],
  512: [2, (view, at, little) => view.getUint16(at, little)],
  768: [4, (view, at, little) => view.getUint32(at, little)],
};

export function decodeNifti(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER) throw new InputError("the NIfTI file is truncated");
  const little = view.getInt32(0, true) === HEADER;
  if (!little && view.getInt32(0, false) !== HEADER) throw new InputError("the file is neither PNG, nor TIFF, nor NIfTI");
  const dimensions = view.getInt16(40, little);
  const sizes = [1, 2, 3, 4, 5, 6, 7].map((axis) => (axis <= dimensions ? view.getInt16(40 + 2 * axis, little) : 1));
  if (dimensions < 2 || sizes.slice(3).some((size) => size !== 1)) {
    throw new InputError(`the NIfTI file has the size ${sizes.slice(0, dimensions)}; expected 2 or 3 axes`);
  }
  const shape = [1, sizes[2], sizes[1], sizes[0]];
  checkSize(shape);
  const kind = READ[view.getInt16(70, little)];
  if (!kind) throw new InputError("the NIfTI file has values of a kind that this page does not read");
  const [size, read] = kind;
  const start = view.getFloat32(108, little);
  const count = shape[1] * shape[2] * shape[3];
  if (!(start >= HEADER) || start + count * size > bytes.length) throw new InputError("the NIfTI file is truncated");
  const slope = view.getFloat32(112, little) || 1;
  const intercept = view.getFloat32(112, little) ? view.getFloat32(116, little) : 0;
  const data = new Float32Array(count);
  for (let i = 0; i < count; i++) data[i] = slope * read(view, start + i * size, little) + intercept;
  const lengths = [1, 2, 3].map((axis) => Math.abs(view.getFloat32(76 + 4 * axis, little)) || 1);
  const flat = dimensions === 2;
  const spacing = [flat ? FLAT * Math.max(lengths[0], lengths[1]) : lengths[2], lengths[1], lengths[0]];
  return { data, shape, spacing, hasSpacing: true, nifti: bytes.slice(0, HEADER), little };
}

/** Write labels (Z, Y, X), with the header of their image where that was a NIfTI file. */
export function encodeNifti(labels, shape, image) {
  const wide = labels.some((value) => value > 255);
  const bytes = new Uint8Array(HEADER + 4 + labels.length * (wide ? 2 : 1));
  const view = new DataView(bytes.buffer);
  const little = image.nifti ? image.little : true;
  if (image.nifti) {
    bytes.set(image.nifti);
  } else {
    view.setInt32(0, HEADER, true);
    [3, shape[2], shape[1], shape[0], 1, 1, 1, 1].forEach((size, axis) => view.setInt16(40 + 2 * axis, size, true));
    [1, image.spacing[2], image.spacing[1], 1].forEach((size, axis) => view.setFloat32(76 + 4 * axis, size, true));
  }
  view.setInt16(70, wide ? 512 : 2, little);
  view.setInt16(72, wide ? 16 : 8, little);
  view.setFloat32(108, HEADER + 4, little);
  view.setFloat32(112, 1, little);
  view.setFloat32(116, 0, little);
  bytes.set([0x6e, 0x2b, 0x31, 0], 344);
  labels.forEach((value, i) => {
    if (wide) view.setUint16(HEADER + 4 + 2 * i, value, little);
    else bytes[HEADER + 4 + i] = value;
  });
  return bytes;
}
