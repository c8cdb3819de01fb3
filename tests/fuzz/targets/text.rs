//! Fuzzes the decoder `text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::text(data);
});
