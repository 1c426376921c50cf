// Resize and centre crop as PIL does them: antialiased, in fixed point, to the bit (Pillow, src/libImaging/Resample.c).

/** Fraction bits of a coefficient: Pillow's PRECISION_BITS for 8-bit channels. */
const BITS = 32 - 8 - 2;
const ONE = 2 ** BITS;
const FILTERS = {
  bilinear: {support: 1, at: x => Math.max(0, 1 - Math.abs(x))},
  bicubic: {support: 2, at: cubic},
};

/** Keys' cubic with a = −0.5. */
function cubic(position) {
  const x = Math.abs(position), a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** Python's round: half to even. */
function halfToEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

/**
 * The centre crop × crop of the image resized to `resize` on its shorter side.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image RGBA
 * @param {{resize: number, crop: number, interpolation: 'bilinear' | 'bicubic'}} how
 * @returns {Uint8ClampedArray} RGB, crop · crop · 3
 */
export function resizeAndCrop(image, {resize, crop, interpolation}) {
  const {width, height} = image;
  const longer = Math.trunc((resize * Math.max(width, height)) / Math.min(width, height));
  const [outWidth, outHeight] = width <= height ? [resize, longer] : [longer, resize];
  const columns = coefficients(width, outWidth, halfToEven((outWidth - crop) / 2), crop, FILTERS[interpolation]);
  const rows = coefficients(height, outHeight, halfToEven((outHeight - crop) / 2), crop, FILTERS[interpolation]);
  return vertical(horizontal(image, columns, rows, crop), rows, crop);
}

/** For output pixels first … first + count: where each begins to read, and its weights as integers. */
function coefficients(inSize, outSize, first, count, filter) {
  const scale = inSize / outSize, stretch = Math.max(scale, 1), support = filter.support * stretch;
  return Array.from({length: count}, (_, index) => {
    const centre = (first + index + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(inSize, Math.trunc(centre + support + 0.5));
    const weights = Array.from({length: end - start}, (_, x) => filter.at((x + start - centre + 0.5) / stretch));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return {start, weights: Int32Array.from(weights, weight => Math.trunc((weight / sum) * ONE + (weight < 0 ? -0.5 : 0.5)))};
  });
}

/** RGBA to RGB, `crop` wide, only the lines that the vertical pass reads. */
function horizontal({data, width}, columns, rows, crop) {
  const top = rows[0].start, bottom = rows.at(-1).start + rows.at(-1).weights.length;
  const lines = new Uint8ClampedArray((bottom - top) * crop * 3);
  for (let y = top, out = 0; y < bottom; y++) {
    for (const {start, weights} of columns) {
      let red = ONE / 2, green = ONE / 2, blue = ONE / 2;
      for (let k = 0, at = (y * width + start) * 4; k < weights.length; k++, at += 4) {
        red += data[at] * weights[k];
        green += data[at + 1] * weights[k];
        blue += data[at + 2] * weights[k];
      }
      lines[out++] = red >> BITS;
      lines[out++] = green >> BITS;
      lines[out++] = blue >> BITS;
    }
  }
  return {lines, top};
}

function vertical({lines, top}, rows, crop) {
  const stride = crop * 3, result = new Uint8ClampedArray(crop * stride);
  rows.forEach(({start, weights}, y) => {
    for (let x = 0; x < stride; x++) {
      let sum = ONE / 2;
      for (let k = 0, at = (start - top) * stride + x; k < weights.length; k++, at += stride) sum += lines[at] * weights[k];
      result[y * stride + x] = sum >> BITS;
    }
  });
  return result;
}
