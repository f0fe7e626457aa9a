//! The functions that this demonstration emits, the same as `demo/hand/code.c` writes byte by byte.

use crate::foreign::{self, Kind};
use crate::runtime::{self as rt, GoroutineFn, Promise};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F64, I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, FuncRef, InstBuilder, MemFlags, StackSlotData, StackSlotKind, TrapCode, Type,
    Value,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use std::collections::HashMap;

/// Task i is the code of variant i % VARIANTS, as a compiler emits code with its constants in it.
pub const VARIANTS: usize = 16;
pub const BATCH_MAX: u64 = 100;
const SLEEP_MIN_NS: i64 = 200_000_000;
/// Spreads the sleeps: SLEEP_MIN_NS + (i * SLEEP_MIX & SLEEP_MASK), 200 to 468 ms.
const SLEEP_MIX: i64 = 0x9E37_79B1;
const SLEEP_MASK: i64 = 0x0FFF_FFFF;

/// Calls of a `witness`.
pub const WITNESSED: u64 = 1000;
/// What C gives each time.
pub const WITNESS: f64 = (2 + 6 + 12 + 20 + 30 + 42 + 56 + 72) as f64 + 0.5;

pub const fn factor(variant: usize) -> u64 {
    2 * variant as u64 + 3
}

/// Executable code; it lives as long as this does.
pub struct Code {
    _module: JITModule,
    /// `task(i)`: awaits `promises[0]`, sleeps, awaits `promises[i / 2]`, yields, gives `factor * that value + i`.
    pub tasks: Vec<GoroutineFn>,
    /// `odd(i)`: gives `2 * i + 1`.
    pub odd: GoroutineFn,
    /// `yielder(n)`: yields n times, gives n.
    pub yielder: GoroutineFn,
    /// `calls_…(n)`: n calls of the C function `foreign::mix`, in four ways; gives the sum of what they gave.
    pub calls_direct: GoroutineFn,
    pub calls_bound: GoroutineFn,
    pub calls_leaf: GoroutineFn,
    pub calls_through_library: GoroutineFn,
    /// `witness(seen)`: WITNESSED calls of `foreign::sees`, with a yield after each; gives the sum.
    pub witness: GoroutineFn,
    /// `batches(rounds, batch, fn)`: spawns fn(0) ... fn(batch - 1), awaits them, rounds times; gives the sum.
    pub batches: *const u8,
}

/// A function of the runtime that emitted code calls: name, address, parameters, result.
type Import = (&'static str, *const u8, &'static [Type], Option<Type>);

macro_rules! imports {
    ($($name:ident($($parameter:ident),*) $(-> $result:ident)?;)*) => {
        vec![$((stringify!($name), rt::$name as *const u8, &[$($parameter),*], None$(.or(Some($result)))?)),*]
    };
}

fn imports() -> Vec<Import> {
    imports! {
        goroutine_current() -> I64;
        goroutine_exit(I32, I64);
        goroutine_safepoint();
        goroutine_sleep(I64) -> I32;
        goroutine_spawn(I64, I64) -> I64;
        goroutine_promise_await(I64, I64, I64) -> I32;
        goroutine_promise_await_take(I64, I64, I64) -> I32;
        goroutine_yield();
        execute_ffi_call(I64, I64, I64) -> I64;
    }
}

/// The signatures of `foreign::mix` and `foreign::sees`: parameters, of which so many words are on the stack, and result.
const MIX: (&[Type], u32, Type) = (&[I64, I64, I64, I64, I64, I64, F64, F64, I64, I64], 2, I64);
const SEES: (&[Type], u32, Type) = (&[I64, I64, I64, I64, I64, I64, F64, I64, I64, I64], 3, F64);

/// Compiles everything. Tasks find each other in `promises`, which must stay in place.
pub fn emit(promises: *const *mut Promise) -> Code {
    let flags = [("opt_level", "speed")];
    let mut jit =
        JITBuilder::with_flags(&flags, default_libcall_names()).expect("Cranelift knows this machine");
    for (name, address, ..) in imports() {
        jit.symbol(name, address);
    }
    jit.symbol("mix", foreign::mix as *const u8);
    let mut emitter = Emitter {
        module: JITModule::new(jit),
        imports: HashMap::new(),
    };
    for (name, _, parameters, result) in imports() {
        emitter.declare(name, Linkage::Import, parameters, result);
    }
    emitter.declare("mix", Linkage::Import, MIX.0, Some(MIX.2));
    emitter.thunk("bound_mix", Kind::Bound, foreign::mix as *const u8, MIX);
    emitter.thunk("leaf_mix", Kind::Leaf, foreign::mix as *const u8, MIX);
    emitter.thunk("bound_sees", Kind::Bound, foreign::sees as *const u8, SEES);

    let tasks: Vec<FuncId> = (0..VARIANTS)
        .map(|v| {
            emitter.function(&format!("task{v}"), 1, |f| {
                emit_task(f, factor(v) as i64, promises as i64)
            })
        })
        .collect();
    let odd = emitter.function("odd", 1, emit_odd);
    let yielder = emitter.function("yielder", 1, emit_yielder);
    let batches = emitter.function("batches", 3, emit_batches);
    let calls = ["mix", "bound_mix", "leaf_mix"]
        .map(|callee| emitter.function(&format!("calls_{callee}"), 1, |f| emit_calls(f, callee)));
    let through_library = emitter.function("calls_through_library", 1, emit_calls_through_library);
    let witness = emitter.function("witness", 1, emit_witness);

    let mut module = emitter.module;
    module.finalize_definitions().expect("memory for the code");
    let address = |id| module.get_finalized_function(id);
    // SAFETY: the functions with one parameter were compiled for the C calling convention, one word in and one out.
    let function = |id| unsafe { std::mem::transmute::<*const u8, GoroutineFn>(address(id)) };
    Code {
        tasks: tasks.into_iter().map(function).collect(),
        odd: function(odd),
        yielder: function(yielder),
        calls_direct: function(calls[0]),
        calls_bound: function(calls[1]),
        calls_leaf: function(calls[2]),
        calls_through_library: function(through_library),
        witness: function(witness),
        batches: address(batches),
        _module: module,
    }
}

struct Emitter {
    module: JITModule,
    imports: HashMap<&'static str, FuncId>,
}

impl Emitter {
    fn declare(
        &mut self,
        name: &'static str,
        linkage: Linkage,
        parameters: &[Type],
        result: Option<Type>,
    ) -> FuncId {
        let mut signature = self.module.make_signature();
        signature
            .params
            .extend(parameters.iter().map(|&t| AbiParam::new(t)));
        signature.returns.extend(result.map(AbiParam::new));
        let id = self
            .module
            .declare_function(name, linkage, &signature)
            .expect("a new name");
        self.imports.insert(name, id);
        id
    }

    /// What is called as `callee` is, and calls it on the native stack.
    fn thunk(&mut self, name: &'static str, kind: Kind, callee: *const u8, signature: (&[Type], u32, Type)) {
        let (parameters, stack_words, result) = signature;
        let id = self.declare(name, Linkage::Local, parameters, Some(result));
        self.module
            .define_function_bytes(id, 16, &foreign::thunk(kind, callee, stack_words), &[])
            .expect("bytes need no check");
    }

    /// Compiles a function of so many words that gives one.
    fn function(&mut self, name: &str, parameters: usize, body: impl FnOnce(&mut Body)) -> FuncId {
        let mut context = self.module.make_context();
        context
            .func
            .signature
            .params
            .extend(std::iter::repeat_n(AbiParam::new(I64), parameters));
        context.func.signature.returns.push(AbiParam::new(I64));
        let id = self
            .module
            .declare_function(name, Linkage::Local, &context.func.signature)
            .expect("a new name");
        let calls = (self.imports.iter())
            .map(|(&name, &id)| (name, self.module.declare_func_in_func(id, &mut context.func)))
            .collect();

        let mut frontend = FunctionBuilderContext::new();
        let mut b = FunctionBuilder::new(&mut context.func, &mut frontend);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let parameters = b.block_params(entry).to_vec();
        let failed = b.create_block();
        b.append_block_param(failed, I32);
        let mut f = Body {
            b,
            calls,
            parameters,
            failed,
        };
        body(&mut f);
        f.finish();
        self.module.define_function(id, &mut context).expect("valid code");
        id
    }
}

/// A function under construction.
struct Body<'a> {
    b: FunctionBuilder<'a>,
    calls: HashMap<&'static str, FuncRef>,
    parameters: Vec<Value>,
    /// Where a negative status goes: `goroutine_exit(status, NULL)`, so that the goroutine's promise says why.
    failed: Block,
}

impl Body<'_> {
    fn constant(&mut self, value: i64) -> Value {
        self.b.ins().iconst(I64, value)
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Option<Value> {
        let call = self.b.ins().call(self.calls[name], arguments);
        self.b.inst_results(call).first().copied()
    }

    /// A call that gives a status; goes on only if it is not negative.
    fn checked(&mut self, name: &str, arguments: &[Value]) {
        let status = self.call(name, arguments).expect("it gives a status");
        let negative = self.b.ins().icmp_imm(IntCC::SignedLessThan, status, 0);
        let good = self.b.create_block();
        self.b
            .ins()
            .brif(negative, self.failed, &[status.into()], good, &[]);
        self.b.switch_to_block(good);
    }

    fn slot(&mut self, bytes: u32) -> Value {
        let slot = self
            .b
            .create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3));
        self.b.ins().stack_addr(I64, slot, 0)
    }

    fn load(&mut self, address: Value, offset: i32) -> Value {
        self.b.ins().load(I64, MemFlags::trusted(), address, offset)
    }

    /// A loop that counts from 0 to `n`, which is at least 1, and carries a sum. `body` gets both and gives the
    /// new sum.
    fn count(&mut self, n: Value, sum: Value, body: impl FnOnce(&mut Self, Value, Value) -> Value) -> Value {
        let head = self.b.create_block();
        let done = self.b.create_block();
        let i = self.b.append_block_param(head, I64);
        let running = self.b.append_block_param(head, I64);
        let result = self.b.append_block_param(done, I64);
        let zero = self.constant(0);
        self.b.ins().jump(head, &[zero.into(), sum.into()]);
        self.b.switch_to_block(head);
        let sum = body(self, i, running);
        let next = self.b.ins().iadd_imm(i, 1);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, n);
        let again: [BlockArg; 2] = [next.into(), sum.into()];
        self.b.ins().brif(more, head, &again, done, &[sum.into()]);
        self.b.switch_to_block(done);
        result
    }

    fn finish(mut self) {
        self.b.switch_to_block(self.failed);
        let status = self.b.block_params(self.failed)[0];
        let nothing = self.constant(0);
        self.call("goroutine_exit", &[status, nothing]);
        self.b.ins().trap(TrapCode::unwrap_user(1)); // it does not come back
        self.b.seal_all_blocks();
        self.b.finalize();
    }
}

fn emit_task(f: &mut Body, factor: i64, promises: i64) {
    let i = f.parameters[0];
    let promises = f.constant(promises);
    let forever = f.constant(rt::FOREVER as i64);
    let nowhere = f.constant(0);
    let gate = f.load(promises, 0);
    f.checked("goroutine_promise_await", &[gate, forever, nowhere]);

    let mixed = f.b.ins().imul_imm(i, SLEEP_MIX);
    let spread = f.b.ins().band_imm(mixed, SLEEP_MASK);
    let ns = f.b.ins().iadd_imm(spread, SLEEP_MIN_NS);
    f.checked("goroutine_sleep", &[ns]);

    let half = f.b.ins().ushr_imm(i, 1);
    let offset = f.b.ins().ishl_imm(half, 3);
    let place = f.b.ins().iadd(promises, offset);
    let other = f.load(place, 0);
    let (wait, go_on) = (f.b.create_block(), f.b.create_block());
    let state_address = f.b.ins().iadd_imm(other, rt::PROMISE_OFFSET_STATE);
    let state = f.b.ins().atomic_load(I32, MemFlags::trusted(), state_address);
    let resolved = f.b.ins().icmp_imm(IntCC::Equal, state, rt::PROMISE_RESOLVED);
    f.b.ins().brif(resolved, go_on, &[], wait, &[]); // then it needs no call

    f.b.switch_to_block(wait);
    f.checked("goroutine_promise_await", &[other, forever, nowhere]);
    f.b.ins().jump(go_on, &[]);

    f.b.switch_to_block(go_on);
    f.call("goroutine_yield", &[]);
    let value = f.load(other, rt::PROMISE_OFFSET_VALUE);
    let product = f.b.ins().imul_imm(value, factor);
    let result = f.b.ins().iadd(product, i);
    f.b.ins().return_(&[result]);
}

fn emit_odd(f: &mut Body) {
    let i = f.parameters[0];
    let twice = f.b.ins().iadd(i, i);
    let result = f.b.ins().iadd_imm(twice, 1);
    f.b.ins().return_(&[result]);
}

fn emit_yielder(f: &mut Body) {
    let n = f.parameters[0];
    let zero = f.constant(0);
    let yielded = f.count(n, zero, |f, _, sum| {
        f.call("goroutine_yield", &[]);
        f.b.ins().iadd_imm(sum, 1)
    });
    f.b.ins().return_(&[yielded]);
}

fn emit_batches(f: &mut Body) {
    let [rounds, batch, function] = f.parameters[..] else {
        unreachable!("declared with three")
    };
    let promises = f.slot(BATCH_MAX as u32 * 8);
    let value = f.slot(8);
    // The header of a goroutine stays where it is for the goroutine's life, whichever thread runs it.
    let current = f.call("goroutine_current", &[]).expect("it gives a pointer");
    let zero = f.constant(0);
    let sum = f.count(rounds, zero, |f, _, sum| {
        f.count(batch, zero, |f, i, spawned| {
            let promise = f
                .call("goroutine_spawn", &[function, i])
                .expect("it gives a promise");
            let good = f.b.create_block();
            let no_memory = f.b.ins().iconst(I32, i64::from(rt::ENOMEM));
            f.b.ins().brif(promise, good, &[], f.failed, &[no_memory.into()]);
            f.b.switch_to_block(good);
            let offset = f.b.ins().ishl_imm(i, 3);
            let place = f.b.ins().iadd(promises, offset);
            f.b.ins().store(MemFlags::trusted(), promise, place, 0);
            spawned
        });
        let sum = f.count(batch, sum, |f, i, sum| {
            let offset = f.b.ins().ishl_imm(i, 3);
            let place = f.b.ins().iadd(promises, offset);
            let promise = f.load(place, 0);
            let forever = f.constant(rt::FOREVER as i64);
            f.checked("goroutine_promise_await_take", &[promise, forever, value]);
            let got = f.load(value, 0);
            f.b.ins().iadd(sum, got)
        });
        // A loop's back edge is where a goroutine gives way when it is asked to.
        let (give_way, go_on) = (f.b.create_block(), f.b.create_block());
        let preempt =
            f.b.ins()
                .load(I32, MemFlags::trusted(), current, rt::OFFSET_PREEMPT);
        f.b.ins().brif(preempt, give_way, &[], go_on, &[]);
        f.b.switch_to_block(give_way);
        f.call("goroutine_safepoint", &[]);
        f.b.ins().jump(go_on, &[]);
        f.b.switch_to_block(go_on);
        sum
    });
    f.b.ins().return_(&[sum]);
}

/// What `foreign::mix` is called with for the i-th time: i, and constants.
const INTEGERS: [i64; 7] = [2, 3, 4, 5, 6, 7, 8];
const FLOATS: [f64; 2] = [1.5, 2.5];

/// The sum that the functions below must give.
pub fn sum_of_calls(n: u64) -> u64 {
    let [b, c, d, e, f, g, h] = INTEGERS.map(|n| n as u64);
    (0..n).fold(0, |sum: u64, i| {
        sum.wrapping_add(foreign::mix(i, b, c, d, e, f, FLOATS[0], FLOATS[1], g, h))
    })
}

fn emit_calls(f: &mut Body, callee: &str) {
    let n = f.parameters[0];
    let zero = f.constant(0);
    let sum = f.count(n, zero, |f, i, sum| {
        let [b, c, d, e, g, h, k] = INTEGERS.map(|n| f.constant(n));
        let [x, y] = FLOATS.map(|n| f.b.ins().f64const(n));
        let result = f
            .call(callee, &[i, b, c, d, e, g, x, y, h, k])
            .expect("it gives a number");
        f.b.ins().iadd(sum, result)
    });
    f.b.ins().return_(&[sum]);
}

fn emit_calls_through_library(f: &mut Body) {
    let n = f.parameters[0];
    let words = f.slot(80);
    let callee = f.constant(foreign::mix_in_memory as *const () as i64);
    let current = f.call("goroutine_current", &[]).expect("it gives a pointer");
    let zero = f.constant(0);
    let sum = f.count(n, zero, |f, i, sum| {
        f.b.ins().store(MemFlags::trusted(), i, words, 0);
        let [b, c, d, e, g, h, k] = INTEGERS.map(|n| f.constant(n));
        let [x, y] = FLOATS.map(|n| f.constant(n.to_bits() as i64));
        for (at, word) in (8..).step_by(8).zip([b, c, d, e, g, x, y, h, k]) {
            f.b.ins().store(MemFlags::trusted(), word, words, at);
        }
        let result = f
            .call("execute_ffi_call", &[current, callee, words])
            .expect("it gives a word");
        f.b.ins().iadd(sum, result)
    });
    f.b.ins().return_(&[sum]);
}

fn emit_witness(f: &mut Body) {
    let seen = f.parameters[0];
    let n = f.constant(WITNESSED as i64);
    let zero = f.constant(0);
    let sum = f.count(n, zero, |f, _, sum| {
        let [b, c, d, e, g, h, k] = INTEGERS.map(|n| f.constant(n));
        let last = f.constant(9);
        let half = f.b.ins().f64const(0.5);
        let result = f
            .call("bound_sees", &[seen, b, c, d, e, g, half, h, k, last])
            .expect("it gives a number");
        f.call("goroutine_yield", &[]);
        let twice = f.b.ins().fadd(result, result);
        let whole = f.b.ins().fcvt_to_uint(I64, twice);
        f.b.ins().iadd(sum, whole)
    });
    f.b.ins().return_(&[sum]);
}
