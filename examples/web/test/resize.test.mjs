// The page's resize against PIL's, to the bit (resize.golden.json, made by make_resize_golden.py).

import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import {test} from 'node:test';
import {resizeAndCrop} from '../src/resize.js';

const GOLDEN = JSON.parse(await readFile(new URL('resize.golden.json', import.meta.url), 'utf8'));

function synthetic(width, height) {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let index = 0; index < width * height * 3; index++) {
    data[Math.floor(index / 3) * 4 + (index % 3)] = Math.floor(((index * 7919) % 251) / 125) * 127 + ((index * 104729) % 127);
  }
  return {data, width, height};
}

for (const {width, height, pixels, ...how} of GOLDEN) {
  test(`${width}×${height} to ${how.resize}, cropped to ${how.crop}, ${how.interpolation}`, () => {
    assert.deepEqual(Array.from(resizeAndCrop(synthetic(width, height), how)), pixels);
  });
}
