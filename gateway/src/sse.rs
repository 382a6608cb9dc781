//! The same events as Server-Sent Events, for clients that cannot have a WebSocket: one way, with
//! the cursor as the event's id.
//!
//! The body is pulled by the socket, so a slow reader holds up nobody but itself, and what waits is
//! what HTTP buffers.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use infra::clock::fresh_id;
use infra::problem::Problem;
use tokio::time::Instant;
use uuid::Uuid;

use crate::entry::Outgoing;
use crate::feed::{Ended, Feed, Refused, admit};
use crate::frames::{Close, ServerFrame};
use crate::gateway::Gateway;
use crate::session::problem_of;
use crate::shutdown::{Connection, jitter_of};

/// Follow conversations as Server-Sent Events
///
/// Each event's name is the frame's `op`, its data the frame, its id the cursor. Send the last id as
/// `Last-Event-ID` to go on from there. There are no commands, no subscriptions and no heartbeats to
/// send. A last event `error` or `reconnect` says why the stream ends.
#[utoipa::path(
    get,
    path = "/v1/stream/sse",
    tag = "stream",
    security(("bearer" = [])),
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The last cursor you got"),
    ),
    responses(
        (status = 200, description = "Frames, as they come", body = ServerFrame, content_type = "text/event-stream"),
        (status = 401, description = "No token, or one that is worth nothing", body = Problem),
        (status = 422, description = "The cursor is of another user or another log", body = Problem),
        (status = 429, description = "More conversations than one connection can follow", body = Problem),
        (status = 503, description = "Too many connections, draining, or something is away", body = Problem),
    )
)]
pub(crate) async fn stream_sse(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let token = bearer(&headers).ok_or_else(|| {
        Problem::unauthenticated("send a token in the header Authorization: Bearer …")
    })?;
    let cursor = headers
        .get("last-event-id")
        .map(|cursor| cursor.to_str().unwrap_or_default())
        .filter(|cursor| !cursor.is_empty());
    let connection = gateway.connections.enter().map_err(problem_of)?;
    let (feed, first, caller) = match admit(&gateway, token, cursor).await {
        Ok(admitted) => admitted,
        Err(Refused::Problem(problem) | Refused::Close(_, problem)) => return Err(*problem),
    };
    let left = caller.expires_at - gateway.clock.now();
    let stream = EventStream {
        gateway,
        connection,
        id: fresh_id(),
        expires: Instant::now().checked_add(left.to_std().unwrap_or_default()),
        feed,
        first,
        has_ended: false,
    };
    let chunks = futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), stream))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    let event_stream = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, event_stream);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of the nginx kind hold back answers unless told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

struct EventStream {
    gateway: Arc<Gateway>,
    connection: Connection,
    id: Uuid,
    expires: Option<Instant>,
    feed: Feed,
    first: Vec<Outgoing>,
    has_ended: bool,
}

impl EventStream {
    /// The next bytes, or the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Some(self.chunk(&first));
        }
        let login_ends = self.expires;
        let expired = async {
            match login_ends {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frames = self.feed.next() => match frames {
                Ok(frames) => Some(self.chunk(&frames)),
                Err(Ended::Close(close)) => Some(self.last(close)),
                Err(Ended::Failure(failure)) => {
                    tracing::error!(session = %self.id, %failure, "a connection cannot be served");
                    Some(self.last(Close::TryAgain))
                }
            },
            () = self.connection.draining() => Some(self.last(Close::Draining)),
            () = expired => Some(self.last(Close::Unauthenticated)),
            () = tokio::time::sleep(self.gateway.limits.heartbeat_every) => {
                // Only an id: no event for the client, but a newer cursor to come back with.
                Some(format!("id: {}\n\n", self.feed.newest_cursor()).into())
            }
        }
    }

    fn chunk(&self, frames: &[Outgoing]) -> Bytes {
        use std::fmt::Write as _;
        metrics::counter!("gateway_frames_sent_total").increment(frames.len() as u64);
        let tag = self.feed.tag();
        let mut text = String::new();
        for frame in frames {
            let id = match frame {
                Outgoing::Event(_, position) => Some(tag.at(*position)),
                Outgoing::Frame(
                    ServerFrame::Ready { cursor, .. }
                    | ServerFrame::Resumed { cursor, .. }
                    | ServerFrame::CaughtUp { cursor, .. },
                ) => Some(cursor.clone()),
                Outgoing::Frame(_) => None,
            };
            if let Some(id) = id {
                // Writing to a string cannot fail; JSON has no line breaks.
                let _ = writeln!(text, "id: {id}");
            }
            let _ = write!(
                text,
                "event: {}\ndata: {}\n\n",
                op_of(frame),
                frame.render(tag)
            );
        }
        text.into()
    }

    /// What is said last.
    fn last(&mut self, close: Close) -> Bytes {
        self.has_ended = true;
        if close == Close::Draining {
            let after = jitter_of(self.id, self.gateway.limits.reconnect_jitter_max);
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            let mut text = format!("retry: {after_ms}\n").into_bytes();
            let frame = Outgoing::Frame(ServerFrame::Reconnect { after_ms });
            text.extend_from_slice(&self.chunk(&[frame]));
            return text.into();
        }
        let problem = close.problem();
        self.chunk(&[Outgoing::Frame(ServerFrame::Error { id: None, problem })])
    }
}

fn op_of(frame: &Outgoing) -> &'static str {
    match frame {
        Outgoing::Event(..) => "event",
        Outgoing::Frame(frame) => frame.op(),
    }
}
