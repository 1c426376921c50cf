// Reads the JSON document that every model file of edge-effnet carries: labels, preprocessing, provenance.

const TFLITE = 'TFL3';
const DOCUMENT = 'edge_effnet.json';
const PROPERTY = 'edge_effnet';
const NEWEST_SCHEMA = 1;
const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const DEFLATED = 8;
const LARGEST_DOCUMENT = 8 << 20;
/** Field numbers of onnx.proto: ModelProto.metadata_props, StringStringEntryProto.key and value. */
const METADATA_PROPS = 14, KEY = 1, VALUE = 2;

/**
 * @param {Uint8Array} file
 * @returns {Promise<{format: 'tflite' | 'onnx', document: object}>}
 */
export async function readDocument(file) {
  const format = text(file.subarray(4, 8)) === TFLITE ? 'tflite' : 'onnx';
  let found;
  try {
    found = format === 'tflite' ? await fromZip(file) : fromOnnx(file);
  } catch {
    throw new Error('The file is damaged, or neither .tflite nor .onnx.');
  }
  if (!found) throw new Error('The file doesn’t say how to prepare photos; this page opens files made by edge-effnet export.');
  const document = JSON.parse(found);
  if (document.schema_version > NEWEST_SCHEMA) throw new Error('The file was made by a newer edge-effnet than this page.');
  return {format, document};
}

const text = bytes => new TextDecoder().decode(bytes);

/** The packed files are a zip behind the flatbuffer; its directory is found from the end. */
async function fromZip(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let end = file.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  if (end < 0) return null;
  const count = view.getUint16(end + 10, true), size = view.getUint32(end + 12, true);
  // Offsets count from the archive's own beginning, or from the file's, by how the writer saw it.
  const shift = end - size - view.getUint32(end + 16, true);
  let at = end - size;
  for (let entry = 0; entry < count && view.getUint32(at, true) === DIRECTORY_ENTRY; entry++) {
    const nameLength = view.getUint16(at + 28, true);
    if (text(file.subarray(at + 46, at + 46 + nameLength)) === DOCUMENT) return unpack(file, view, at, shift);
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return null;
}

async function unpack(file, view, entry, shift) {
  const packed = view.getUint32(entry + 20, true), unpacked = view.getUint32(entry + 24, true);
  if (unpacked > LARGEST_DOCUMENT) throw new RangeError('document too large');
  const local = view.getUint32(entry + 42, true) + shift;
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const bytes = file.slice(start, start + packed);
  if (view.getUint16(entry + 10, true) !== DEFLATED) return text(bytes);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))).text();
}

function fromOnnx(file) {
  for (const [field, value] of fields(file)) {
    if (field !== METADATA_PROPS) continue;
    const entry = new Map(fields(value));
    if (entry.has(KEY) && text(entry.get(KEY)) === PROPERTY) return text(entry.get(VALUE));
  }
  return null;
}

/** The length-delimited fields of a protobuf message, others skipped. */
function* fields(message) {
  let at = 0;
  const varint = () => {
    let value = 0, factor = 1;
    for (;;) {
      if (at >= message.length) throw new RangeError('cut off');
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  };
  while (at < message.length) {
    const tag = varint(), kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const size = varint();
      if (at + size > message.length) throw new RangeError('cut off');
      yield [Math.floor(tag / 8), message.subarray(at, at + size)];
      at += size;
    } else throw new RangeError('unknown wire type');
  }
}
