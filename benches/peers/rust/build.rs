//! Hands the versions in Cargo.lock to the peers, which say them when ready.

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").expect("Cargo.lock");
    for name in ["corosensei", "hyper", "may", "tokio"] {
        let version = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))
            .and_then(|(_, rest)| rest.split_once('"'))
            .unwrap_or_else(|| panic!("{name} is not in Cargo.lock"))
            .0;
        println!("cargo:rustc-env={}_VERSION={version}", name.to_uppercase());
    }
}
