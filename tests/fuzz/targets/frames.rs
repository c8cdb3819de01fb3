//! Fuzzes the decoder `frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::frames(data);
});
