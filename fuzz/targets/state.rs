//! State files that an enemy wrote: see `src/tests/recovery/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bufferedwriter::fuzz::state(input));
