//! Fuzzes the decoder `rewrap`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::rewrap(data);
});
