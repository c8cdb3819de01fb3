//! Fuzzes the decoder `tree`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::tree(data);
});
