//! Fuzzes the decoder `segment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::segment(data);
});
