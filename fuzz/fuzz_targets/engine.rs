//! Courses of frames, answers, ICMP errors, reloads and time through a populated director with two workers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sim::course::play(bytes);
});
