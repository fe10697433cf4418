//! Compiles the way into spdlog, if spdlog and a C++ compiler are there; if not, the subject says so when
//! it is started, and nothing else changes.

const SHIM: &str = "src/subjects/spdlog.cpp";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(spdlog)");
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-changed=build.rs");
    // All of spdlog and fmt is compiled in here, with our optimization, so that there is no library to be
    // found at link time. Debian's spdlog comes without fmt, others' may bring their own.
    let variants: [&[&str]; 2] = [&["SPDLOG_FMT_EXTERNAL", "FMT_HEADER_ONLY"], &[]];
    if variants.iter().any(|defines| compile(defines)) {
        println!("cargo::rustc-cfg=spdlog");
    } else {
        // Looks again each time. (Its header would not do: packages bring files of any age.)
        println!("cargo::rerun-if-changed=there-is-no-such-file");
    }
}

fn compile(defines: &[&str]) -> bool {
    let mut build = cc::Build::new();
    // A failure is an answer here, not an error. `try_compile` tells cargo what to link, if it succeeds.
    build.cpp(true).std("c++17").file(SHIM).warnings(false).cargo_warnings(false);
    for define in defines {
        build.define(define, None);
    }
    build.try_compile("bench_spdlog").is_ok()
}
