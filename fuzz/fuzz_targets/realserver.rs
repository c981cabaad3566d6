//! What the tools of a real server print, and the frames a probe hears.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    realserver::report::fuzz_frame(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        realserver::live::fuzz_listings(text);
    }
});
