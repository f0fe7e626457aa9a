// What Node's promises do: cases made from a seed, played on real promises, printed with what came of them, for
// test_us_promises.c to play on the library. Usage: node promises.mjs [SEED [CASES]]
//
// One word per line, then its arguments; promises are p0, p1, ..., combinations c0, c1, ...
//   case N                       everything anew
//   plain I / goroutine I        promise I, settled by hand / by its goroutine's end
//   settle I resolve|reject V    or once more: then nothing happens
//   combine KIND N INPUT...
//   look STATE...                of every combination so far: p(ending), f(ulfilled), r(ejected)
//   is K VALUE                   a number, or cJ: the object that combination J made
//   holds K VALUE...             what is in the object that K made; for allSettled each with f or r in front
//
// Node runs reactions in microtasks, the library at once. Between a settling and a look all microtasks have run. Where
// combinations are made of combinations they run after every step, too: how many microtasks one level takes
// is JavaScript's own business. Without that, several settlings may share a tick.

const seed = Number(process.argv[2] ?? 1);
const cases = Number(process.argv[3] ?? 1000);
const KINDS = ['all', 'race', 'any', 'allSettled'];

let state = (seed * 2654435761 + 1) >>> 0;
function random(n) { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
}
const tick = () => new Promise((resolve) => setImmediate(resolve)); // after all microtasks

const lines = [];
const say = (...words) => lines.push(words.join(' '));

for (let n = 0; n < cases; n++) {
    say('case', n);
    const nested = random(3) === 0;
    const bases = [], combinations = [];
    const makers = new Map(); // an object that came out of a combination -> which
    const token = (value) => (typeof value === 'number' ? value : `c${makers.get(value)}`);

    for (let i = random(6) + (n % 10 === 0 ? 0 : 1); i > 0; i--) {
        const base = { goroutine: random(3) === 0, settled: false };
        base.promise = new Promise((resolve, reject) => Object.assign(base, { resolve, reject }));
        base.promise.catch(() => {});
        say(base.goroutine ? 'goroutine' : 'plain', bases.length);
        bases.push(base);
    }
    const settle = (i) => {
        const base = bases[i], how = random(5) < 3 ? 'resolve' : 'reject', value = 1 + random(1000);
        if (base.goroutine && base.settled) return; // a goroutine ends once
        base.settled = true;
        base[how](value);
        say('settle', i, how, value);
    };
    const look = async () => {
        await tick();
        if (combinations.length > 0) say('look', ...combinations.map((c) => c.state));
    };
    const combine = async () => {
        const kind = KINDS[random(KINDS.length)];
        const candidates = bases.map((b, i) => [`p${i}`, b.promise]);
        if (nested) candidates.push(...combinations.map((c, i) => [`c${i}`, c.promise]));
        const inputs = [];
        const count = random(8) === 0 || candidates.length === 0 ? 0 : 1 + random(7);
        while (inputs.length < count) inputs.push(candidates[random(candidates.length)]);
        const me = { kind, state: 'p', promise: Promise[kind](inputs.map((i) => i[1])) };
        me.promise.then(
            (value) => Object.assign(me, { state: 'f', value }),
            (value) => Object.assign(me, { state: 'r', value }),
        );
        combinations.push(me);
        say('combine', kind, inputs.length, ...inputs.map((i) => i[0]));
        if (nested || random(2) === 0) await look();
    };

    for (let i = 0; i < bases.length; i++) if (random(3) === 0) settle(i);
    if (nested) await tick();
    for (let i = 1 + random(4); i > 0; i--) {
        await combine();
        if (bases.length > 0 && random(4) === 0) {
            settle(random(bases.length));
            if (nested) await look();
        }
    }
    for (let i = random(2 * bases.length + 1); i > 0; i--) {
        settle(random(bases.length));
        if (nested || random(2) === 0) await look();
    }
    await look();
    // Inner ones come first: what one of them made is not made by the outer one that passes it on.
    combinations.forEach((c, k) => {
        if (c.state !== 'p' && typeof c.value === 'object' && !makers.has(c.value)) makers.set(c.value, k);
    });
    combinations.forEach((c, k) => {
        if (c.state === 'p') return;
        say('is', k, token(c.value));
        if (makers.get(c.value) !== k) return;
        if (c.value instanceof AggregateError) say('holds', k, ...c.value.errors.map(token));
        else if (c.kind === 'allSettled') {
            say('holds', k, ...c.value.map((s) => (s.status === 'fulfilled' ? `f${token(s.value)}` : `r${token(s.reason)}`)));
        } else say('holds', k, ...c.value.map(token));
    });
}
say('end', cases);
process.stdout.write(lines.join('\n') + '\n');
