//! Fuzzes the decoder `blob`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::blob(data);
});
