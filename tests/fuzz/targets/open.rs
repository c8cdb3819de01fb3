//! Fuzzes the decoder `open`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::open_record(data);
});
