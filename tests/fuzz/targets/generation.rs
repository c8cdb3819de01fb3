//! Fuzzes the decoder `generation`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::generation(data);
});
