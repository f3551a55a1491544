// node run.mjs MODEL: for each line {"dims": [...], "type": "uint8" | "float32", "file": F} of standard input, writes what
// MODEL gives for the values in F to F.out, and its dims to standard output.
import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(process.argv[2]), { executionProviders: ["wasm"] });
for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  const { dims, type, file } = JSON.parse(line);
  const bytes = new Uint8Array(readFileSync(file));
  const values = type === "uint8" ? bytes : new Float32Array(bytes.buffer);
  const { result } = await session.run({ image: new ort.Tensor(type, values, dims) });
  writeFileSync(`${file}.out`, new Uint8Array(result.data.buffer, result.data.byteOffset, result.data.byteLength));
  console.log(JSON.stringify(result.dims));
}
