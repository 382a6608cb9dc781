//! How long a request may take: until it is answered, and how long its body may pause meanwhile. What
//! streams its answer has answered once it begins; an import watches over its upload by itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _};
use infra::problem::Problem;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Takes uploads for as long as they go on, and watches over them by itself.
const IMPORT: &str = "/v1/import/slack";

/// Take files for as long as they come, and look at those that are complete.
const FILES: [&str; 2] = ["/v1/attachments", "/v1/attachments/{attachment}"];

/// How long one request with a part of a file may take.
const FILE_MAX: Duration = Duration::from_hours(1);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Until a request is answered.
    pub(super) request_max: Duration,
    /// From one piece of its body to the next.
    pub(super) body_max: Duration,
}

/// Answers 408 `request_timeout` where a request takes too long. What it began is given up, as when a
/// client hangs up: a command that was accepted is carried out all the same, and its retry finds it.
pub(super) async fn bound(
    State(timeouts): State<Timeouts>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str);
    if route == IMPORT {
        return next.run(request).await;
    }
    let request_max = if FILES.contains(&route) {
        FILE_MAX.max(timeouts.request_max)
    } else {
        timeouts.request_max
    };
    let (request, stalled) = watched(request, timeouts.body_max);
    tokio::select! {
        response = next.run(request) => response,
        () = stalled => Problem::request_timeout("the body stopped coming").into_response(),
        () = sleep(request_max) => {
            Problem::request_timeout("try again, with the same Idempotency-Key").into_response()
        }
    }
}

/// The request with a body that is watched, and what happens when the body pauses for longer than
/// `body_max`.
fn watched(request: Request, body_max: Duration) -> (Request, impl Future<Output = ()>) {
    let (stalls, stalled) = oneshot::channel();
    let is_empty = request.body().is_end_stream();
    let request = if is_empty {
        request
    } else {
        request.map(|body| {
            Body::from_stream(Watched {
                body: body.into_data_stream(),
                pause_max: body_max,
                pause: None,
                stalls: Some(stalls),
            })
        })
    };
    let stalled = async move {
        // A body that was read or dropped does not stall any more.
        if stalled.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    (request, stalled)
}

/// A body that tells when it pauses for too long.
struct Watched {
    body: BodyDataStream,
    pause_max: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    stalls: Option<oneshot::Sender<()>>,
}

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let watched = &mut *self;
        let next = watched.body.poll_next_unpin(context);
        if next.is_ready() {
            watched.pause = None;
            return next;
        }
        let ends_at = Instant::now() + watched.pause_max;
        let pause = watched
            .pause
            .get_or_insert_with(|| Box::pin(sleep_until(ends_at)));
        if pause.as_mut().poll(context).is_ready()
            && let Some(stalls) = watched.stalls.take()
        {
            // Nobody waits for it where the request was answered meanwhile.
            let _ = stalls.send(());
        }
        Poll::Pending
    }
}
