//! Fuzzes the decoder `parent`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::parent(data);
});
