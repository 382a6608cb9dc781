//! One WebSocket: who is at the other end, what they ask, what they are sent, and when it ends.
//!
//! One task each. It reads no further while too many commands run, and sends no further while the
//! socket takes nothing; in both cases nothing piles up here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::ConversationId;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{SinkExt as _, StreamExt as _};
use infra::auth::Caller;
use infra::auth::cookies::{TOKEN_COOKIE, cookie, is_same_origin};
use infra::clock::fresh_id;
use infra::commands::{Accepted, FrameCommand};
use infra::limits::Exceeded;
use infra::problem::Problem;
use infra::trace::TraceParent;
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::entry::{Outgoing, encode};
use crate::feed::{Ended, Feed, Refused, admit, conversation_not_found};
use crate::frames::{
    ClientFrame, Close, Envelope, FrameInvalid, Identify, Incoming, Renew, SUBPROTOCOL,
    ServerFrame, read,
};
use crate::gateway::Gateway;
use crate::hub::Hub;
use crate::shutdown::{Connection, NotTaken, jitter_of};

/// Bytes that a socket reads at once; all that an idle connection holds of its own.
const READ_BUFFER_BYTES: usize = 2 * 1024;

/// Bytes of frames that are gathered before they are written.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;

/// Bytes that may wait to be written: those gathered and the largest frame, an event of 1 MiB whose
/// every byte is escaped. Writing waits before it gets here.
const WRITE_BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a message that is still read to its end, so that the client learns why it is closed:
/// a connection that ends with unread bytes is reset. A larger one closes with 4400.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long the other end may take to answer that a connection closes.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// How long commands may go on after their connection ended. What is not done by then is given up;
/// its retry finds out how far it came.
const COMMANDS_FINISH_WITHIN: Duration = Duration::from_secs(10);

/// The least time between two typing signals of a connection in one conversation; those between
/// are lost.
const TYPING_EVERY: Duration = Duration::from_secs(1);

/// The longest that a connection lives without a fresh token.
const EXPIRES_WITHIN_MAX: Duration = Duration::from_hours(365 * 24);

/// After this many periods without a frame a client is taken for gone.
const SILENT_PERIODS_MAX: u32 = 2;

/// Follow conversations over a WebSocket
///
/// Subprotocol `verbatim.v1.json`. The frames are those of the schemas `ClientFrame` and
/// `ServerFrame`; any other `op` is a command, as over HTTP. The connection may be closed with 4400
/// (bad frame), 4401 (authenticate again), 4408 (timed out), 4409 (replaced by a newer connection),
/// 4413 (frame too large), 4429 (too many), 1012 (draining) or 1013 (try again). After 4401 (with a
/// new token), 4408, 4429, 1012 and 1013 the client may come back with its last cursor and misses
/// nothing. `renew` with a newer token in time avoids the 4401 at the end of the old one.
#[utoipa::path(
    get,
    path = "/v1/stream",
    tag = "stream",
    responses(
        (status = 101, description = "The connection is a WebSocket from here on"),
        (status = 400, description = "Not a WebSocket request, or without our subprotocol", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many connections, or draining", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let title = "This is for WebSockets only";
        Problem::new(rejection.status(), "websocket_required", title)
            .with_detail(rejection.body_text())
    })?;
    let asks_for_one = upgrade.requested_protocols().next().is_some();
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if asks_for_one && upgrade.selected_protocol().is_none() {
        let title = "None of these subprotocols is spoken here";
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "unknown_subprotocol", title)
                .with_detail(SUBPROTOCOL),
        );
    }
    let brought = Brought::with(&headers);
    let connection = gateway.connections.enter().map_err(problem_of)?;
    Ok(upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| Session::new(gateway, socket, connection, brought).run()))
}

/// What a client is told whose connection is not taken.
pub(crate) fn problem_of(why: NotTaken) -> Problem {
    let (code, title) = match why {
        NotTaken::TooMany => (
            "too_many_connections",
            "The server has too many connections",
        ),
        NotTaken::Draining => ("draining", "The server is about to stop"),
    };
    let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title);
    problem.retry_after_s = Some(1);
    problem
}

/// The token that an upgrade carried in a cookie.
enum Brought {
    /// There was none.
    Nothing,
    /// One, from a page of our own host.
    Token(String),
    /// One, but from a page of another host, or from no page: the browser sends cookies along with
    /// whatever page asks for a WebSocket, and lets that page speak.
    FromElsewhere,
}

impl Brought {
    fn with(headers: &HeaderMap) -> Self {
        match cookie(headers, TOKEN_COOKIE) {
            None => Self::Nothing,
            Some(token) if is_same_origin(headers) => Self::Token(token.to_owned()),
            Some(_) => Self::FromElsewhere,
        }
    }

    /// The token to identify with where the frame had none.
    fn token(&self) -> Result<String, Problem> {
        match self {
            Self::Token(token) => Ok(token.clone()),
            Self::Nothing => Err(Problem::unauthenticated("send a token in identify")),
            Self::FromElsewhere => {
                let title = "This page may not use the cookie";
                let problem = Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", title);
                Err(problem.with_detail("the header Origin does not name the host of this server"))
            }
        }
    }
}

struct Session {
    gateway: Arc<Gateway>,
    socket: WebSocket,
    connection: Connection,
    id: Uuid,
    brought: Brought,
    identified: Option<Identified>,
    commands: FuturesUnordered<BoxFuture<'static, Answer>>,
    pace: Pace,
    opened: Instant,
    heard: Instant,
    /// Set once the client was told to reconnect.
    drained_at: Option<Instant>,
}

struct Identified {
    feed: Feed,
    caller: Arc<Caller>,
    expires: Instant,
    typed: HashMap<ConversationId, Instant>,
}

/// What a command came to.
struct Answer {
    id: String,
    result: Result<Accepted, Problem>,
}

/// What a session waits for.
enum Happening {
    Message(Option<Result<Message, axum::Error>>),
    Answer(Answer),
    Frames(Result<Vec<Outgoing>, Ended>),
    Draining,
    Late(Close),
}

/// How a session ends.
#[derive(Debug)]
enum End {
    /// We close it.
    Close(Close),
    /// The other end is gone.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

impl Session {
    fn new(
        gateway: Arc<Gateway>,
        socket: WebSocket,
        connection: Connection,
        brought: Brought,
    ) -> Self {
        let now = Instant::now();
        Self {
            pace: Pace::new(gateway.limits.frames_per_second_max, now),
            gateway,
            socket,
            connection,
            id: fresh_id(),
            brought,
            identified: None,
            commands: FuturesUnordered::new(),
            opened: now,
            heard: now,
            drained_at: None,
        }
    }

    async fn run(mut self) {
        let hello = ServerFrame::Hello {
            heartbeat_ms: milliseconds(self.gateway.limits.heartbeat_every),
            session: self.id,
        };
        let mut result = self.write(vec![Outgoing::Frame(hello)]).await;
        while result.is_ok() {
            result = match self.wait().await {
                Happening::Message(message) => self.take_message(message).await,
                Happening::Answer(answer) => self.write(vec![answer.into_frame()]).await,
                Happening::Frames(Ok(frames)) => self.write(frames).await,
                Happening::Frames(Err(ended)) => Err(self.ended(ended).into()),
                Happening::Draining => self.drain().await,
                Happening::Late(close) => Err(close.into()),
            };
        }
        if let Err(end) = result {
            tracing::debug!(session = %self.id, ?end, "a connection ends");
            self.end(end).await;
        }
    }

    async fn wait(&mut self) -> Happening {
        let (late_at, late) = self.deadline();
        let is_drained = self.drained_at.is_some();
        let reads = self.commands.len() < self.gateway.limits.commands_in_flight_max;
        let Self {
            socket,
            connection,
            identified,
            commands,
            ..
        } = self;
        let frames = async {
            match identified {
                Some(identified) => identified.feed.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = socket.recv(), if reads => Happening::Message(message),
            Some(answer) = commands.next() => Happening::Answer(answer),
            frames = frames => Happening::Frames(frames),
            () = connection.draining(), if !is_drained => Happening::Draining,
            () = tokio::time::sleep_until(late_at) => Happening::Late(late),
        }
    }

    /// When this connection ends if nothing happens, and how.
    fn deadline(&self) -> (Instant, Close) {
        let limits = &self.gateway.limits;
        let silent = self.heard + limits.heartbeat_every * SILENT_PERIODS_MAX;
        let mut deadline = (silent, Close::TimedOut);
        let mut at_most = |at: Instant, close: Close| {
            if at < deadline.0 {
                deadline = (at, close);
            }
        };
        match &self.identified {
            Some(identified) => at_most(identified.expires, Close::Unauthenticated),
            None => at_most(self.opened + limits.identify_within, Close::TimedOut),
        }
        if let Some(told) = self.drained_at {
            at_most(told + limits.drain_grace, Close::Draining);
        }
        deadline
    }

    fn ended(&self, ended: Ended) -> Close {
        match ended {
            Ended::Close(close) => close,
            Ended::Failure(failure) => {
                tracing::error!(session = %self.id, %failure, "a connection cannot be served");
                Close::TryAgain
            }
        }
    }

    async fn drain(&mut self) -> Result<(), End> {
        self.drained_at = Some(Instant::now());
        let after = jitter_of(self.id, self.gateway.limits.reconnect_jitter_max);
        let after_ms = milliseconds(after);
        self.send(ServerFrame::Reconnect { after_ms }).await
    }

    async fn take_message(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        self.heard = Instant::now();
        let bytes_max = self.gateway.limits.frame_bytes_max;
        match message {
            Some(Ok(message)) if bytes_of(&message) > bytes_max => Err(Close::FrameTooLarge.into()),
            Some(Ok(Message::Text(text))) => self.take_text(text.as_str()).await,
            // An error is a message too large to be read at all, or against the rules of WebSockets.
            // Where the other end is simply gone, closing fails and nobody minds.
            Some(Ok(Message::Binary(_)) | Err(_)) => Err(Close::BadFrame.into()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        }
    }

    async fn take_text(&mut self, text: &str) -> Result<(), End> {
        let incoming = match read(text) {
            Ok(incoming) => incoming,
            Err(FrameInvalid::Unreadable) => return Err(Close::BadFrame.into()),
            Err(FrameInvalid::Wrong { id, problem }) => {
                self.pace.take(self.heard)?;
                return self.refuse(id, *problem).await;
            }
        };
        if !self.pace.take(self.heard)? {
            return self.refuse(id_of(incoming), rate_limited()).await;
        }
        if let Err(exceeded) = self.take_of_user(&incoming) {
            return self.refuse(id_of(incoming), exceeded.into()).await;
        }
        match incoming {
            Incoming::Frame { id, frame } => self.take_frame(id, frame).await,
            Incoming::Command { envelope, frame } => self.take_command(envelope, frame).await,
        }
    }

    /// Counts a frame for the user, over all their connections. Heartbeats are left out: without an answer
    /// to them a client would come back, which costs more.
    fn take_of_user(&self, incoming: &Incoming) -> Result<(), Exceeded> {
        let is_heartbeat = matches!(
            incoming,
            Incoming::Frame {
                frame: ClientFrame::Heartbeat,
                ..
            }
        );
        match &self.identified {
            Some(identified) if !is_heartbeat => {
                let user = identified.caller.user;
                let now = self.heard.into_std();
                self.gateway.user_pace.take(user, now).map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn take_frame(&mut self, id: Option<String>, frame: ClientFrame) -> Result<(), End> {
        let taken = match (frame, self.identified.as_mut()) {
            (ClientFrame::Heartbeat, identified) => {
                let cursor = identified.map(|identified| identified.feed.newest_cursor());
                return self.send(ServerFrame::HeartbeatAck { cursor }).await;
            }
            (ClientFrame::Identify(identify), None) => return self.identify(id, identify).await,
            (ClientFrame::Identify(_), Some(_)) => Err(Problem::new(
                StatusCode::CONFLICT,
                "already_identified",
                "This connection is identified already",
            )),
            (_, None) => Err(not_identified()),
            (ClientFrame::Renew(renew), Some(_)) => return self.renew(id, renew).await,
            (ClientFrame::Subscribe(asked), Some(identified)) => {
                identified.feed.subscribe(asked).await
            }
            (ClientFrame::Unsubscribe(asked), Some(identified)) => {
                identified.feed.unsubscribe(asked.conversation);
                Ok(())
            }
            (ClientFrame::Presence(active), Some(identified)) => {
                identified.feed.turn(active.state);
                Ok(())
            }
            (ClientFrame::Typing(asked), Some(identified)) => {
                if identified.feed.is_inside(asked.conversation) {
                    identified.typing(asked.conversation, &self.gateway.hub);
                    Ok(())
                } else {
                    Err(conversation_not_found())
                }
            }
        };
        match taken {
            Ok(()) => Ok(()),
            Err(problem) => self.refuse(id, problem).await,
        }
    }

    async fn identify(&mut self, id: Option<String>, identify: Identify) -> Result<(), End> {
        let Identify {
            token,
            cursor,
            state,
        } = identify;
        let token = match token.map_or_else(|| self.brought.token(), Ok) {
            Ok(token) => token,
            Err(problem) => return self.refuse(id, problem).await,
        };
        match admit(&self.gateway, &token, cursor.as_deref(), state).await {
            Ok((feed, first, caller)) => {
                self.identified = Some(Identified {
                    feed,
                    expires: self.expiry_of(&caller),
                    caller: Arc::new(caller),
                    typed: HashMap::new(),
                });
                // It was for identifying only; a connection is long.
                self.brought = Brought::Nothing;
                self.write(first).await
            }
            Err(Refused::Problem(problem)) => self.refuse(id, *problem).await,
            Err(Refused::Close(close, problem)) => {
                self.refuse(id, *problem).await?;
                Err(close.into())
            }
        }
    }

    /// When a connection of `caller` ends without a newer token.
    fn expiry_of(&self, caller: &Caller) -> Instant {
        let left = caller.expires_at - self.gateway.clock.now();
        let left = left.to_std().unwrap_or(Duration::ZERO);
        let now = Instant::now();
        // A login that is good for longer than time can count is good for a year.
        now.checked_add(left).unwrap_or(now + EXPIRES_WITHIN_MAX)
    }

    /// Goes on with a newer token. One that is refused changes nothing.
    async fn renew(&mut self, id: Option<String>, renew: Renew) -> Result<(), End> {
        let caller = match self.gateway.guard.caller(&renew.token).await {
            Ok(caller) => caller,
            Err(why) => return self.refuse(id, why.into()).await,
        };
        let expires = self.expiry_of(&caller);
        let Some(identified) = &mut self.identified else {
            return self.refuse(id, not_identified()).await;
        };
        let held = &identified.caller;
        if (held.user, held.session) != (caller.user, caller.session) {
            return self.refuse(id, token_of_another()).await;
        }
        // An older token does not shorten what a newer one gave.
        if expires > identified.expires {
            identified.expires = expires;
            identified.caller = Arc::new(caller);
        }
        let expires_at = identified.caller.expires_at;
        self.send(ServerFrame::Renewed { expires_at }).await
    }

    async fn take_command(&mut self, envelope: Envelope, frame: Box<RawValue>) -> Result<(), End> {
        let Some(identified) = &self.identified else {
            return self.refuse(envelope.id, not_identified()).await;
        };
        let caller = Arc::clone(&identified.caller);
        let door = Arc::clone(&self.gateway.door);
        let trace = TraceParent::continuing(envelope.traceparent.as_deref());
        let id = envelope.id.unwrap_or_default();
        let traceparent = trace.to_string();
        // Futures of this set are first polled in the order in which they came.
        self.commands.push(Box::pin(async move {
            let command = FrameCommand {
                op: &envelope.op,
                id: &id,
                frame: &frame,
                traceparent: Some(&traceparent),
            };
            let result = trace.scope(door.run(&caller, command)).await;
            let result = result.map_err(|mut problem| {
                problem.trace_id.get_or_insert_with(|| trace.trace_id());
                problem
            });
            Answer { id, result }
        }));
        Ok(())
    }

    async fn refuse(&mut self, id: Option<String>, problem: Problem) -> Result<(), End> {
        self.send(ServerFrame::Error { id, problem }).await
    }

    async fn send(&mut self, frame: ServerFrame) -> Result<(), End> {
        self.write(vec![Outgoing::Frame(frame)]).await
    }

    /// Hands frames to the socket, one by one as it takes them.
    async fn write(&mut self, frames: Vec<Outgoing>) -> Result<(), End> {
        let stalled_max = self.gateway.limits.write_stalled_max;
        let stalled = |_| End::from(Close::TimedOut);
        metrics::counter!("verbatim_gateway_frames_sent_total").increment(frames.len() as u64);
        for frame in frames {
            let text = match (&frame, &self.identified) {
                (frame, Some(identified)) => frame.render(identified.feed.tag()),
                (Outgoing::Frame(frame), None) => encode(frame),
                // Events come from the feed, and without it there are none.
                (Outgoing::Event(..), None) => continue,
            };
            let handed = self.socket.feed(Message::Text(text.into()));
            let handed = tokio::time::timeout(stalled_max, handed).await;
            handed.map_err(stalled)?.map_err(|_| End::Gone)?;
        }
        let flushed = tokio::time::timeout(stalled_max, self.socket.flush()).await;
        flushed.map_err(stalled)?.map_err(|_| End::Gone)
    }

    async fn end(mut self, end: End) {
        // Nobody is to be marked as here, or to be told anything, from now on.
        self.identified = None;
        let mut commands = std::mem::take(&mut self.commands);
        if !commands.is_empty() {
            tokio::spawn(async move {
                let all = async { while commands.next().await.is_some() {} };
                if tokio::time::timeout(COMMANDS_FINISH_WITHIN, all)
                    .await
                    .is_err()
                {
                    tracing::warn!("gave up on commands of a connection that ended");
                }
            });
        }
        let goodbye = async {
            if let End::Close(close) = end {
                let frame = Message::Close(Some(close.frame()));
                if self.socket.send(frame).await.is_err() {
                    return;
                }
            }
            // Until the other end has closed too, so that what we said last arrives.
            while let Some(Ok(_)) = self.socket.recv().await {}
        };
        if tokio::time::timeout(CLOSE_WITHIN, goodbye).await.is_err() {
            tracing::debug!(session = %self.id, "the other end did not close");
        }
    }
}

impl Identified {
    /// Passes on that the user is writing, unless that was done a moment ago.
    fn typing(&mut self, conversation: ConversationId, hub: &Hub) {
        let now = Instant::now();
        // As many as there are typing frames in the time, which the pace bounds.
        self.typed
            .retain(|_, typed| now.duration_since(*typed) < TYPING_EVERY);
        if !self.typed.contains_key(&conversation) {
            hub.typing(conversation, self.feed.user());
            self.typed.insert(conversation, now);
        }
    }
}

impl Answer {
    fn into_frame(self) -> Outgoing {
        let Self { id, result } = self;
        Outgoing::Frame(match result {
            Ok(accepted) => ServerFrame::Ack {
                id,
                target: accepted.id,
                seq: accepted.seq,
                position: accepted.position,
            },
            Err(problem) => ServerFrame::Error {
                id: Some(id),
                problem,
            },
        })
    }
}

/// How fast a client may send. A frame beyond the pace is refused but counts, so that one who does
/// not slow down is closed before long.
struct Pace {
    per_second: f64,
    credit: f64,
    at: Instant,
}

impl Pace {
    fn new(per_second: u32, at: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            credit: 2.0 * per_second,
            at,
        }
    }

    /// Whether a frame may come now.
    fn take(&mut self, now: Instant) -> Result<bool, Close> {
        let most = 2.0 * self.per_second;
        let earned = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.at = now;
        self.credit = (self.credit + earned).min(most) - 1.0;
        if self.credit < -most {
            return Err(Close::TooMany);
        }
        Ok(self.credit >= 0.0)
    }
}

fn not_identified() -> Problem {
    let mut problem = Problem::unauthenticated("send identify first");
    "not_identified".clone_into(&mut problem.code);
    problem
}

fn token_of_another() -> Problem {
    let title = "The token is of another login";
    Problem::new(StatusCode::FORBIDDEN, "token_of_another", title)
        .with_detail("renew takes a token of the login that the connection is identified with")
}

fn rate_limited() -> Problem {
    let title = "Too many frames";
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", title);
    problem.retry_after_s = Some(1);
    problem
}

fn id_of(incoming: Incoming) -> Option<String> {
    let (Incoming::Command {
        envelope: Envelope { id, .. },
        ..
    }
    | Incoming::Frame { id, .. }) = incoming;
    id
}

fn bytes_of(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        // Of the control frames WebSocket itself says how large they may be.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;
    use crate::frames::Close;

    #[test]
    fn a_burst_is_taken_then_the_pace_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        for _ in 0..20 {
            assert_eq!(pace.take(start), Ok(true));
        }
        assert_eq!(pace.take(start), Ok(false));
        assert_eq!(pace.take(start + Duration::from_secs(1)), Ok(true));
    }

    #[test]
    fn one_who_does_not_slow_down_is_closed() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        let closed_at = (0..1_000).find(|_| pace.take(start) == Err(Close::TooMany));
        assert_eq!(closed_at, Some(40));
    }
}
