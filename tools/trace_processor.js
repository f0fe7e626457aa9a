#!/usr/bin/env node
// Perfetto's trace processor, as its page runs it: the WebAssembly module and Emscripten's code around it, in Node.js.
// Usage: trace_processor.js FOLDER -q FILE.sql TRACE
// FOLDER has trace_processor.wasm and engine_bundle.node.js (tools/deps.sh trace). Prints as trace_processor_shell does: the rows of the
// last statement as CSV, under a line of the columns' names. Exit status 1: the trace does not load or the query fails, and why.
//
// The code is a web worker's: it reads its module by XMLHttpRequest, and says with self.onmessage where it takes a port. Of such a
// worker's world it gets what it uses. Requests and replies are messages of protobuf (TraceProcessorRpc), each the first field of a stream.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const v8 = require("node:v8");
const vm = require("node:vm");

const METHOD = { append: 1, finalize: 2, query: 3 };
// Of TraceProcessorRpc.
const FIELD = { seq: 1, request: 2, invalid: 4, fatal: 5, data: 101, queryArgs: 103, appended: 201, queried: 203, finalized: 210 };
const CELL = { null: 1, varint: 2, float64: 3, string: 4 };
// A request is at most 64 MiB.
const CHUNK = 16 << 20;

function fail(message) {
    process.stderr.write(`trace_processor.js: ${message}\n`);
    process.exit(1);
}

// Protobuf, what of it is needed.

function varint(value) {
    const bytes = [];
    for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
    bytes.push(value);
    return Buffer.from(bytes);
}

function number(field, value) {
    return Buffer.concat([varint(field * 8), varint(value)]);
}

function bytes(field, value) {
    return Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);
}

// The fields of a message, one after the other: [field, BigInt | Buffer].
function* fields(message) {
    for (let at = 0; at < message.length; ) {
        const [key, after] = readVarint(message, at);
        const field = Number(key >> 3n);
        at = after;
        switch (Number(key & 7n)) {
            case 0: {
                const [value, next] = readVarint(message, at);
                yield [field, value];
                at = next;
                break;
            }
            case 1:
                yield [field, message.subarray(at, (at += 8))];
                break;
            case 2: {
                const [length, next] = readVarint(message, at);
                yield [field, message.subarray(next, (at = next + Number(length)))];
                break;
            }
            case 5:
                yield [field, message.subarray(at, (at += 4))];
                break;
            default:
                throw new Error(`a reply has no wire type ${key & 7n}`);
        }
        if (at > message.length) throw new Error("a reply is cut off");
    }
}

function readVarint(from, at) {
    let value = 0n;
    for (let shift = 0n; at < from.length; shift += 7n) {
        const byte = from[at++];
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return [value, at];
    }
    throw new Error("a reply is cut off");
}

// Those of field `of`, if any, as text.
function text(message, of) {
    for (const [field, value] of fields(message)) if (field === of) return value.toString();
    return "";
}

// The worker's world. Gives the function that takes a request and gives the replies to it.
async function start(folder) {
    v8.setFlagsFromString("--liftoff-only"); // optimizing 13 MB takes six times as long as a trace of some MB does without
    // The module of 64-bit memory is not in the folder: a probe for such a memory (its first section, with a flag) fails as in older browsers.
    const Module = WebAssembly.Module;
    WebAssembly.Module = class extends Module {
        constructor(code) {
            if (code.length < 64 && code[8] === 5 && code[11] & 4) throw new WebAssembly.CompileError("no 64-bit memory");
            super(code);
        }
    };
    globalThis.self = globalThis;
    globalThis.WorkerGlobalScope = class {};
    globalThis.location = { href: "file:///" };
    globalThis.XMLHttpRequest = class {
        open(_method, url) {
            this.file = path.join(folder, path.basename(url));
        }
        send() {
            this.response = new Uint8Array(fs.readFileSync(this.file)).buffer;
        }
    };
    console.warn = console.log = () => {}; // statistics of the load; errors come back as replies
    const code = path.join(folder, "engine_bundle.node.js");
    vm.runInThisContext(fs.readFileSync(code, "utf8"), { filename: code });

    let replies = [];
    const port = { postMessage: (data) => replies.push(Buffer.from(data)) };
    globalThis.onmessage({ data: port });
    await new Promise(setImmediate); // the module is there; what follows its promise is not yet
    let seq = 0;
    return (method, argument = Buffer.alloc(0)) => {
        replies = [];
        const request = Buffer.concat([number(FIELD.seq, seq++), number(FIELD.request, method), argument]);
        port.onmessage({ data: new Uint8Array(bytes(1, request)) });
        const messages = [...fields(Buffer.concat(replies))].map(([, message]) => message);
        for (const [field, value] of messages.flatMap((message) => [...fields(message)])) {
            if (field === FIELD.fatal) throw new Error(value.toString());
            if (field === FIELD.invalid) throw new Error(`no method ${value}`);
        }
        return messages;
    };
}

// The arguments of the replies: the messages in field `of`.
function* results(messages, of) {
    for (const message of messages) for (const [field, value] of fields(message)) if (field === of) yield value;
}

function load(call, trace) {
    const file = fs.readFileSync(trace);
    for (let at = 0; at < file.length; at += CHUNK) {
        const messages = call(METHOD.append, bytes(FIELD.data, file.subarray(at, at + CHUNK)));
        for (const result of results(messages, FIELD.appended)) if (text(result, 2)) throw new Error(text(result, 2));
    }
    for (const result of results(call(METHOD.finalize), FIELD.finalized)) if (text(result, 1)) throw new Error(text(result, 1));
}

// Gives the columns' names and the rows.
function query(call, sql) {
    const columns = [];
    const cells = [];
    for (const result of results(call(METHOD.query, bytes(FIELD.queryArgs, bytes(1, Buffer.from(sql)))), FIELD.queried)) {
        for (const [field, value] of fields(result)) {
            if (field === 1) columns.push(value.toString());
            else if (field === 2 && value.length) throw new Error(value.toString());
            else if (field === 3) cells.push(...batch(value));
        }
    }
    const rows = [];
    for (let at = 0; at < cells.length; at += columns.length) rows.push(cells.slice(at, at + columns.length));
    return [columns, rows];
}

function batch(message) {
    let [kinds, integers, floats, strings] = [Buffer.alloc(0), [], [], []];
    for (const [field, value] of fields(message)) {
        if (field === 1) kinds = value;
        else if (field === 2) {
            for (let at = 0; at < value.length; ) {
                const [integer, next] = readVarint(value, at);
                integers.push(BigInt.asIntN(64, integer));
                at = next;
            }
        } else if (field === 3) for (let at = 0; at < value.length; at += 8) floats.push(value.readDoubleLE(at));
        else if (field === 5) strings = value.toString().split("\0");
    }
    const give = { [CELL.null]: () => "[NULL]", [CELL.varint]: () => integers.shift(), [CELL.float64]: () => floats.shift() };
    give[CELL.string] = () => JSON.stringify(strings.shift());
    return [...kinds].map((kind) => {
        if (!give[kind]) throw new Error(`a cell of kind ${kind}`);
        return give[kind]();
    });
}

async function main() {
    const [folder, option, sql, trace, ...more] = process.argv.slice(2);
    if (option !== "-q" || !trace || more.length) fail("usage: trace_processor.js FOLDER -q FILE.sql TRACE");
    const call = await start(folder);
    load(call, trace);
    const [columns, rows] = query(call, fs.readFileSync(sql, "utf8"));
    const lines = [columns.map((name) => JSON.stringify(name)), ...rows].map((row) => row.join(","));
    fs.writeSync(1, lines.join("\n") + "\n");
    process.exit(0);
}

main().catch((error) => fail(error.message ?? String(error)));
