//! Fuzzes the decoder `end_sections`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::end_sections(data);
});
