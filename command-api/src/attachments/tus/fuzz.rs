//! Whatever is said of a file before it comes is read or refused. See `cargo xtask fuzz`.

use axum::http::{HeaderMap, HeaderValue};
use bolero::check;

use super::declared;

#[test]
fn metadata() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else {
            return;
        };
        let mut headers = HeaderMap::new();
        headers.insert("upload-metadata", value);
        if let Err(problem) = declared(&headers) {
            assert_eq!(problem.status, 400, "{problem:?}");
        }
    });
}
