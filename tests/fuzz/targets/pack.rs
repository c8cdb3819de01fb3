//! Fuzzes the decoder `pack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::pack_table(data);
});
