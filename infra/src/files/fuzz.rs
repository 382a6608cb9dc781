//! Whatever comes as a file is of a type, and a picture or a broken one: nothing panics, and what is held at
//! once is bounded. See `cargo xtask fuzz`.

use allocation_counter::measure;
use bolero::check;
use bytes::Bytes;
use domain::values::MediaType;

use super::pictures::DECODING_BYTES_MAX;
use super::{SNIFFED_BYTES, clean, sniff};

/// The first line is what the file is said to be.
#[test]
fn sniffing() {
    check!().for_each(|bytes: &[u8]| {
        let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
        let (Some(declared), Some(file)) = (lines.next(), lines.next()) else {
            return;
        };
        let declared = MediaType::parse(&String::from_utf8_lossy(declared)).ok();
        let head = &file[..file.len().min(SNIFFED_BYTES)];
        let Ok(found) = sniff(head, declared.as_ref()) else {
            return;
        };
        // What it was found to be it may be said to be.
        assert_eq!(sniff(head, Some(&found)).as_ref(), Ok(&found));
    });
}

#[test]
fn pictures() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(media_type) = sniff(bytes, None) else {
            return;
        };
        let file = Bytes::copy_from_slice(bytes);
        let held = measure(|| drop(clean(&file, &media_type))).bytes_max;
        // The picture, turned, and small.
        let most = 2 * DECODING_BYTES_MAX + 64 * bytes.len() as u64;
        assert!(held <= most, "{held} bytes for {}", bytes.len());
    });
}
