//! Whatever comes over a socket is a frame or refused: nothing panics, and what is held at once is
//! bounded by the length of what came. See `cargo xtask fuzz`.

use allocation_counter::measure;
use bolero::check;
use domain::UserId;
use infra::keys::Secret;
use uuid::Uuid;

use crate::cursor::CursorKey;
use crate::frames::{FrameInvalid, read};

#[test]
fn frames() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let held = measure(|| match read(&text) {
            Ok(_) | Err(FrameInvalid::Unreadable) => {}
            Err(FrameInvalid::Wrong { problem, .. }) => {
                assert!((400..500).contains(&problem.status), "{problem:?}");
            }
        });
        let most = 64 * 1024 + 64 * bytes.len() as u64;
        assert!(held.bytes_max <= most, "{held:?} for {}", bytes.len());
    });
}

#[test]
fn cursors() {
    let key = CursorKey::new(&Secret::new([7; 32]));
    let tag = key.tag_of(UserId(Uuid::from_u128(1)));
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if let Some(position) = tag.open(&text) {
            assert_eq!(tag.at(position), text, "there is one way to write it");
        }
    });
}
