//! Whatever comes from outside is taken or refused: nothing panics, and what is held at once is bounded
//! by the length of what came. `cargo xtask fuzz` searches for what breaks this; here everything that
//! was ever found is tried again.

use std::collections::BTreeSet;

use allocation_counter::measure;
use bolero::check;

use crate::conversation::Mention;
use crate::event::Event;
use crate::values::{DisplayName, Email, Emoji, Handle, Locale, MessageBody, TimeZone, Title};

/// Reads what came, and fails where that takes memory out of proportion.
fn bounded(bytes: &[u8], read: impl FnOnce(&[u8])) {
    let held = measure(|| read(bytes)).bytes_max;
    let most = 64 * 1024 + 64 * bytes.len() as u64;
    assert!(held <= most, "{held} bytes for {}", bytes.len());
}

#[test]
fn markdown() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        bounded(bytes, |_| {
            if let Ok(body) = MessageBody::parse_markdown(&text) {
                assert_eq!(body.as_str(), text);
            }
        });
    });
}

#[test]
fn mentions() {
    check!().for_each(|bytes: &[u8]| {
        bounded(bytes, |bytes| {
            let Ok(mentions) = serde_json::from_slice::<BTreeSet<Mention>>(bytes) else {
                return;
            };
            let again = serde_json::to_vec(&mentions).expect("mentions are JSON");
            let read = serde_json::from_slice::<BTreeSet<Mention>>(&again);
            assert_eq!(read.expect("what was written is read"), mentions);
        });
    });
}

/// The first line is the type and the schema of an event, the rest its data.
#[test]
fn events() {
    check!().for_each(|bytes: &[u8]| {
        let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
        let (Some(head), Some(data)) = (lines.next(), lines.next()) else {
            return;
        };
        let head = String::from_utf8_lossy(head);
        let Some((event_type, schema)) = head.rsplit_once('.') else {
            return;
        };
        let Ok(schema) = schema.parse() else { return };
        bounded(bytes, |_| {
            let Ok(event) = Event::decode(event_type, schema, data) else {
                return;
            };
            let again = event.encode().expect("what was read is written");
            let read = Event::decode(event_type, event.schema(), &again);
            assert_eq!(read.expect("what was written is read"), event);
        });
    });
}

#[test]
fn values() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        bounded(bytes, |_| {
            let _parsed = (
                DisplayName::parse(&text),
                Email::parse(&text),
                Emoji::parse(&text),
                Handle::parse(&text),
                Locale::parse(&text),
                TimeZone::parse(&text),
                Title::parse(&text),
            );
        });
    });
}
