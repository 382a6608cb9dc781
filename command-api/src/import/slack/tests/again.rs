//! Imports that are repeated, interrupted, followed, or of real size.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use infra::clock::Clock;
use infra::event_store::{EventStore, MemoryEventStore};
use serde_json::json;

use super::harness::*;
use crate::import::slack::*;

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let server = Server::new();
    let folder = small().folder();
    let first = server.import(folder.path()).await;
    let head = server.head();
    for _ in 0..2 {
        let second = server.import(folder.path()).await;
        assert_eq!(server.head(), head);
        for (first, second) in [
            (first.users, second.users),
            (first.conversations, second.conversations),
            (first.messages, second.messages),
            (first.edits, second.edits),
            (first.reactions, second.reactions),
        ] {
            assert_eq!((second.made, second.existing), (0, first.made));
        }
        assert_eq!(second.skipped, first.skipped);
    }
}

#[tokio::test]
async fn a_newer_export_adds_what_is_new() {
    let server = Server::new();
    server.import(small().folder().path()).await;
    let newer = small().json(
        "general/2020-01-03.json",
        &json!([{"user": "U1", "ts": "1578009600.000000", "text": "news",
                 "thread_ts": "1577836800.000100"}]),
    );
    let report = server.import(newer.folder().path()).await;
    assert_eq!(
        report.messages,
        Count {
            made: 1,
            existing: 5
        }
    );
    let told = told(&server, ids::conversation("C1")).await;
    assert_eq!(told.last().unwrap(), "U1: news to 2");
}

/// Lets `future` be polled so often, then drops it.
async fn interrupted<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ready = poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(value) = ready.await {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn an_import_that_was_interrupted_goes_on_as_if_it_had_not_been() {
    let folder = many(3, 40).folder();
    let whole = Server::new();
    whole.import(folder.path()).await;
    let expected = whole.history().await;
    let mut polls = 1;
    let mut interruptions = 0;
    loop {
        let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(Clock::system()));
        let before = Server::on(Arc::clone(&store));
        let export = Export::open(folder.path()).unwrap();
        let import = import(&before.api, export, operator(), |_| {});
        let done = interrupted(import, polls).await.is_some();
        before.api.close().await;
        let after = Server::on(store);
        after.import(folder.path()).await;
        assert_eq!(after.history().await, expected, "after {polls} polls");
        if done {
            break;
        }
        interruptions += 1;
        polls = polls * 3 / 2 + 1;
    }
    assert!(interruptions > 5, "only {interruptions} interruptions");
}

#[tokio::test]
async fn progress_grows_to_the_end() {
    let server = Server::new();
    let folder = many(3, 600).folder();
    let mut told: Vec<Progress> = Vec::new();
    let export = Export::open(folder.path()).unwrap();
    let report = import(&server.api, export, operator(), |at| told.push(at));
    let report = report.await.unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.files, last.files_total), (5, 5));
    assert_eq!(last.messages, report.messages.total());
    assert_eq!(last.users, report.users.total());
    assert!(told.is_sorted_by_key(|at| (at.files, at.messages)));
    assert!(told.len() > 5 + 2);
}

#[tokio::test]
async fn an_import_into_a_server_that_shuts_down_stops() {
    let server = Server::new();
    server.api.close().await;
    let folder = small().folder();
    let export = Export::open(folder.path()).unwrap();
    let stopped = import(&server.api, export, operator(), |_| {}).await;
    assert_eq!(stopped.unwrap_err().code, "shutting_down");
}

/// Only where the data is at hand: two years of a real channel. `VERBATIM_SLACK_EXPORT` names it, or
/// it stands beside the project.
#[tokio::test]
async fn two_years_of_a_real_channel() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/slack-racket");
    let path = std::env::var_os("VERBATIM_SLACK_EXPORT").map_or(beside, PathBuf::from);
    if !path.exists() {
        return;
    }
    let server = Server::new();
    let report = server.import(&path).await;
    assert_eq!(report.messages.made, 22_172);
    assert_eq!(report.users.made, 326);
    assert_eq!(report.messages_without_text, 1);
    assert_eq!(report.skipped, BTreeMap::new());
    let head = server.head();
    let again = server.import(&path).await;
    assert_eq!(
        again.messages,
        Count {
            made: 0,
            existing: 22_172
        }
    );
    assert_eq!(server.head(), head);
}
