// nnU-Net's resampling within a slice: splines of order 0, 1 and 3 as SciPy's zoom computes them on the pixel grid.

const ANISOTROPY_THRESHOLD = 3;
const PAD = 12; // as SciPy extends an image by its edge before it computes the spline's coefficients
const POLE = Math.sqrt(3) - 2;

export function separateAxis(spacing, target, force) {
  if (force === false) return null;
  for (const candidate of [spacing, target]) {
    const largest = Math.max(...candidate);
    if (force || largest / Math.min(...candidate) > ANISOTROPY_THRESHOLD) {
      const coarse = [0, 1, 2].filter((axis) => largest / candidate[axis] === 1);
      return coarse.length === 1 ? coarse[0] : null;
    }
  }
  return null;
}

/**
 * Resample a slice (Y, X); `separate` is the axis of the volume that is resampled on its own, by order_z, and `range`
 * the smallest and largest value to clip to, or null for those of the slice.
 */
export function resampleSlice(slice, [height, width], [newHeight, newWidth], how, separate, range) {
  const order = (axis) => (axis === separate ? how.order_z : how.order);
  let values = Float64Array.from(slice);
  const [low, high] = range ?? slice.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [Infinity, -Infinity]);
  values = along(values, height, newHeight, width, order(1), { line: 1, step: width }, { line: 1, step: width });
  values = along(values, width, newWidth, newHeight, order(2), { line: width, step: 1 }, { line: newWidth, step: 1 });
  return values.map((value) => Math.min(Math.max(value, low), high));
}

/** Resample lines of `size` values, that lie `line` apart and have their values `step` apart, `from` and `to` arrays. */
function along(values, size, newSize, lines, order, from, to) {
  if (size === newSize) return values;
  const result = new Float64Array(lines * newSize);
  const buffer = new Float64Array(size);
  for (let l = 0; l < lines; l++) {
    for (let i = 0; i < size; i++) buffer[i] = values[l * from.line + i * from.step];
    const sample = sampler(buffer, order);
    for (let i = 0; i < newSize; i++) result[l * to.line + i * to.step] = sample((i + 0.5) * (size / newSize) - 0.5);
  }
  return result;
}

function sampler(values, order) {
  const last = values.length - 1;
  const at = (i) => values[Math.min(Math.max(i, 0), last)];
  if (order === 0) return (position) => at(Math.floor(position + 0.5));
  if (order === 1) {
    return (position) => {
      const clamped = Math.min(Math.max(position, 0), last);
      const below = Math.floor(clamped);
      return at(below) + (clamped - below) * (at(below + 1) - at(below));
    };
  }
  const spline = coefficients(values);
  return (position) => {
    const clamped = Math.min(Math.max(position, -PAD + 2), last + PAD - 2);
    const below = Math.floor(clamped);
    const t = clamped - below;
    const c = below + PAD;
    return (
      (((1 - t) ** 3) * spline[c - 1] +
        (3 * t ** 3 - 6 * t ** 2 + 4) * spline[c] +
        (-3 * t ** 3 + 3 * t ** 2 + 3 * t + 1) * spline[c + 1] +
        t ** 3 * spline[c + 2]) /
      6
    );
  };
}

/** Coefficients of the cubic B-spline through the values, extended by `PAD` at both ends. */
function coefficients(values) {
  const last = values.length - 1;
  const c = Float64Array.from({ length: values.length + 2 * PAD }, (_, i) => 6 * values[Math.min(Math.max(i - PAD, 0), last)]);
  const n = c.length;
  let sum = c[0];
  for (let i = 1, power = POLE; i < Math.min(n, 40); i++, power *= POLE) sum += power * c[i];
  c[0] = sum;
  for (let i = 1; i < n; i++) c[i] += POLE * c[i - 1];
  c[n - 1] = (POLE / (POLE * POLE - 1)) * (c[n - 1] + POLE * c[n - 2]);
  for (let i = n - 2; i >= 0; i--) c[i] = POLE * (c[i + 1] - c[i]);
  return c;
}
