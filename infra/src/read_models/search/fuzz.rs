//! Whatever is looked for is a query or refused, and what matches can be marked in the text: nothing panics,
//! and what is held at once is bounded by the length of what came. See `cargo xtask fuzz`.

use allocation_counter::measure;
use bolero::check;

use super::{Query, tokens};

/// The first line is a query, the rest the text that is searched.
#[test]
fn queries() {
    check!().for_each(|bytes: &[u8]| {
        let came = String::from_utf8_lossy(bytes);
        let (query, text) = came.split_once('\n').unwrap_or((&came, ""));
        let held = measure(|| {
            let Ok(query) = Query::parse(query) else {
                return;
            };
            let _looked_up = query.lookups();
            let Some(found) = query.matches(text) else {
                return;
            };
            let mut end = 0;
            for span in found.spans {
                assert!(end <= span.start, "spans overlap");
                assert!(
                    text.get(span.clone())
                        .is_some_and(|marked| !marked.is_empty())
                );
                end = span.end;
            }
        });
        let most = 64 * 1024 + 1_024 * bytes.len() as u64;
        assert!(held.bytes_max <= most, "{held:?} for {}", bytes.len());
    });
}

#[test]
fn texts() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let held = measure(|| drop(tokens(&text))).bytes_max;
        let most = 64 * 1024 + 1_024 * bytes.len() as u64;
        assert!(held <= most, "{held} bytes for {}", bytes.len());
    });
}
