// Go from Bun, with bun:ffi: directly, and through libgoroutine.
import { CFunction, dlopen, FFIType as T, JSCallback, ptr, CString } from "bun:ffi";

export async function open(way, library) {
  return way === "direct" ? direct(library) : through(way, library);
}

const kept = [];
function memory(array) {
  kept.push(array); // bun:ffi keeps nothing alive that an address points to
  return BigInt(ptr(array));
}
const text = (string) => Buffer.from(string + "\0");

function direct(library) {
  const { symbols } = dlopen("libdl.so.2", {
    dlopen: { args: [T.ptr, T.i32], returns: T.u64 },
    dlsym: { args: [T.u64, T.ptr], returns: T.u64 },
  });
  const handle = symbols.dlopen(text(library), 2);
  if (handle === 0n) throw new Error(`dlopen ${library}`);
  const address = (name) => symbols.dlsym(handle, text(name));
  const call = (name, argument) =>
    CFunction({ ptr: Number(address(name)), args: [T.u64], returns: T.u64 })(argument);
  return { call, address, memory };
}

function through(way, library) {
  const libgoroutine = process.env.LIBGOROUTINE;
  const lib = dlopen(libgoroutine, {
    goroutine_ffi_load: { args: [T.ptr, T.i32, T.ptr], returns: T.i32 },
    goroutine_ffi_symbol: { args: [T.u64, T.ptr, T.ptr], returns: T.i32 },
    goroutine_ffi_error: { args: [], returns: T.ptr },
    goroutine_ffi_call_async: { args: [T.u64, T.u64, T.ptr, T.u64], returns: T.i32 },
    ...(way === "lane" && {
      goroutine_ffi_lane_new: { args: [T.ptr, T.ptr], returns: T.i32 },
      goroutine_ffi_lane_call: { args: [T.u64, T.u64, T.u64, T.ptr], returns: T.i32 },
    }),
    ...(way === "bound" && {
      goroutine_spawn_with: { args: [T.ptr, T.ptr], returns: T.i32 },
      goroutine_promise_await_take: { args: [T.u64, T.u64, T.ptr], returns: T.i32 },
    }),
  }).symbols;
  const out = new BigUint64Array(1);
  const ok = (status) => {
    if (status === 0) return out[0];
    const said = lib.goroutine_ffi_error();
    throw new Error(`status ${status} ${said ? new CString(said) : ""}`);
  };
  const load = (path) => ok(lib.goroutine_ffi_load(text(path), 0, out));
  const symbol = (handle, name) => ok(lib.goroutine_ffi_symbol(handle, text(name), out));
  const handle = load(library);
  const address = (name) => symbol(handle, name);

  if (way === "lane") {
    const lane = ok(lib.goroutine_ffi_lane_new(text("host"), out));
    const call = (name, argument) => ok(lib.goroutine_ffi_lane_call(lane, address(name), argument, out));
    return { call, address, memory };
  }
  if (way === "bound") {
    // A goroutine whose function is execute_ffi_call(NULL, function, argument).
    const execute = symbol(load(libgoroutine), "execute_ffi_call");
    const call = (name, argument) => {
      const spawn = new BigUint64Array([64n, execute, 0n, address(name), argument, 0n, 0n, 0n]);
      const promise = ok(lib.goroutine_spawn_with(spawn, out));
      return ok(lib.goroutine_promise_await_take(promise, 60_000_000_000n, out));
    };
    return { call, address, memory };
  }
  // Promises. `done` is called on a thread of the library; Bun takes it to this one. Its arguments are made there, so none may be
  // a BigInt (u64, i64), which would be allocated on the heap of a JavaScript that runs meanwhile: Bun crashes. A pointer is a number.
  const waiting = new Map();
  let next = 1n;
  let loop; // a pending JSCallback does not keep a worker's event loop alive; a timer does
  const done = new JSCallback(
    (arg, result) => {
      const key = BigInt(arg);
      const { resolve } = waiting.get(key);
      waiting.delete(key);
      if (waiting.size === 0) clearInterval(loop);
      resolve(BigInt(result ?? 0)); // NULL is null
    },
    { args: [T.ptr, T.ptr], returns: T.void, threadsafe: true },
  );
  const call = (name, argument) =>
    new Promise((resolve) => {
      const key = next++;
      if (waiting.size === 0) loop = setInterval(() => {}, 1 << 30);
      waiting.set(key, { resolve });
      ok(lib.goroutine_ffi_call_async(address(name), argument, done.ptr, key));
    });
  return { call, address, memory, parallel: true };
}
