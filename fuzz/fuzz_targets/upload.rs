#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eva_voice::fuzzing::upload(bytes));
