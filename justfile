# Short names for the commands of docs/testing.md. `just` lists them; they need https://just.systems.

[private]
default:
    @just --list

# All tests that need nothing but the Rust toolchain
test *ARGS:
    cargo test --workspace {{ARGS}}

# Formatting and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The documentation, without warnings
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The public API against its lists; --update writes them anew
api *ARGS:
    scripts/public-api {{ARGS}}

# All that must pass
ci:
    .ci/run

# The same with larger numbers, for hours
long:
    .ci/long

# The oldest Rust that Cargo.toml promises builds all that is published
msrv:
    scripts/msrv

# Each package builds from what is in it
package:
    scripts/package

# Licences, duplicates, sources (cargo install cargo-deny)
deny:
    cargo deny --workspace check licenses bans sources

# Known vulnerabilities; fetches the RustSec database
advisories:
    cargo deny --workspace check advisories

# The loom models; LOOM_MAX_PREEMPTIONS=3 tries more
models *FILTER:
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --lib tests::loom::{{FILTER}}

# Planted bugs, all or those that a word names
planted *WORD:
    CARGO_TARGET_DIR=target/loom scripts/planted {{WORD}}

# Changes of the library that its tests must notice; --only TEXT tries some
mutants *ARGS:
    scripts/mutants {{ARGS}}

# Random cases against a naive model, others each time
property CASES="1000000":
    PROPTEST_CASES={{CASES}} PROPTEST_RNG_SEED=$(date +%s) cargo test --release --lib property:: -- --nocapture

# Simulated crashes and power cuts
simulate SEEDS="100000":
    BUFFEREDWRITER_SEEDS={{SEEDS}} cargo test --release --lib simulator:: -- --nocapture

# Hostile files for what a recovery reads
fuzz RUNS="1000000":
    scripts/fuzz {{RUNS}}

# Faults of the disk for some seconds
soak SECONDS="60":
    cargo run --release -p bufferedwriter-stress --bin soak -- --seconds {{SECONDS}}

# AddressSanitizer and ThreadSanitizer
sanitize WRITERS="1000":
    scripts/sanitize {{WRITERS}}

# Real disks that are full, frozen, broken, cut off (root)
disks ROUNDS="1":
    scripts/full-disk {{ROUNDS}}
    scripts/frozen-disk {{ROUNDS}}
    scripts/power-cut {{ROUNDS}}
    scripts/bad-disk {{ROUNDS}}
    scripts/kill-everywhere

# Instructions of a write (valgrind)
instructions:
    scripts/instructions

# All benchmarks, for an hour, on the disk of DIR
bench DIR=".":
    cargo run --release --manifest-path crates/bench/Cargo.toml -- all --dir {{DIR}}
