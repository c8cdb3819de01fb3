//! Fuzzes the decoder `slot`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::slot(data);
});
