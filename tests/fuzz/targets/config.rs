//! Fuzzes the decoder `config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::config(data);
});
