//! Fuzzes the decoder `list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::list(data);
});
