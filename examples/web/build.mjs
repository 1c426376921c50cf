// Puts everything the page needs into dist/: the page, both engines from node_modules, and model files.
// Usage: node build.mjs [MODEL.tflite|MODEL.onnx …]     without models: the one that comes with the Python package.

import {copyFile, cp, mkdir, readFile, rm, writeFile} from 'node:fs/promises';
import {basename, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const DIST = join(HERE, 'dist');
const BUNDLED = join(HERE, '../../edge_effnet/models/lite0-int8.tflite');
/** Folder in dist/vendor → package → files to copy. Threads need response headers that a static host may not send. */
const VENDORED = {
  litert: {
    '@litertjs/core': [
      'dist/index.js',
      'wasm/litert_wasm_internal.js',
      'wasm/litert_wasm_internal.wasm',
      'wasm/litert_wasm_compat_internal.js',
      'wasm/litert_wasm_compat_internal.wasm',
    ],
  },
  'wasm-utils': {'@litertjs/wasm-utils': ['dist/index.js']},
  onnxruntime: {
    'onnxruntime-web': ['dist/ort.wasm.min.mjs', 'dist/ort-wasm-simd-threaded.mjs', 'dist/ort-wasm-simd-threaded.wasm'],
  },
};

await rm(DIST, {recursive: true, force: true});
await cp(join(HERE, 'src'), DIST, {recursive: true});
for (const [folder, packages] of Object.entries(VENDORED)) await vendor(folder, packages);
await resolveBareImport();
await models(process.argv.slice(2));

async function vendor(folder, packages) {
  const target = join(DIST, 'vendor', folder);
  await mkdir(target, {recursive: true});
  for (const [name, files] of Object.entries(packages)) {
    for (const file of files) await copyFile(join(HERE, 'node_modules', name, file), join(target, basename(file)));
  }
}

/** LiteRT.js imports its helper by package name, which a browser can't resolve without a bundler or inline script. */
async function resolveBareImport() {
  const path = join(DIST, 'vendor/litert/index.js');
  const text = await readFile(path, 'utf8');
  const bare = 'from "@litertjs/wasm-utils"';
  if (text.split(bare).length !== 2) throw new Error(`${path}: expected one import ${bare}; the package has changed`);
  await writeFile(path, text.replace(bare, 'from "../wasm-utils/index.js"'));
}

async function models(given) {
  await mkdir(join(DIST, 'models'));
  const names = [];
  for (const path of given.length ? given : [BUNDLED]) {
    await copyFile(path, join(DIST, 'models', basename(path)));
    names.push(basename(path));
  }
  await writeFile(join(DIST, 'models/index.json'), JSON.stringify(names));
  console.log(`dist: ${names.join(', ')}`);
}
