//! Target `bundles`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| syncline_fuzz::bundles::run(data));
