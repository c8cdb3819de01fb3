//! Fuzzes the decoder `references`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::references(data);
});
