//! Fuzzes the decoder `end_maintenance`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::end_maintenance(data);
});
