// TIFF: grey or colour, 8 to 32 bit, strips or tiles, uncompressed, LZW, deflate or PackBits. Pages are slices.

import { InputError, checkSize, inflate } from "./image.js";

const WIDTH = 256, HEIGHT = 257, BITS = 258, COMPRESSION = 259, PHOTOMETRIC = 262, STRIPS = 273, SAMPLES = 277;
const ROWS = 278, STRIP_BYTES = 279, PLANAR = 284, PREDICTOR = 317, TILE_WIDTH = 322, TILE_HEIGHT = 323;
const TILES = 324, TILE_BYTES = 325, FORMAT = 339;
const SIZES = { 1: 1, 3: 2, 4: 4 }; // of the types BYTE, SHORT and LONG
const MOST_PAGES = 4096;

export async function decodeTiff(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49;
  const pages = [];
  const seen = new Set();
  for (let at = view.getUint32(4, little); at !== 0; ) {
    if (seen.has(at) || seen.size >= MOST_PAGES) throw new InputError("the TIFF has too many pages, or they form a circle");
    seen.add(at);
    const count = view.getUint16(at, little);
    const tags = new Map();
    for (let i = 0; i < count; i++) {
      const entry = at + 2 + 12 * i;
      tags.set(view.getUint16(entry, little), values(view, entry, little));
    }
    pages.push(await decodePage(bytes, tags, little));
    at = view.getUint32(at + 2 + 12 * count, little);
  }
  const [first] = pages;
  if (!first || pages.some((page) => String(page.shape) !== String(first.shape))) {
    throw new InputError("the TIFF has no pages, or pages of several sizes");
  }
  if (pages.length === 1) return first;
  if (first.shape[0] !== 1) throw new InputError("the TIFF has several pages in colour; expected grey ones");
  const [, , height, width] = first.shape;
  const shape = [1, pages.length, height, width];
  checkSize(shape);
  const data = new Float32Array(pages.length * height * width);
  pages.forEach((page, number) => data.set(page.data, number * height * width));
  return { data, shape, spacing: [1, 1, 1] };
}

function values(view, entry, little) {
  const size = SIZES[view.getUint16(entry + 2, little)];
  const count = view.getUint32(entry + 4, little);
  if (!size || count > 2 ** 22) return [];
  const start = size * count <= 4 ? entry + 8 : view.getUint32(entry + 8, little);
  const read = { 1: (at) => view.getUint8(at), 2: (at) => view.getUint16(at, little), 4: (at) => view.getUint32(at, little) };
  return Array.from({ length: count }, (_, i) => read[size](start + size * i));
}

async function decodePage(bytes, tags, little) {
  const tag = (name, otherwise) => tags.get(name)?.[0] ?? otherwise;
  const [width, height, samples] = [tag(WIDTH), tag(HEIGHT), tag(SAMPLES, 1)];
  const [bits, format, predictor] = [tag(BITS, 1), tag(FORMAT, 1), tag(PREDICTOR, 1)];
  if (![8, 16, 32].includes(bits) || ![1, 3, 4].includes(samples) || (samples > 1 && tag(PLANAR, 1) !== 1)) {
    throw new InputError("this kind of TIFF is not supported; expected 8, 16 or 32 bit, grey or colour in one plane");
  }
  if (predictor !== 1 && !(predictor === 2 && format !== 3)) throw new InputError("this TIFF's predictor is not supported");
  if (tag(PHOTOMETRIC, 1) === 3) throw new InputError("the TIFF has a palette; expected grey or colour");
  checkSize([samples, height, width]);
  const tiled = tags.has(TILES);
  const [tileWidth, tileHeight] = tiled ? [tag(TILE_WIDTH), tag(TILE_HEIGHT)] : [width, Math.min(tag(ROWS, height), height)];
  checkSize([samples, tileHeight, tileWidth]);
  const offsets = tags.get(tiled ? TILES : STRIPS) ?? [];
  const lengths = tags.get(tiled ? TILE_BYTES : STRIP_BYTES) ?? [];
  const across = Math.ceil(width / tileWidth);
  if (offsets.length < across * Math.ceil(height / tileHeight)) throw new InputError("the TIFF is truncated");
  const data = new Float32Array(samples * height * width);
  const size = bits / 8;
  for (let number = 0; number < across * Math.ceil(height / tileHeight); number++) {
    const packed = bytes.subarray(offsets[number], offsets[number] + lengths[number]);
    if (packed.length !== lengths[number]) throw new InputError("the TIFF is truncated");
    const [left, top] = [(number % across) * tileWidth, Math.floor(number / across) * tileHeight];
    const rows = tiled ? tileHeight : Math.min(tileHeight, height - top);
    const expected = rows * tileWidth * samples * size;
    const raw = await unpack(packed, tag(COMPRESSION, 1), expected);
    if (raw.length < expected) throw new InputError("the TIFF is truncated");
    const read = reader(new DataView(raw.buffer, raw.byteOffset, raw.byteLength), bits, format, little);
    const limit = 2 ** bits;
    for (let y = 0; y < Math.min(rows, height - top); y++) {
      const before = new Array(samples).fill(0);
      for (let x = 0; x < tileWidth; x++) {
        for (let c = 0; c < samples; c++) {
          let value = read((y * tileWidth + x) * samples + c);
          if (predictor === 2) {
            value = (((before[c] + value) % limit) + limit) % limit;
            before[c] = value;
            if (format === 2 && value >= limit / 2) value -= limit;
          }
          if (left + x < width) data[(c * height + top + y) * width + left + x] = value;
        }
      }
    }
  }
  return { data, shape: [samples, 1, height, width] };
}

function reader(view, bits, format, little) {
  if (format === 3 && bits === 32) return (i) => view.getFloat32(4 * i, little);
  const signed = format === 2;
  if (format === 3) throw new InputError("the TIFF has 16-bit floating point values, which this page does not read");
  if (bits === 8) return (i) => (signed ? view.getInt8(i) : view.getUint8(i));
  if (bits === 16) return (i) => (signed ? view.getInt16(2 * i, little) : view.getUint16(2 * i, little));
  return (i) => (signed ? view.getInt32(4 * i, little) : view.getUint32(4 * i, little));
}

async function unpack(packed, compression, expected) {
  if (compression === 1) return packed;
  if (compression === 8 || compression === 32946) return inflate(packed, "deflate", expected);
  if (compression === 32773) return packBits(packed, expected);
  if (compression === 5) return lzw(packed, expected);
  throw new InputError(`the TIFF is compressed by method ${compression}, which this page does not read`);
}

function packBits(packed, expected) {
  const out = new Uint8Array(expected);
  let to = 0;
  for (let from = 0; from < packed.length && to < expected; ) {
    const code = packed[from++];
    if (code < 128) {
      for (let i = 0; i <= code && to < expected; i++) out[to++] = packed[from++];
    } else if (code > 128) {
      out.fill(packed[from++], to, (to += 257 - code));
    }
  }
  return out.subarray(0, to);
}

function lzw(packed, expected) {
  const CLEAR = 256, END = 257;
  const out = new Uint8Array(expected);
  let table = [];
  let width = 9;
  let [bit, to, previous] = [0, 0, null];
  const reset = () => {
    table = Array.from({ length: 258 }, (_, i) => Uint8Array.of(i & 255));
    width = 9;
    previous = null;
  };
  reset();
  while (bit + width <= packed.length * 8 && to < expected) {
    let code = 0;
    for (let i = 0; i < width; i++, bit++) code = (code << 1) | ((packed[bit >> 3] >> (7 - (bit & 7))) & 1);
    if (code === END) break;
    if (code === CLEAR) {
      reset();
      continue;
    }
    let entry = table[code];
    if (previous) {
      const first = entry ? entry[0] : previous[0];
      const added = new Uint8Array(previous.length + 1);
      added.set(previous);
      added[previous.length] = first;
      table.push(added);
      entry ??= added;
    }
    if (!entry) throw new InputError("the TIFF's LZW data are damaged");
    for (let i = 0; i < entry.length && to < expected; i++) out[to++] = entry[i];
    previous = entry;
    if (table.length >= (1 << width) - 1 && width < 12) width++;
  }
  return out.subarray(0, to);
}
