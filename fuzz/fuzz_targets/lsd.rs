#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| minitorrent_fuzz::bodies::lsd(bytes));
