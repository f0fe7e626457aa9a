// One case of the proof matrix, in a process of its own:
//   bun|node case.mjs HOST WAY PLACE CASE LIBRARY
// HOST: bun, node (its addon), koffi. WAY: none (no library at all: what the host does by itself), loop (the same, and its loop turns
// afterwards), direct (the host loads and calls the Go library), lane, bound (through libgoroutine, the thread waits), promises (the
// same, as promises). PLACE: main or worker. CASE: suite, or one of the triggers: what hangs a JavaScriptCore whose handlers got
// SA_ONSTACK. Ends with status 0 and `ok`.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { suite, triggers } from "./suite.mjs";

const [host, way, place, name, library] = isMainThread ? process.argv.slice(2) : workerData;

const nothing = {
  none: { call: (name, argument) => argument },
  loop: { call: (name, argument) => new Promise((resolve) => setTimeout(resolve, 1, argument)) },
};
async function open() {
  return nothing[way] ?? (await import(`./${host}.mjs`)).open(way, library);
}

async function run() {
  const go = await open();
  if (name === "suite") return await suite(go);
  await go.call("suite_collect", 1n); // Go runs
  await triggers[name](go);
  if ((await go.call("suite_nil", 3n)) !== 3n) throw new Error("Go does not work any more");
}

async function inWorker() {
  const worker = new Worker(new URL(import.meta.url), { workerData: process.argv.slice(2) });
  const verdict = await new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`the worker ended with ${code}`)));
  });
  if (verdict !== "ok") throw new Error(verdict);
  // The end of a worker that has called Go is a case of its own.
  if (name === "terminate") await worker.terminate();
}

if (isMainThread) {
  try {
    await (place === "worker" ? inWorker() : run());
    console.log("ok");
    process.exit(0);
  } catch (error) {
    console.log(String(error?.stack ?? error));
    process.exit(1);
  }
} else {
  try {
    if (name === "terminate") {
      const go = await open();
      await go.call("suite_collect", 1n);
      parentPort.postMessage("ok");
      for (;;); // until it is terminated
    }
    await run();
    parentPort.postMessage("ok");
  } catch (error) {
    parentPort.postMessage(String(error?.stack ?? error));
  }
}
