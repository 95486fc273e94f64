#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| latido_fuzz::ha_cf(data));
