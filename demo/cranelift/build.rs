//! Links the shared library that `make` built, as a program in any language would: through its C interface only.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GOROUTINE_LIB_DIR");
    let directory = match std::env::var_os("GOROUTINE_LIB_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/release"),
    };
    println!("cargo::rustc-link-search=native={}", directory.display());
    println!("cargo::rustc-link-lib=dylib=goroutine");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", directory.display());
}
