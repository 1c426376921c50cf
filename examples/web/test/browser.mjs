// Opens dist/ in headless Chromium and compares its answers with those of `edge-effnet predict`.
// Usage: node test/browser.mjs EXPECTED.json [FOLDER]
//   EXPECTED.json: {model file name: the list that `predict --format json` printed for it}; the models must lie in dist/models.
//   FOLDER: where screenshots go (default: none are taken).
// Environment: CHROMIUM (default /usr/bin/chromium).

import assert from 'node:assert/strict';
import {createReadStream} from 'node:fs';
import {mkdir, readFile, stat} from 'node:fs/promises';
import {createServer} from 'node:http';
import {basename, extname, join, normalize} from 'node:path';
import {fileURLToPath} from 'node:url';
import {chromium} from 'playwright-core';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.mjs': 'text/javascript', '.svg': 'image/svg+xml', '.wasm': 'application/wasm', '.json': 'application/json'};
const PHONE = {viewport: {width: 390, height: 844}, deviceScaleFactor: 2, isMobile: true, hasTouch: true};
const [expectedPath, folder] = process.argv.slice(2);
if (!expectedPath) throw new Error('usage: node test/browser.mjs EXPECTED.json [FOLDER]');
const expected = JSON.parse(await readFile(expectedPath, 'utf8'));

const server = createServer(serve).listen(0, '127.0.0.1');
await new Promise(resolve => server.once('listening', resolve));
const address = `http://127.0.0.1:${server.address().port}/`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
});
try {
  const page = await openPage('light');
  for (const [model, photos] of Object.entries(expected)) await compare(page, model, photos);
  await refusesOtherFiles(page);
  await runsTheCamera(page);
  await takesScreenshots();
} finally {
  await browser.close();
  server.close();
}

async function serve(request, response) {
  const path = join(DIST, normalize(new URL(request.url, address).pathname).replace(/\/$/, '/index.html'));
  const found = await stat(path).catch(() => null);
  if (!path.startsWith(DIST) || !found?.isFile()) return response.writeHead(404).end();
  response.writeHead(200, {'content-type': TYPES[extname(path)] ?? 'application/octet-stream', 'content-length': found.size});
  createReadStream(path).pipe(response);
}

async function openPage(colorScheme, device = PHONE) {
  const context = await browser.newContext({...device, colorScheme, permissions: ['camera']});
  const page = await context.newPage();
  page.on('request', request => assert(/^(blob|data):/.test(request.url()) || request.url().startsWith(address), `request to another host: ${request.url()}`));
  page.on('pageerror', error => assert.fail(error));
  await page.goto(address);
  await page.waitForSelector('#photo:enabled', {timeout: 60_000});
  return page;
}

async function choose(page, model) {
  await page.selectOption('#model', model);
  await page.waitForFunction(name => document.body.dataset.model === name, model, {timeout: 60_000});
}

async function classify(page, photo) {
  const before = Number((await page.getAttribute('body', 'data-frames')) ?? 0);
  await page.setInputFiles('#photo-file', photo);
  await page.waitForFunction(frames => Number(document.body.dataset.frames ?? 0) > frames, before, {timeout: 60_000});
  return page.evaluate(() => ({
    indices: [...document.querySelectorAll('#results li')].map(row => Number(row.dataset.index)),
    scores: [...document.querySelectorAll('#results li')].map(row => Number(row.dataset.score)),
    milliseconds: [...document.querySelectorAll('#times dd')].map(entry => parseFloat(entry.textContent)),
  }));
}

async function compare(page, model, photos) {
  await choose(page, model);
  let largest = 0;
  const times = [];
  for (const {source, predictions} of photos) {
    await classify(page, source);
    const found = await classify(page, source); // the second time is warm
    assert.equal(found.indices[0], predictions[0].index, `${model}, ${basename(source)}: other best class`);
    largest = Math.max(largest, Math.abs(found.scores[0] - predictions[0].score));
    times.push(found.milliseconds);
  }
  const median = column => times.map(row => row[column]).sort((a, b) => a - b)[Math.floor(times.length / 2)];
  console.log(
    `${model}: ${photos.length} of ${photos.length} best classes agree, largest difference of their scores ${largest.toFixed(4)}; ` +
      `median reading ${median(0)}, resize ${median(1)}, inference ${median(2)}, whole frame ${median(3)} ms`,
  );
}

async function refusesOtherFiles(page) {
  const before = await page.getAttribute('body', 'data-model');
  for (const [name, content, message] of [
    ['notes.onnx', 'not a model', 'The file is damaged'],
    ['other.tflite', '\x1c\0\0\0TFL3 without a document', 'doesn’t say how to prepare photos'],
  ]) {
    await page.setInputFiles('#model-file', {name, mimeType: 'application/octet-stream', buffer: Buffer.from(content)});
    await page.waitForFunction(text => document.querySelector('.status.error')?.textContent.includes(text), message);
  }
  assert.equal(await page.getAttribute('body', 'data-model'), before);
  console.log('files without a document are refused with a reason');
}

async function runsTheCamera(page) {
  const before = Number(await page.getAttribute('body', 'data-frames'));
  await page.click('#camera');
  await page.waitForFunction(frames => Number(document.body.dataset.frames) > frames + 5, before, {timeout: 60_000});
  await page.click('#camera');
  assert.equal(await page.textContent('#camera'), 'Camera');
  console.log('the camera runs and stops');
}

async function takesScreenshots() {
  if (!folder) return;
  await mkdir(folder, {recursive: true});
  const [[model, photos]] = Object.entries(expected);
  for (const scheme of ['light', 'dark']) {
    const page = await openPage(scheme);
    await page.screenshot({path: join(folder, `${scheme}-empty.png`)});
    await choose(page, model);
    await classify(page, photos[0].source);
    await page.click('summary');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, 'the page is wider than the phone');
    await page.screenshot({path: join(folder, `${scheme}-phone.png`), fullPage: true});
  }
  const wide = await openPage('light', {viewport: {width: 1200, height: 900}});
  await choose(wide, model);
  await classify(wide, photos[1].source);
  await wide.screenshot({path: join(folder, 'light-desktop.png')});
}
