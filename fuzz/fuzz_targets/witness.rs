#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| latido_fuzz::witness(data));
