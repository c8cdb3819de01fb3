//! Fuzzes the decoder `snapshot`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::snapshot(data);
});
