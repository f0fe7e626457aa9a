//! libgoroutine: a Go-style goroutine runtime as a C library, called from machine code that a JIT compiler emits, and
//! from C and C++. The interface is `include/goroutine.h`; docs/architecture.md walks through the rooms.
//!
//! Dependencies point down only:
#![cfg_attr(
    not(loom),
    doc = "[`capi`] -> [`inspect`], [`ffi`] -> [`ops`] -> [`sched`] -> [`trace`], [`timer`], [`netpoll`] -> [`promise`], [`wait`] -> [`sanitize`] -> [`goroutine`] ->"
)]
#![cfg_attr(
    not(loom),
    doc = "[`context`], [`stack`] -> [`code`], [`thread`] -> [`sync`], [`sys`] -> [`abi`]."
)]
#![cfg_attr(loom, allow(dead_code, missing_docs))]

// Under loom only the protocol files are built, without what they are built into.
#[cfg(not(loom))]
pub mod abi;
#[cfg(not(loom))]
mod assembly;
#[cfg(not(loom))]
pub mod capi;
#[cfg(not(loom))]
pub mod code;
#[cfg(not(loom))]
pub mod context;
pub mod ffi;
#[cfg(not(loom))]
pub mod goroutine;
#[cfg(not(loom))]
pub mod inspect;
pub mod netpoll;
#[cfg(not(loom))]
pub mod ops;
pub mod promise;
#[cfg(not(loom))]
pub mod sanitize;
pub mod sched;
#[cfg(not(loom))]
pub mod stack;
pub mod sync;
#[cfg(not(loom))]
pub mod sys;
#[cfg(not(loom))]
pub mod thread;
pub mod timer;
#[cfg(not(loom))]
pub mod trace;
#[cfg(not(loom))]
mod unload;
pub mod wait;

#[cfg(loom)]
pub mod goroutine {
    //! Under loom: the words that goroutines wait on, alone.
    pub mod call_word;
    pub mod park;
    pub mod thread_word;
}

#[cfg(loom)]
pub mod trace {
    //! Under loom: the rings of a trace, alone.
    pub mod ring;
}

#[cfg(all(test, loom))]
mod loom_models;
