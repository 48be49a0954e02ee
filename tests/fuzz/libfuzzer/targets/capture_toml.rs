//! Target `capture_toml`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| syncline_fuzz::capture_toml::run(data));
