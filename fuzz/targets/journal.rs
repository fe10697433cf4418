//! Journals of published files that an enemy wrote: see `src/tests/recovery/journals.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bufferedwriter::fuzz::journal(input));
