//! Target `captures`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| syncline_fuzz::captures::run(data));
