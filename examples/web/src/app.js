// The page: choose a model, take a photo or the camera, show the best five classes and the time they took.

import {openModel} from './model.js';
import {resizeAndCrop} from './resize.js';

const MOST_PIXELS = 50_000_000;
const element = id => document.getElementById(id);
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext('2d', {willReadFrequently: true});

let model = null;
let stream = null;
/** Draws what is on show again, for a model chosen later. */
let showAgain = () => {};

element('open').onclick = () => element('model-file').click();
element('photo').onclick = () => element('photo-file').click();
element('camera').onclick = () => attempt(() => (stream ? stopCamera() : startCamera()));
element('model').onchange = event => attempt(() => useListed(event.target.value));
element('model-file').onchange = event => attempt(() => useFile(taken(event.target)));
element('photo-file').onchange = event => attempt(() => usePhoto(taken(event.target)));
acceptDrops(element('stage'));
attempt(listModels);

async function listModels() {
  const names = await (await fetched('models/index.json')).json();
  element('model').replaceChildren(...names.map(name => new Option(name, name)));
  await useListed(names[0]);
}

async function useListed(name) {
  say(`Loading ${name} …`);
  await use(name, new Uint8Array(await (await fetched(`models/${encodeURIComponent(name)}`)).arrayBuffer()));
}

/** The chosen file; the input is emptied, so that choosing the same file again counts as a change. */
function taken(input) {
  const file = input.files[0];
  input.value = '';
  return file;
}

async function useFile(file) {
  if (!file) return;
  say(`Opening ${file.name} …`);
  await use(file.name, new Uint8Array(await file.arrayBuffer()));
  element('model').add(new Option(file.name, file.name, true, true));
  element('model').selectedOptions[0].disabled = true;
}

async function use(name, bytes) {
  const opened = await openModel(bytes);
  model?.close();
  model = opened;
  element('photo').disabled = element('camera').disabled = false;
  showFacts(name);
  say('');
  document.body.dataset.model = name;
  await showAgain();
}

async function usePhoto(file) {
  if (!file) return;
  stopCamera();
  const bitmap = await createImageBitmap(file, {imageOrientation: 'from-image', colorSpaceConversion: 'none', premultiplyAlpha: 'none'}).catch(() => {
    throw new Error(`${file.name} isn’t an image this browser can read.`);
  });
  showAgain = () => show(bitmap, bitmap.width, bitmap.height);
  await showAgain();
}

async function startCamera() {
  stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'environment'}}).catch(error => {
    throw new Error(error.name === 'NotAllowedError' ? 'The camera isn’t allowed for this page.' : `No camera (${error.message}).`);
  });
  const video = element('video');
  video.srcObject = stream;
  await video.play();
  element('camera').textContent = 'Stop';
  element('camera').setAttribute('aria-pressed', 'true');
  showAgain = () => {};
  attempt(() => watch(stream));
}

async function watch(watched) {
  const video = element('video');
  while (stream === watched) {
    await show(video, video.videoWidth, video.videoHeight);
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  stream?.getTracks().forEach(track => track.stop());
  stream = null;
  element('video').srcObject = null;
  element('camera').textContent = 'Camera';
  element('camera').setAttribute('aria-pressed', 'false');
}

/** Classifies one picture and shows it as the model sees it. */
async function show(picture, width, height) {
  if (!model || !width) return;
  if (width * height > MOST_PIXELS) throw new Error(`The photo has ${width} × ${height} pixels; at most 50 million are read.`);
  const started = performance.now();
  const image = pixelsOf(picture, width, height);
  const read = performance.now();
  const pixels = resizeAndCrop(image, model.preprocessing);
  const prepared = performance.now();
  const found = await model.predict(pixels);
  const done = performance.now();
  say('');
  showCrop(pixels);
  showResults(found);
  showTimes({'Reading pixels': read - started, 'Resize and crop': prepared - read, Inference: done - prepared, 'Whole frame': done - started});
  document.body.dataset.frames = Number(document.body.dataset.frames ?? 0) + 1;
}

/** RGBA on white, at the picture's own size. */
function pixelsOf(picture, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height);
}

function showCrop(pixels) {
  const side = model.preprocessing.crop, image = new ImageData(side, side);
  for (let pixel = 0; pixel < side * side; pixel++) {
    image.data.set(pixels.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
    image.data[4 * pixel + 3] = 255;
  }
  const view = element('view');
  Object.assign(view, {width: side, height: side});
  view.getContext('2d').putImageData(image, 0, 0);
  view.hidden = false;
  element('hint').hidden = true;
}

function showResults(found) {
  element('results').replaceChildren(
    ...found.map(({index, label, score}) => {
      const row = document.createElement('li');
      Object.assign(row.dataset, {index, score});
      const bar = span('bar', '');
      bar.style.width = `${100 * score}%`;
      row.append(bar, span('label', label), span('score', `${(100 * score).toFixed(1)} %`));
      return row;
    }),
  );
}

function showTimes(milliseconds) {
  facts(element('times'), Object.entries(milliseconds).map(([name, value]) => [name, `${value.toFixed(1)} ms`]));
}

function showFacts(name) {
  const {variant, precision, num_classes: classes, accuracy} = model.document;
  const {resize, crop, interpolation} = model.preprocessing;
  facts(element('facts'), [
    ['File', `${name}, ${(model.bytes / 1e6).toFixed(1)} MB`],
    ['Network', `EfficientNet-${variant[0].toUpperCase()}${variant.slice(1)}, ${precision}, ${classes} classes`],
    ['Photos', `${resize} → ${crop} pixels, ${interpolation}`],
    ['Engine', `${model.engine}, WebAssembly, one thread`],
    ...(accuracy?.top1 ? [['Accuracy', `${(100 * accuracy.top1).toFixed(1)} % top-1`]] : []),
  ]);
}

function facts(list, rows) {
  list.replaceChildren(
    ...rows.flatMap(([name, value]) => [
      Object.assign(document.createElement('dt'), {textContent: name}),
      Object.assign(document.createElement('dd'), {textContent: value}),
    ]),
  );
}

function span(className, textContent) {
  return Object.assign(document.createElement('span'), {className, textContent});
}

function acceptDrops(stage) {
  const mark = on => event => {
    event.preventDefault();
    stage.classList.toggle('dragged', on);
  };
  stage.ondragover = mark(true);
  stage.ondragleave = mark(false);
  stage.ondrop = event => {
    mark(false)(event);
    attempt(() => usePhoto(event.dataTransfer.files[0]));
  };
}

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return response;
}

function say(text, kind = '') {
  Object.assign(element('status'), {textContent: text, className: `status ${kind}`});
}

/** Runs an action of the user's; what goes wrong is shown, not lost in the console. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    console.error(error);
    say(error.message, 'error');
  }
}
