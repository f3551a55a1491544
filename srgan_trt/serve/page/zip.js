// A ZIP of files as they are: pictures are compressed already.

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function record(length, fields) {
  const view = new DataView(new ArrayBuffer(length));
  for (const [at, size, value] of fields) {
    if (size === 4) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
  }
  return view.buffer;
}

// files: [{name, blob}], names all different, less than 4 GB together.
export async function zip(files) {
  const parts = [];
  const index = [];
  let at = 0;
  for (const { name, blob } of files) {
    const label = new TextEncoder().encode(name);
    const check = crc32(new Uint8Array(await blob.arrayBuffer()));
    const facts = [[0, 2, 20], [2, 2, 0x0800], [8, 2, 0x21], [10, 4, check], [14, 4, blob.size], [18, 4, blob.size], [22, 2, label.length]];
    const moved = (by) => facts.map(([where, size, value]) => [where + by, size, value]);
    parts.push(record(30, [[0, 4, 0x04034b50], ...moved(4)]), label, blob);
    index.push(record(46, [[0, 4, 0x02014b50], [4, 2, 20], ...moved(6), [42, 4, at]]), label);
    at += 30 + label.length + blob.size;
  }
  const size = index.reduce((sum, part) => sum + part.byteLength, 0);
  const end = record(22, [[0, 4, 0x06054b50], [8, 2, files.length], [10, 2, files.length], [12, 4, size], [16, 4, at]]);
  return new Blob([...parts, ...index, end], { type: "application/zip" });
}
