// Go from Node.js with koffi, a foreign function interface of another make: directly, and through libgoroutine. koffi calls on a stack
// of its own, not on the thread's; and it takes a callback from another thread to the loop, and lets that thread wait for it.
import { createRequire } from "node:module";

export async function open(way, library) {
  const require = createRequire(import.meta.url);
  const koffi = require(process.env.KOFFI);
  const kept = [];
  const memory = (array) => {
    kept.push(array); // nothing else keeps alive what an address points to
    return koffi.address(array);
  };
  const addons = Object.keys(require.cache).filter((path) => path.endsWith(".node"));
  return way === "direct" ? direct(koffi, library, memory) : through(koffi, way, library, memory, addons);
}

const one = ["uint64_t", ["uint64_t"]];

function direct(koffi, library, memory) {
  const lib = koffi.load(library);
  const dl = koffi.load("libdl.so.2");
  const dlopen = dl.func("dlopen", "uint64_t", ["str", "int"]);
  const dlsym = dl.func("dlsym", "uint64_t", ["uint64_t", "str"]);
  const handle = dlopen(library, 2);
  const address = (name) => BigInt(dlsym(handle, name));
  const call = (name, argument) => BigInt(lib.func(name, ...one)(argument));
  return { call, address, memory };
}

function through(koffi, way, library, memory, addons) {
  const libgoroutine = koffi.load(process.env.LIBGOROUTINE);
  const Done = koffi.proto("void (uint64_t arg, uint64_t result)");
  const define = (name, ...args) => libgoroutine.func(name, "int", args);
  const ffi_load = define("goroutine_ffi_load", "str", "int", "void *");
  const ffi_symbol = define("goroutine_ffi_symbol", "uint64_t", "str", "void *");
  const ffi_error = libgoroutine.func("goroutine_ffi_error", "str", []);
  const out = new BigUint64Array(1);
  const ok = (status) => {
    if (status === 0) return out[0];
    throw new Error(`status ${status} ${ffi_error() ?? ""}`);
  };
  const load = (path) => ok(ffi_load(path, 0, out));
  const symbol = (handle, name) => ok(ffi_symbol(handle, name, out));
  const handle = load(library);
  const address = (name) => symbol(handle, name);

  if (way === "lane") {
    const lane_call = define("goroutine_ffi_lane_call", "uint64_t", "uint64_t", "uint64_t", "void *");
    const lane = ok(define("goroutine_ffi_lane_new", "str", "void *")("host", out));
    return { call: (name, argument) => ok(lane_call(lane, address(name), argument, out)), address, memory };
  }
  if (way === "bound") {
    // A goroutine whose function is execute_ffi_call(NULL, function, argument).
    const spawn_with = define("goroutine_spawn_with", "void *", "void *");
    const await_take = define("goroutine_promise_await_take", "uint64_t", "uint64_t", "void *");
    const execute = symbol(load(process.env.LIBGOROUTINE), "execute_ffi_call");
    const call = (name, argument) => {
      const spawn = new BigUint64Array([64n, execute, 0n, address(name), argument, 0n, 0n, 0n]);
      const promise = ok(spawn_with(spawn, out));
      return ok(await_take(promise, 60_000_000_000n, out));
    };
    return { call, address, memory };
  }
  // Promises: `done` is called on a thread of the library, which waits until the loop of this one has run it. Node.js unloads the addons
  // of a worker that ends, and that thread may still be on its way back through koffi: a reference of ours keeps koffi's code.
  if (addons.length === 0) throw new Error("where is koffi's addon?");
  addons.forEach(load);
  const call_async = define("goroutine_ffi_call_async", "uint64_t", "uint64_t", "uint64_t", "uint64_t");
  const waiting = new Map();
  let next = 1n;
  let loop; // a registered callback does not keep the loop alive; a timer does
  const done = koffi.register((arg, result) => {
    const key = BigInt(arg);
    const resolve = waiting.get(key);
    waiting.delete(key);
    if (waiting.size === 0) clearInterval(loop);
    resolve(BigInt(result));
  }, koffi.pointer(Done));
  const call = (name, argument) =>
    new Promise((resolve) => {
      const key = next++;
      if (waiting.size === 0) loop = setInterval(() => {}, 1 << 30);
      waiting.set(key, resolve);
      ok(call_async(address(name), argument, done, key));
    });
  return { call, address, memory, parallel: true };
}
