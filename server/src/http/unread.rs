//! What a handler leaves unread of a request's body. An answer given before the body was read, such as
//! a refusal, would be lost: the client or the proxy is still sending, finds the connection closed,
//! and reports that. So the rest is taken and thrown away first, within bounds.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt as _};
use tokio::sync::oneshot;

/// Most that is thrown away; who sends more sees the connection close.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest that is waited for it.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A body that is handed back where it is dropped before its end.
struct Lent {
    body: Option<BodyDataStream>,
    back: Option<oneshot::Sender<BodyDataStream>>,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let next = ready!(body.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Where nobody waits for it any more it goes, and the connection with it.
            drop(back.send(body));
        }
    }
}

/// Answers once the body is read, by the handler or here.
pub(super) async fn drain(request: Request, next: Next) -> Response {
    let waits_to_send = request.headers().contains_key(header::EXPECT);
    if request.body().is_end_stream() || waits_to_send {
        return next.run(request).await;
    }
    let (back, mut rest) = oneshot::channel();
    let request = request.map(|body| {
        Body::from_stream(Lent {
            body: Some(body.into_data_stream()),
            back: Some(back),
        })
    });
    let response = next.run(request).await;
    // Who was too slow already is not waited for again.
    if response.status() == StatusCode::REQUEST_TIMEOUT {
        return response;
    }
    if let Ok(rest) = rest.try_recv() {
        // Late or cut off, the answer is the same.
        let _ = tokio::time::timeout(TIME_MAX, discard(rest)).await;
    }
    response
}

async fn discard(mut rest: BodyDataStream) {
    let mut taken = 0;
    while let Some(Ok(bytes)) = rest.next().await {
        taken += bytes.len();
        if taken > BYTES_MAX {
            return;
        }
    }
}
