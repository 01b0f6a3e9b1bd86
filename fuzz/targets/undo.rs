//! See `xtask/src/fuzz/target.rs`.
#![no_main]

#[allow(dead_code, reason = "the other targets' are in it as well")]
#[path = "../../xtask/src/fuzz/target.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::undo(input));
