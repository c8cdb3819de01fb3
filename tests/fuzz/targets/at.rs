//! Fuzzes the decoder `at`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::at(data);
});
