//! What travels over `/v1/stream`: every frame, as a type. Text frames with one JSON object each,
//! whose `op` says which.
//!
//! A frame that is not JSON, or not text, closes the connection with 4400. Anything else that is
//! wrong with a frame (an unknown `op`, a field of the wrong type) is answered with an `error` and
//! the connection lives on. Fields that are not known are ignored.

use std::collections::HashMap;

use axum::extract::ws::{CloseFrame, Utf8Bytes};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Actor, ConversationId, Position, Seq, UserId};
use infra::http::{IDEMPOTENCY_KEY_BYTES_MAX, parse_json};
use infra::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// The WebSocket subprotocol of these frames.
pub const SUBPROTOCOL: &str = "verbatim.v1.json";

/// What the server sends.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The first frame of a WebSocket.
    Hello {
        /// Send something at least this often; the first `heartbeat` after a random part of it.
        /// After twice as long without a frame the connection is closed with 4408.
        heartbeat_ms: u64,
        /// Names this connection in our logs.
        session: Uuid,
    },
    /// Identified without a cursor. Everything after `cursor` follows, as it happens.
    Ready {
        /// Who you are.
        user: UserId,
        /// Where you are.
        cursor: String,
        /// The conversations you are a member of, all of which are followed.
        conversations: Vec<ConversationId>,
        /// Who is there among those with whom you share a conversation, online, idle or away: at most
        /// 100, and of each only in 200 of their conversations, in none of which more than 200 people are
        /// connected to your node.
        online: Vec<UserId>,
        /// As what each of `online` is shown.
        #[schema(value_type = HashMap<String, PresenceState>)]
        presence: HashMap<UserId, PresenceState>,
    },
    /// Identified with a cursor. What you missed follows, then `caught_up`.
    Resumed {
        /// Who you are.
        user: UserId,
        /// Your cursor.
        cursor: String,
        /// How many events follow before `caught_up`: exact, unless you leave or are taken out of a
        /// conversation meanwhile, or others marked in private.
        missed: u64,
        /// The conversations you are a member of, all of which are followed.
        conversations: Vec<ConversationId>,
        /// As in `ready`.
        online: Vec<UserId>,
        /// As in `ready`.
        #[schema(value_type = HashMap<String, PresenceState>)]
        presence: HashMap<UserId, PresenceState>,
    },
    /// What follows is live. With `conversation` it ends what `subscribe` asked for.
    CaughtUp {
        /// Where you are.
        cursor: String,
        /// The conversation that was subscribed.
        #[serde(skip_serializing_if = "Option::is_none")]
        conversation: Option<ConversationId>,
    },
    /// Something happened, and is on disk.
    Event(EventFrame),
    /// Something passing. Not stored, may be lost.
    Signal(SignalFrame),
    /// A command was carried out and is on disk.
    Ack {
        /// The command's `id`.
        id: String,
        /// The thing it changed: a conversation, a user, a session.
        target: Uuid,
        /// Version of the command's first event in that thing's stream; of a message, its seq.
        seq: Seq,
        /// Position of the command's last event.
        position: Position,
    },
    /// The connection goes on with the token of `renew`.
    Renewed {
        /// Until when. Without a further `renew` it is closed with 4401 then.
        expires_at: DateTime<Utc>,
    },
    /// Something was wrong with a frame. The connection lives on.
    Error {
        /// The `id` of the frame, where it had one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What.
        problem: Problem,
    },
    /// The answer to `heartbeat`.
    HeartbeatAck {
        /// Where you are; absent before `identify`. Keep it: on a quiet day it is newer than that of
        /// the last event.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// The server is about to stop. Come back with your cursor.
    Reconnect {
        /// After this long.
        after_ms: u64,
    },
    /// What you know of a conversation is no longer yours to show; nothing of it follows.
    Reset {
        /// Which.
        conversation: ConversationId,
        /// Why.
        reason: ResetReason,
    },
}

impl ServerFrame {
    /// Its `op`.
    pub(crate) const fn op(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Ready { .. } => "ready",
            Self::Resumed { .. } => "resumed",
            Self::CaughtUp { .. } => "caught_up",
            Self::Event(_) => "event",
            Self::Signal(_) => "signal",
            Self::Ack { .. } => "ack",
            Self::Renewed { .. } => "renewed",
            Self::Error { .. } => "error",
            Self::HeartbeatAck { .. } => "heartbeat_ack",
            Self::Reconnect { .. } => "reconnect",
            Self::Reset { .. } => "reset",
        }
    }
}

/// A committed event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventFrame {
    /// Where.
    pub conversation: ConversationId,
    /// Place in the conversation, from 1 without gaps. Events of the types `delivered-up-to`,
    /// `seen-up-to` and `thread-seen-up-to` are of the conversation's receipts, which have a sequence of
    /// their own, also from 1; gaps in it are marks that others keep to themselves.
    pub seq: Seq,
    /// What: a name of the event catalogue, such as `message-sent`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Who: `user:{id}`, `operator` or `system`.
    #[schema(value_type = String)]
    pub actor: Option<Actor>,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The W3C trace of the command that made it, where the command had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The fact.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// Resume with it. Everything up to it that you may see has been sent. Absent in
    /// [`ServerFrame`] as it is encoded: it is added for each user when the frame is sent.
    #[serde(skip_serializing)]
    pub cursor: String,
}

/// Something that passes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SignalFrame {
    /// Where; absent for presence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// Which.
    #[serde(rename = "type")]
    pub signal_type: SignalType,
    /// Who: `user:{id}`.
    #[schema(value_type = String)]
    pub actor: Actor,
    /// Of presence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Presence>,
}

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalType {
    /// They are writing; good for a few seconds.
    Typing,
    /// They are shown as something else.
    Presence,
}

/// Whether somebody is there, on any device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Presence {
    /// Whether.
    pub state: PresenceState,
}

/// Whether somebody is there, as it is shown to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// They do something, on at least one connection.
    Online,
    /// They have connections, and do nothing on any.
    Idle,
    /// They have connections, and chose to be away.
    Away,
    /// They had no connection for a while, or chose not to be seen.
    Offline,
}

/// What somebody does on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Something.
    #[default]
    Online,
    /// Nothing for a while.
    Idle,
}

/// Why a conversation is no longer yours to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// Somebody took you out.
    Removed,
    /// You left.
    Left,
    /// You no longer have the role that let you look.
    RoleRevoked,
}

/// What a client sends, besides commands: any other `op` is a command, with an `id` of its own.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Says who you are; the first frame.
    Identify(Identify),
    /// Follow a conversation again from some point, or, as an auditor, any conversation.
    Subscribe(Subscribe),
    /// Stop following a conversation on this connection. The cursor goes on without it; a later
    /// `identify` follows it again.
    Unsubscribe(InConversation),
    /// You are writing. At most one a second and conversation is passed on.
    Typing(InConversation),
    /// You do something here, or nothing for a while. At most one change of a user is told each second.
    Presence(Active),
    /// A newer token of the same login: the connection goes on until that ends.
    Renew(Renew),
    /// You are there.
    Heartbeat,
}

/// `identify`
#[derive(Clone, Deserialize, ToSchema)]
pub struct Identify {
    /// An access token. May be absent where the upgrade carried it in a cookie and came from a page of
    /// the same host.
    #[serde(default)]
    pub token: Option<String>,
    /// The last cursor you got, if you want to go on from there.
    #[serde(default)]
    pub cursor: Option<String>,
    /// What you do on this connection; `online` where you do not say.
    #[serde(default)]
    pub state: Activity,
}

impl std::fmt::Debug for Identify {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Identify(cursor {:?})", self.cursor)
    }
}

/// `renew`
#[derive(Clone, Deserialize, ToSchema)]
pub struct Renew {
    /// An access token of the login that the connection is identified with.
    pub token: String,
}

impl std::fmt::Debug for Renew {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Renew(…)")
    }
}

/// `subscribe`
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub struct Subscribe {
    /// Which.
    pub conversation: ConversationId,
    /// Send its events after this seq once more, as far as you may see them, before going on live.
    /// They carry the cursor of where the connection is, not their own, and no receipts are among
    /// them.
    #[serde(default)]
    pub after_seq: Option<Seq>,
}

/// `presence`
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub struct Active {
    /// What you do on this connection.
    pub state: Activity,
}

/// `unsubscribe` and `typing`
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub struct InConversation {
    /// Which.
    pub conversation: ConversationId,
}

/// What every client frame may have.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) op: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) traceparent: Option<String>,
}

/// A frame that was read.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame {
        /// Of the frame, to be said again where it is refused.
        id: Option<String>,
        frame: ClientFrame,
    },
    Command {
        envelope: Envelope,
        frame: Box<RawValue>,
    },
}

/// A frame that cannot be taken.
#[derive(Debug)]
pub(crate) enum FrameInvalid {
    /// Not JSON at all.
    Unreadable,
    /// JSON, but wrong.
    Wrong {
        id: Option<String>,
        problem: Box<Problem>,
    },
}

/// Reads a client's frame.
pub(crate) fn read(text: &str) -> Result<Incoming, FrameInvalid> {
    let frame: Box<RawValue> = serde_json::from_str(text).map_err(|_| FrameInvalid::Unreadable)?;
    let wrong = |id: Option<String>, problem: Problem| FrameInvalid::Wrong {
        id,
        problem: Box::new(problem),
    };
    let envelope: Envelope = parse_json(text.as_bytes()).map_err(|problem| wrong(None, problem))?;
    // Each by its own type: that way a problem can point at the field.
    let bytes = text.as_bytes();
    let known = match envelope.op.as_str() {
        "identify" => Some(parse_json(bytes).map(ClientFrame::Identify)),
        "subscribe" => Some(parse_json(bytes).map(ClientFrame::Subscribe)),
        "unsubscribe" => Some(parse_json(bytes).map(ClientFrame::Unsubscribe)),
        "renew" => Some(parse_json(bytes).map(ClientFrame::Renew)),
        "typing" => Some(parse_json(bytes).map(ClientFrame::Typing)),
        "presence" => Some(parse_json(bytes).map(ClientFrame::Presence)),
        "heartbeat" => Some(Ok(ClientFrame::Heartbeat)),
        _ => None,
    };
    if let Some(frame) = known {
        let id = envelope.id;
        return match frame {
            Ok(frame) => Ok(Incoming::Frame { id, frame }),
            Err(problem) => Err(wrong(id, problem)),
        };
    }
    let id_bytes = envelope.id.as_deref().map_or(0, str::len);
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&id_bytes) {
        Ok(Incoming::Command { envelope, frame })
    } else {
        let rule = "any other op than identify, renew, subscribe, unsubscribe, typing, presence and \
                    heartbeat is a command, and a command has an id of 1 to 200 bytes";
        Err(wrong(None, Problem::invalid_field("/id", "invalid", rule)))
    }
}

/// Why the server ends a connection. The codes mirror HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// 4400: a frame that is not JSON, or not text. Mend the client.
    BadFrame,
    /// 4401: the token is worth nothing, or no longer. Get another, then resume.
    Unauthenticated,
    /// 4408: nothing heard, or nothing taken, for too long. Resume.
    TimedOut,
    /// 4409: the user opened more connections than one may have; this was the oldest. Do not come
    /// back by yourself.
    Replaced,
    /// 4413: a frame larger than is taken. Mend the client.
    FrameTooLarge,
    /// 4429: too many frames, or more conversations than can be followed. Wait before resuming.
    TooMany,
    /// 1012: the server stops. Resume after what `reconnect` said.
    Draining,
    /// 1013: something that is needed is away. Resume after a second.
    TryAgain,
}

impl Close {
    /// The code in the closing frame.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadFrame => 4400,
            Self::Unauthenticated => 4401,
            Self::TimedOut => 4408,
            Self::Replaced => 4409,
            Self::FrameTooLarge => 4413,
            Self::TooMany => 4429,
            Self::Draining => 1012,
            Self::TryAgain => 1013,
        }
    }

    /// The text in the closing frame.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BadFrame => "bad frame",
            Self::Unauthenticated => "authenticate again",
            Self::TimedOut => "timed out",
            Self::Replaced => "replaced",
            Self::FrameTooLarge => "frame too large",
            Self::TooMany => "too many",
            Self::Draining => "draining",
            Self::TryAgain => "try again",
        }
    }

    /// The same as a problem, for those who are not closed with a code.
    pub(crate) fn problem(self) -> Problem {
        let (status, code) = match self {
            Self::BadFrame => (StatusCode::BAD_REQUEST, "bad_frame"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "session_ended"),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, "timed_out"),
            Self::Replaced => (StatusCode::CONFLICT, "replaced"),
            Self::FrameTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "frame_too_large"),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::TryAgain => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Problem::new(status, code, "The stream ends").with_detail(self.reason())
    }

    pub(crate) fn frame(self) -> CloseFrame {
        CloseFrame {
            code: self.code(),
            reason: Utf8Bytes::from_static(self.reason()),
        }
    }
}
