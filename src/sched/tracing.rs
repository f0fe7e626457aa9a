//! Traces and the runtime: a trace runs inside a runtime's life, and its workers' yields go the long way meanwhile, where they are seen.
//! With a sanitizer they always do.

use super::run_queue::POLL_TRACE;
use super::runtime::{self, Runtime};
use crate::abi::*;
use crate::goroutine::FORKS;
use crate::sys::report::Line;
use crate::{thread, trace};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// `goroutine_trace_start`. On a goroutine it is called as blocking C is.
pub fn start(path: &CStr) -> GoroutineStatus {
    let runtime = match runtime::enter_or_start() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    if runtime.is_stopping() {
        return GOROUTINE_ESHUTDOWN;
    }
    let status = trace::start(path, runtime.pool.settings(), runtime.workers.len());
    if status == GOROUTINE_OK {
        runtime.show_yields();
    }
    status
}

/// `goroutine_trace_stop`, likewise.
pub fn stop() -> GoroutineStatus {
    let Some(runtime) = runtime::enter() else {
        return GOROUTINE_EALREADY; // it ended with the runtime
    };
    let status = trace::stop();
    runtime.show_yields();
    status
}

impl Runtime {
    /// Yields of all workers are seen while a trace runs. (Starts and stops may overtake each other: the last one to look is right.)
    fn show_yields(&self) {
        for worker in &self.workers {
            let poll = &worker.queue.poll;
            if trace::is_on() {
                poll.fetch_or(POLL_TRACE, Ordering::SeqCst);
            }
            if !trace::is_on() {
                poll.fetch_and(!POLL_TRACE, Ordering::SeqCst);
            }
        }
    }

    /// What watches from the start on, before the first thread: a sanitizer, and the trace that the environment asks for. Err: its file
    /// cannot be written.
    pub fn start_watchers(&self, settings: &thread::Settings) -> Result<(), GoroutineStatus> {
        self.show_yields();
        let Some(path) = path_of_environment() else {
            return Ok(());
        };
        match trace::start(&path, settings, self.workers.len()) {
            GOROUTINE_OK => {
                self.show_yields();
                Ok(())
            }
            status => {
                Line::new()
                    .text("GOROUTINE_TRACE: cannot write ")
                    .raw(path.to_bytes())
                    .text(": ")
                    .text(&std::io::Error::from_raw_os_error(-status).to_string())
                    .emit();
                Err(status)
            }
        }
    }
}

/// GOROUTINE_TRACE. A later start of the same process, and a child of fork, have a file of their own: what was traced before stays.
fn path_of_environment() -> Option<CString> {
    static STARTS: AtomicU32 = AtomicU32::new(0);
    let mut path = std::env::var_os("GOROUTINE_TRACE").filter(|path| !path.is_empty())?;
    let start = STARTS.fetch_add(1, Ordering::Relaxed) + 1;
    if FORKS.load(Ordering::Relaxed) != 0 {
        path.push(format!(".{}", std::process::id()));
    }
    if start > 1 {
        path.push(format!(".{start}"));
    }
    CString::new(path.into_vec()).ok()
}
