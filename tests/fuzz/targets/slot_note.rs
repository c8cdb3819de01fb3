//! Fuzzes the decoder `slot_note`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::slot_note(data);
});
