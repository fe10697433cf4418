//! Compiles the C++ shim around spdlog if spdlog and a C++ compiler are installed. If not, only that subject
//! is unavailable, and says so when it is started.

const SHIM: &str = "src/subjects/spdlog.cpp";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(spdlog)");
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_HARNESS").is_none() {
        return;
    }
    // Header-only: spdlog and fmt are compiled here, with our optimization, so the linker needs no library.
    // Debian's spdlog comes without fmt, other packages may bundle it.
    let variants: [&[&str]; 2] = [&["SPDLOG_FMT_EXTERNAL", "FMT_HEADER_ONLY"], &[]];
    if variants.iter().any(|defines| compile(defines)) {
        println!("cargo::rustc-cfg=spdlog");
    } else {
        // A file that never exists makes cargo look again each time. A header would not do: its date in a
        // package may be older than the last build.
        println!("cargo::rerun-if-changed=there-is-no-such-file");
    }
}

fn compile(defines: &[&str]) -> bool {
    let mut build = cc::Build::new();
    // A failure is no error here. On success `try_compile` tells cargo what to link.
    build.cpp(true).std("c++17").file(SHIM).warnings(false).cargo_warnings(false);
    for define in defines {
        build.define(define, None);
    }
    build.try_compile("bench_spdlog").is_ok()
}
