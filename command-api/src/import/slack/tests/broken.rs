//! Exports that are broken or mean harm.

use std::fs::{self, File};
use std::path::Path;

use serde_json::json;

use super::harness::*;
use crate::import::slack::*;

#[tokio::test]
async fn broken_records_are_named_and_the_rest_goes_on() {
    let server = Server::new();
    let draft = small()
        .with(
            "general/2020-01-03.json",
            "[\n{\"user\": \"U1\", \"ts\": \"1578009600.000000\", \"text\": \"good\"},\n\
             {\"user\": \"U1\", \"ts\": \"soon\", \"text\": \"bad\"},\n\
             {\"user\": \"U1\",\n \"ts\": oops},\n\
             {\"user\": \"U2\", \"ts\": \"1578009601.000000\", \"text\": \"good too\"}\n]",
        )
        .with("general/2020-01-04.json", "not json at all")
        .with(
            "general/2020-01-05.json",
            "[{\"user\": \"U1\", \"ts\": \"1578182400.000000\", \"text\": \"last\"}]",
        )
        .with("general/notes.json", "[]")
        .with("integration_logs.json", "[]")
        .with("lost/2020-01-01.json", "[]");
    let report = server.import(draft.folder().path()).await;
    assert_eq!(report.messages.made, 5 + 3);
    let named: Vec<_> = report
        .skipped_named
        .iter()
        .map(|s| (s.file.as_str(), s.record, s.line, s.reason))
        .collect();
    assert_eq!(
        named,
        [
            ("integration_logs.json", None, None, Reason::UnknownFile),
            ("general/notes.json", None, None, Reason::UnknownFile),
            ("lost", None, None, Reason::UnlistedFolder),
            (
                "general/2020-01-03.json",
                Some(2),
                Some(3),
                Reason::MalformedRecord
            ),
            (
                "general/2020-01-03.json",
                Some(3),
                Some(5),
                Reason::MalformedRecord
            ),
            (
                "general/2020-01-04.json",
                None,
                Some(1),
                Reason::MalformedRecord
            ),
        ]
    );
    assert!(report.skipped_named[3].detail.contains("soon"));
    let told = told(&server, ids::conversation("C1")).await;
    assert_eq!(
        told[told.len() - 3..],
        ["U1: good", "U2: good too", "U1: last"]
    );
}

#[tokio::test]
async fn repeated_and_late_messages_are_told() {
    let server = Server::new();
    let draft = small().json(
        "general/2020-01-03.json",
        &json!([
            {"user": "U1", "ts": "1577836800.000100", "text": "again"},
            {"user": "U1", "ts": "1577836800.500000", "text": "late"},
        ]),
    );
    let report = server.import(draft.folder().path()).await;
    assert_eq!(report.skipped[&Reason::Repeated], 1);
    assert_eq!(report.messages_out_of_order, 1);
    assert_eq!(report.messages.made, 6);
}

#[tokio::test]
async fn a_text_that_fits_no_event_is_left_out() {
    let server = Server::new();
    let text = "\u{1}".repeat(128 * 1024);
    let draft = small().json(
        "general/2020-01-03.json",
        &json!([
            {"user": "U1", "ts": "1578009600.000000", "text": text},
            {"user": "U1", "ts": "1578009601.000000", "text": format!("{text}."),
             "reactions": [{"name": "x", "users": ["U1"]}]},
        ]),
    );
    let report = server.import(draft.folder().path()).await;
    assert_eq!(report.messages.made, 6);
    assert_eq!(report.skipped[&Reason::TextTooLong], 1);
}

#[tokio::test]
async fn a_zip_bomb_is_left_out() {
    let server = Server::new();
    let bomb = vec![b' '; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
    let draft = small().with("general/2020-01-03.json", bomb);
    let folder = tempfile::tempdir().unwrap();
    let report = server.import(&draft.zip(folder.path())).await;
    assert_eq!(report.messages.made, 5);
    let named = &report.skipped_named[0];
    assert_eq!(named.reason, Reason::UnreadableFile);
    assert_eq!(named.file, "general/2020-01-03.json");
}

#[tokio::test]
async fn names_that_lead_out_of_a_zip_are_not_taken() {
    let server = Server::new();
    let evil = [
        "../evil.json",
        "general/../../evil.json",
        "/evil.json",
        "general\\2020-01-09.json",
        "c:evil.json",
    ];
    let mut draft = small();
    for name in evil {
        draft = draft.with(name, "[]");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil.zip");
    fs::write(&path, draft.zipped("")).unwrap();
    let report = server.import(&path).await;
    assert_eq!(report.messages.made, 5);
    let taken = report
        .skipped_named
        .iter()
        .filter(|s| s.reason == Reason::UnsafeName);
    assert_eq!(taken.count(), report.skipped_named.len());
    assert!(report.skipped[&Reason::UnsafeName] >= 3, "{report:?}");
}

#[test]
fn what_is_no_export_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| Export::open(path).unwrap_err();
    assert!(matches!(open(folder.path()), ExportUnreadable::NotAnExport));
    let file = folder.path().join("file");
    fs::write(&file, "no zip").unwrap();
    assert!(matches!(open(&file), ExportUnreadable::Zip(_)));
    assert!(matches!(
        open(&folder.path().join("absent")),
        ExportUnreadable::Io(_)
    ));
    let empty = folder.path().join("empty.zip");
    fs::write(&empty, Draft::default().zipped("")).unwrap();
    let empty = Export::of_zip(File::open(&empty).unwrap()).unwrap_err();
    assert!(matches!(empty, ExportUnreadable::NotAnExport));
}
