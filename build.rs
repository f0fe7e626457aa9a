//! Gives the shared library its soname, and full read-only relocations.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=asm");
    for option in [
        "-soname,libgoroutine.so.1",
        "-z,now",
        "-z,relro",
        "-z,noexecstack",
    ] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{option}");
    }
}
