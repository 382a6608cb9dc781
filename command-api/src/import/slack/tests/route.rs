//! The route.

use std::fs::{self};
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use domain::conversation::{ConversationEvent, Role};
use domain::user::SystemRole;
use domain::{Actor, Event, StreamName, UserId};
use infra::problem::Problem;
use tower::ServiceExt as _;

use super::harness::*;
use crate::import::slack::*;

/// The route of a server with an admin.
struct Door {
    server: Server,
    route: SlackDoor,
    admin: UserId,
    token: String,
    spool: tempfile::TempDir,
}

impl Door {
    async fn new(zip_bytes_max: u64) -> Self {
        let server = Server::new();
        let (admin, token) = server.user("boss", Some(SystemRole::Admin)).await;
        let spool = tempfile::tempdir().unwrap();
        let route = SlackDoor::new(
            server.api.clone(),
            Arc::clone(&server.guard),
            spool.path().join("spool"),
            zip_bytes_max,
        );
        Self {
            server,
            route,
            admin,
            token,
            spool,
        }
    }

    async fn post(&self, token: &str, media_type: &str, body: impl Into<Body>) -> Response {
        let request = Request::post("/v1/import/slack")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", media_type)
            .body(body.into())
            .unwrap();
        let (router, _) = routes(self.route.clone()).split_for_parts();
        router.oneshot(request).await.unwrap()
    }

    async fn refused(&self, token: &str, media_type: &str, body: impl Into<Body>) -> Problem {
        let response = self.post(token, media_type, body).await;
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    }
}

const ZIP: &str = "application/zip";

async fn lines(response: Response) -> Vec<Line> {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    String::from_utf8(bytes.unwrap().to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn an_admin_imports_over_http_and_owns_the_channels() {
    let door = Door::new(1 << 20).await;
    let response = door.post(&door.token, ZIP, small().zipped("")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let lines = lines(response).await;
    let Some((Line::Done(report), progress)) = lines.split_last() else {
        panic!("{lines:?}");
    };
    assert_eq!(report.messages.made, 5);
    assert!(
        progress
            .iter()
            .all(|line| matches!(line, Line::Progress(_)))
    );
    assert!(!progress.is_empty());
    let stream = StreamName::conversation(ids::conversation("C1"));
    let started = door.server.stream(&stream).await.remove(0);
    assert_eq!(started.metadata().unwrap().actor, Actor::User(door.admin));
    let Ok(Event::Conversation(ConversationEvent::Started(started))) = started.event() else {
        panic!("{started:?}");
    };
    assert_eq!(
        (started.members[0].user, started.members[0].role),
        (door.admin, Role::Owner)
    );
    assert_eq!(
        fs::read_dir(door.spool.path().join("spool"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn what_cannot_be_imported_over_http_is_refused() {
    let door = Door::new(10_000).await;
    let (_, member) = door.server.user("member", None).await;
    let (_, auditor) = door.server.user("auditor", Some(SystemRole::Auditor)).await;
    let zip = small().zipped("");
    assert_eq!(door.refused("no token", ZIP, zip.clone()).await.status, 401);
    for token in [&member, &auditor] {
        let problem = door.refused(token, ZIP, zip.clone()).await;
        assert_eq!((problem.status, problem.code.as_str()), (403, "forbidden"));
    }
    let text = door.refused(&door.token, "text/plain", zip).await;
    assert_eq!(
        (text.status, text.code.as_str()),
        (415, "unsupported_media_type")
    );
    let garbage = door.refused(&door.token, ZIP, "garbage").await;
    assert_eq!(
        (garbage.status, garbage.code.as_str()),
        (422, "unreadable_export")
    );
    let large = door.refused(&door.token, ZIP, vec![0; 10_001]).await;
    assert_eq!((large.status, large.code.as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn one_import_runs_at_a_time_and_stops_when_nobody_listens() {
    let door = Door::new(1 << 20).await;
    let (upload, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = futures::stream::unfold(body, |mut body| async {
        body.recv().await.map(|chunk| (chunk, body))
    });
    let first = door.post(&door.token, ZIP, Body::from_stream(body));
    let mut first = pin!(first);
    let zip = many(3, 2_000).zipped("");
    // The first import has its turn once it reads its body.
    let (half, rest) = zip.split_at(zip.len() / 2);
    upload.send(Ok(half.to_vec())).await.unwrap();
    let taken = async {
        upload.send(Ok(rest.to_vec())).await.unwrap();
        upload.reserve().await.unwrap();
    };
    tokio::select! {
        _ = &mut first => panic!("the upload has not ended"),
        () = taken => {}
    }
    let second = door.refused(&door.token, ZIP, small().zipped("")).await;
    assert_eq!(
        (second.status, second.code.as_str()),
        (409, "import_running")
    );
    drop(upload);
    let response = first.await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    // Hanging up ends the import, and the next one gets its turn and finishes the work.
    let lines = loop {
        let response = door.post(&door.token, ZIP, zip.clone()).await;
        if response.status() == StatusCode::OK {
            break lines(response).await;
        }
        assert_eq!(response.status(), StatusCode::CONFLICT);
        tokio::task::yield_now().await;
    };
    let Some(Line::Done(report)) = lines.last() else {
        panic!("{lines:?}");
    };
    assert_eq!(report.messages.total(), 5 + 3 * 2_000);
}
