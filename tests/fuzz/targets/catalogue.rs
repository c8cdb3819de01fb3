//! Fuzzes the decoder `catalogue`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::catalogue(data);
});
