// A model file, opened with LiteRT.js (.tflite) or onnxruntime-web (.onnx): RGB pixels in, scores out.

import {readDocument} from './document.js';

/**
 * @param {Uint8Array} file
 * @returns {Promise<Model>}
 */
export async function openModel(file) {
  const {format, document} = await readDocument(file);
  const session = format === 'tflite' ? await openTflite(file) : await openOnnx(file);
  return new Model(document, session, file.length);
}

class Model {
  constructor(document, session, bytes) {
    this.document = document;
    this.engine = session.engine;
    this.bytes = bytes;
    this.session = session;
  }

  get preprocessing() {
    return this.document.preprocessing;
  }

  /** The best classes, best first. pixels: RGB, crop · crop · 3. */
  async predict(pixels, count = 5) {
    const logits = await this.session.run(inputTensor(pixels, this.preprocessing, this.session));
    const scores = softmax(logits);
    const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]);
    return order.slice(0, count).map(index => ({index, label: this.document.labels?.[index] ?? `class ${index}`, score: scores[index]}));
  }

  close() {
    this.session.close();
  }
}

/** int8 files take the pixels as they are, float files (pixel / 255 − mean) / std; ONNX wants the channels first. */
function inputTensor(pixels, {mean, std, channels = 'rgb'}, {dtype, planar}) {
  const area = pixels.length / 3;
  const values = dtype === 'uint8' ? new Uint8Array(pixels.length) : new Float32Array(pixels.length);
  for (let channel = 0; channel < 3; channel++) {
    const source = channels === 'bgr' ? 2 - channel : channel;
    const table = Float64Array.from({length: 256}, (_, value) => (dtype === 'uint8' ? value : (value / 255 - mean[source]) / std[source]));
    for (let pixel = 0; pixel < area; pixel++) {
      values[planar ? channel * area + pixel : 3 * pixel + channel] = table[pixels[3 * pixel + source]];
    }
  }
  return values;
}

function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, logit => Math.exp(logit - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map(power => power / sum);
}

let litert;

async function openTflite(file) {
  const runtime = await import('./vendor/litert/index.js');
  litert ??= runtime.loadLiteRt(new URL('./vendor/litert/', import.meta.url).href);
  await litert;
  const model = await runtime.loadAndCompile(file, {accelerator: 'wasm'});
  const {dtype, shape} = model.getInputDetails()[0];
  return {
    engine: 'LiteRT.js',
    dtype,
    planar: false,
    async run(values) {
      const input = new runtime.Tensor(values, Array.from(shape));
      const outputs = await model.run(input);
      const result = outputs[0].toTypedArray().slice();
      for (const tensor of [input, ...outputs]) tensor.delete();
      return result;
    },
    close: () => model.delete(),
  };
}

async function openOnnx(file) {
  const runtime = await import('./vendor/onnxruntime/ort.wasm.min.mjs');
  runtime.env.wasm.wasmPaths = new URL('./vendor/onnxruntime/', import.meta.url).href;
  runtime.env.wasm.numThreads = 1;
  const session = await runtime.InferenceSession.create(file, {executionProviders: ['wasm']});
  const {type, shape} = session.inputMetadata[0];
  const dims = shape.map(side => (typeof side === 'number' && side > 0 ? side : 1));
  return {
    engine: 'ONNX Runtime',
    dtype: type,
    planar: dims[1] === 3,
    async run(values) {
      const found = await session.run({[session.inputNames[0]]: new runtime.Tensor(type, values, dims)});
      return found[session.outputNames[0]].data.slice();
    },
    close: () => session.release(),
  };
}
