// What a Go library must do in a host, and what hosts do that used to hang with one. `go` is what the host's file
// opens: call(name, argument) gives a BigInt or a promise of one, address(name), memory(BigInt64Array).
import { Worker } from "node:worker_threads";
import vm from "node:vm";

async function expect(what, got, shall) {
  const value = await got;
  if (value !== shall) throw new Error(`${what} gave ${value}, not ${shall}`);
}

export async function suite(go) {
  const pair = new BigInt64Array([40n, 2n]);
  await expect("add", go.call("suite_add", go.memory(pair)), 42n);
  await expect("100 goroutines", go.call("suite_goroutines", 100n), 5050n);
  await expect("collection", go.call("suite_collect", 20n), 2047n);
  await expect("environment", go.call("suite_environment", 0n), 1n);
  const before = await go.call("suite_c_calls", 0n);
  const back = new BigInt64Array([go.address("suite_c_count"), 21n, 100n]);
  await expect("callback, same thread", go.call("suite_callback", go.memory(back)), 4200n);
  await expect("callback, another thread", go.call("suite_callback_elsewhere", go.memory(back)), 4200n);
  await expect("callbacks", go.call("suite_c_calls", 0n), before + 200n);
  if ((await go.call("suite_spin", 100n)) < 1n) throw new Error("100 ms spin: never interrupted");
  await expect("deep stack", go.call("suite_deep", 50000n), 50000n);
  await expect("nil pointers", go.call("suite_nil", 100n), 100n);
  await expect("exec", go.call("suite_exec", 0n), 1n);
  // Side by side where the way allows it: 20 calls of 20 ms.
  const begin = performance.now();
  await Promise.all(Array.from({ length: 20 }, () => go.call("suite_sleep", 20n)));
  if (go.parallel && performance.now() - begin > 300) throw new Error("promises wait for each other");
}

// (memory 1) (export "spin"): counts to its argument and stores on the way.
const body = [1, 1, 0x7f, 3, 0x40, 0x20, 1, 0x41, 1, 0x6a, 0x22, 1, 0x41, 0xff, 7, 0x71, 0x20, 1, 0x36, 2, 0, 0x20, 1];
body.push(0x20, 0, 0x49, 0x0d, 0, 0x0b, 0x20, 1, 0x0b);
const code = [1, body.length, ...body];
const types = [1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1];
const exported = [7, 12, 2, 4, 115, 112, 105, 110, 0, 0, 1, 109, 2, 0];
const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, ...types, ...exported, 10, code.length, ...code]);

function collect() {
  if (globalThis.Bun) Bun.gc(true);
  else if (globalThis.gc) globalThis.gc();
  else throw new Error("run node with --expose-gc");
}

export const triggers = {
  // An endless script is interrupted.
  async vm() {
    try {
      vm.runInNewContext("for(;;);", {}, { timeout: 100 });
    } catch (error) {
      if (error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return;
      throw error;
    }
    throw new Error("the script was not interrupted");
  },
  // WebAssembly runs, traps, and is collected meanwhile.
  async wasm() {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm));
    for (let i = 0; i < 100; i++) {
      if (instance.exports.spin(100000) !== 100000) throw new Error("wrong count");
      collect();
    }
  },
  // A sampling profiler looks at the thread's stack.
  async profiler() {
    const work = () => {
      let x = 0;
      for (let i = 0; i < 3e7; i++) x += i % 7;
      return x;
    };
    if (globalThis.Bun) {
      const { profile } = await import("bun:jsc");
      profile(work, 100);
      return;
    }
    const { Session } = await import("node:inspector/promises");
    const session = new Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: 100 });
    await session.post("Profiler.start");
    work();
    const { profile } = await session.post("Profiler.stop");
    if (profile.nodes.length < 2) throw new Error("no samples");
    session.disconnect();
  },
  // A worker that computes is ended. In the worker place, case.mjs ends the worker that has called Go itself.
  async terminate() {
    const worker = new Worker("require('node:worker_threads').parentPort.postMessage(1); for (;;);", { eval: true });
    await new Promise((resolve) => worker.on("message", resolve));
    await worker.terminate();
  },
};
