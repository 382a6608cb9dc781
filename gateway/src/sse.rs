//! The same events as Server-Sent Events, for clients that cannot have a WebSocket: one way, with
//! the cursor as the event's id.
//!
//! One task each, which hands a piece of text to the socket as the socket takes it: a slow reader
//! holds up nobody but itself, and one that takes nothing for long is let go of and may resume.
//! What waits for it is one piece, and what HTTP buffers.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::StreamExt as _;
use infra::auth::SentToken;
use infra::clock::fresh_id;
use infra::http::Query;
use infra::problem::Problem;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::entry::Outgoing;
use crate::feed::{Ended, Feed, Refused, admit};
use crate::frames::{Activity, Close, ServerFrame};
use crate::gateway::Gateway;
use crate::session::problem_of;
use crate::shutdown::{Connection, jitter_of};

/// Never a cursor.
const NO_CURSOR: &str = "-";

/// Bytes of frames that are gathered before they are handed on; one larger frame goes alone.
const PIECE_BYTES: usize = 16 * 1024;

/// Pieces that wait for the socket; then whoever makes them waits, at most
/// [`crate::Limits::write_stalled_max`].
const PIECES_WAITING_MAX: usize = 1;

/// What is asked in the URL.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What is done on the connection.
    #[serde(default)]
    state: Activity,
}

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
        ("state" = Option<Activity>, Query, description = "What you do on this connection; `online` where you do not say"),
    ),
    responses(
        (status = 200, description = "Frames, as they come", body = ServerFrame, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_query`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or one that is worth nothing", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The cursor is of another user or another log", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "More conversations than one connection can follow", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many connections, draining, or something is away", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream_sse(
    State(gateway): State<Arc<Gateway>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Nothing is changed here, so that a cookie needs no proof besides.
    let token = SentToken::of(&headers)?.text();
    let cursor = headers
        .get("last-event-id")
        .filter(|cursor| !cursor.is_empty())
        // One that is no text is no cursor of ours, and is refused as such.
        .map(|cursor| cursor.to_str().unwrap_or(NO_CURSOR));
    let connection = gateway.connections.enter().map_err(problem_of)?;
    let (feed, first, caller) = match admit(&gateway, token, cursor, asked.state).await {
        Ok(admitted) => admitted,
        Err(Refused::Problem(problem) | Refused::Close(_, problem)) => return Err(*problem),
    };
    let left = caller.expires_at - gateway.clock.now();
    let left = left.to_std().unwrap_or_default();
    let (pieces, mut body) = mpsc::channel(PIECES_WAITING_MAX);
    let stream = EventStream {
        gateway,
        connection,
        id: fresh_id(),
        expires: Instant::now().checked_add(left),
        feed,
        pieces,
    };
    tokio::spawn(stream.run(first));
    let body = futures::stream::poll_fn(move |context| body.poll_recv(context));
    let body = body.map(Ok::<Bytes, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    let event_stream = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, event_stream);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of the nginx kind hold back answers unless told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct EventStream {
    gateway: Arc<Gateway>,
    connection: Connection,
    id: Uuid,
    expires: Option<Instant>,
    feed: Feed,
    pieces: mpsc::Sender<Bytes>,
}

/// What a stream sends next.
enum Next {
    Frames(Vec<Outgoing>),
    /// Only an id: no event for the client, but a newer cursor to come back with.
    Cursor(String),
    End(Close),
}

/// The other end is gone, or takes nothing.
struct Gone;

impl EventStream {
    async fn run(mut self, first: Vec<Outgoing>) {
        let mut sent = self.send(&first).await;
        while sent.is_ok() {
            sent = match self.next().await {
                Ok(Next::Frames(frames)) => self.send(&frames).await,
                Ok(Next::Cursor(cursor)) => self.hand_on(format!("id: {cursor}\n\n")).await,
                Ok(Next::End(close)) => {
                    // If this does not arrive either, the end of the stream says enough.
                    let _ = self.say_goodbye(close).await;
                    return;
                }
                Err(gone) => Err(gone),
            };
        }
    }

    async fn next(&mut self) -> Result<Next, Gone> {
        let login_ends = self.expires;
        let expired = async {
            match login_ends {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frames = self.feed.next() => match frames {
                Ok(frames) => Ok(Next::Frames(frames)),
                Err(Ended::Close(close)) => Ok(Next::End(close)),
                Err(Ended::Failure(failure)) => {
                    tracing::error!(session = %self.id, %failure, "a connection cannot be served");
                    Ok(Next::End(Close::TryAgain))
                }
            },
            () = self.connection.draining() => Ok(Next::End(Close::Draining)),
            () = expired => Ok(Next::End(Close::Unauthenticated)),
            () = self.pieces.closed() => Err(Gone),
            () = tokio::time::sleep(self.gateway.limits.heartbeat_every) => {
                Ok(Next::Cursor(self.feed.newest_cursor()))
            }
        }
    }

    async fn send(&self, frames: &[Outgoing]) -> Result<(), Gone> {
        metrics::counter!("verbatim_gateway_frames_sent_total").increment(frames.len() as u64);
        let mut piece = String::new();
        for frame in frames {
            let text = self.text(frame);
            if !piece.is_empty() && piece.len() + text.len() > PIECE_BYTES {
                self.hand_on(std::mem::take(&mut piece)).await?;
            }
            piece.push_str(&text);
        }
        if piece.is_empty() {
            return Ok(());
        }
        self.hand_on(piece).await
    }

    /// Gives a piece to the socket once that takes it.
    async fn hand_on(&self, piece: String) -> Result<(), Gone> {
        let stalled_max = self.gateway.limits.write_stalled_max;
        let handed = self.pieces.send_timeout(piece.into(), stalled_max).await;
        handed.map_err(|_| Gone)
    }

    fn text(&self, frame: &Outgoing) -> String {
        use std::fmt::Write as _;
        let tag = self.feed.tag();
        let id = match frame {
            Outgoing::Event(_, position) => Some(tag.at(*position)),
            Outgoing::Frame(
                ServerFrame::Ready { cursor, .. }
                | ServerFrame::Resumed { cursor, .. }
                | ServerFrame::CaughtUp { cursor, .. },
            ) => Some(cursor.clone()),
            Outgoing::Frame(_) => None,
        };
        let mut text = String::new();
        if let Some(id) = id {
            // Writing to a string cannot fail; JSON has no line breaks.
            let _ = writeln!(text, "id: {id}");
        }
        let (op, data) = (op_of(frame), frame.render(tag));
        let _ = write!(text, "event: {op}\ndata: {data}\n\n");
        text
    }

    async fn say_goodbye(&self, close: Close) -> Result<(), Gone> {
        if close == Close::Draining {
            let after = jitter_of(self.id, self.gateway.limits.reconnect_jitter_max);
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            let frame = Outgoing::Frame(ServerFrame::Reconnect { after_ms });
            let text = format!("retry: {after_ms}\n{}", self.text(&frame));
            return self.hand_on(text).await;
        }
        let problem = close.problem();
        let frame = Outgoing::Frame(ServerFrame::Error { id: None, problem });
        self.hand_on(self.text(&frame)).await
    }
}

fn op_of(frame: &Outgoing) -> &'static str {
    match frame {
        Outgoing::Event(..) => "event",
        Outgoing::Frame(frame) => frame.op(),
    }
}
