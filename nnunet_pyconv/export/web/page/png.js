// PNG: 8 and 16 bit, grey, colour and palette, not interlaced. A canvas would change the values of some images.

import { InputError, checkSize, inflate } from "./image.js";

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

export async function decodePng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  let header = null;
  let palette = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (content.length !== length) throw new InputError("the PNG is truncated");
    if (kind === "IHDR") {
      const [depth, colour, , , interlaced] = content.subarray(8);
      header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), depth, colour, interlaced };
    }
    if (kind === "PLTE") palette = content;
    if (kind === "IDAT") parts.push(content);
    if (kind === "IEND") break;
    at += 12 + length;
  }
  if (!header) throw new InputError("the PNG has no header");
  const { width, height, depth, colour, interlaced } = header;
  const samples = CHANNELS[colour];
  if (samples === undefined || colour === 4 || interlaced || (depth !== 8 && !(depth === 16 && colour === 0))) {
    throw new InputError("this kind of PNG is not supported; expected 8-bit grey or colour, or 16-bit grey, not interlaced");
  }
  checkSize([samples, height, width]);
  const step = (samples * depth) / 8;
  const stride = width * step;
  const raw = await inflate(await new Blob(parts).arrayBuffer(), "deflate", (stride + 1) * height);
  if (raw.length < (stride + 1) * height) throw new InputError("the PNG is truncated");
  const pixels = unfilter(raw, height, stride, step);
  const outputs = colour === 3 ? 3 : samples;
  const data = new Float32Array(outputs * height * width);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < outputs; c++) {
      let value = depth === 16 ? pixels[2 * i] * 256 + pixels[2 * i + 1] : pixels[i * samples + c];
      if (colour === 3) value = palette[3 * pixels[i] + c];
      data[c * height * width + i] = value;
    }
  }
  return { data, shape: [outputs, 1, height, width] };
}

function unfilter(raw, height, stride, step) {
  const pixels = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const at = y * stride + x;
      const left = x >= step ? pixels[at - step] : 0;
      const up = y > 0 ? pixels[at - stride] : 0;
      const corner = x >= step && y > 0 ? pixels[at - stride - step] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
      pixels[at] = raw[y * (stride + 1) + 1 + x] + guess;
    }
  }
  return pixels;
}

function paeth(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/** Write labels as a grey PNG, of 16 bit where 8 are not enough. */
export async function encodePng(labels, width, height) {
  const wide = labels.some((value) => value > 255);
  const size = wide ? 2 : 1;
  const raw = new Uint8Array((width * size + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * (width * size + 1) + 1 + x * size;
      const value = labels[y * width + x];
      if (wide) raw[at] = value >> 8;
      raw[at + size - 1] = value & 255;
    }
  }
  const stream = new Blob([raw]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([8 * size, 0, 0, 0, 0], 8);
  const signature = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  const blob = new Blob([signature, chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))]);
  return new Uint8Array(await blob.arrayBuffer());
}

function chunk(kind, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(content, 8);
  let crc = 0xffffffff;
  for (const byte of bytes.subarray(4, 8 + content.length)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  view.setUint32(8 + content.length, ~crc >>> 0);
  return bytes;
}
