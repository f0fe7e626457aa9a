// Go from Node.js, with the addon in addon.c: directly, and through libgoroutine.
import { createRequire } from "node:module";

export async function open(way, library) {
  const addon = createRequire(import.meta.url)(process.env.NODE_ADDON);
  const kept = [];
  const handle = way === "direct" ? addon.dlopen(library) : addon.load(library);
  const address = way === "direct" ? (name) => addon.dlsym(handle, name) : (name) => addon.symbol(handle, name);
  const call = { direct: addon.call, lane: addon.callLane, bound: addon.callBound, promises: addon.callAsync }[way];
  return {
    call: (name, argument) => call(address(name), argument),
    address,
    memory: (array) => {
      kept.push(array);
      return addon.address(array);
    },
    parallel: way === "promises",
  };
}
