//! Fuzzes the decoder `end_index`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::end_index(data);
});
