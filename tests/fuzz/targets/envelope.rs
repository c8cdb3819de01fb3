//! Fuzzes the decoder `envelope`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::envelope(data);
});
