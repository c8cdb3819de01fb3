//! Fuzzes the decoder `mark`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::mark(data);
});
