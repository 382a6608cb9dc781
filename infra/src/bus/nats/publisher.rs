//! Publishing the log into JetStream, in its order and without gaps. The stream's own last message is
//! the checkpoint: whoever publishes reads it first, and expects it to be the last.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Stream};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use domain::Position;

use super::index::Index;
use super::{NatsBus, away, message};
use crate::event_store::RecordedEvent;
use crate::failure::Failure;

const WHAT: &str = "publish events";

/// How long an acknowledgement may take.
const ACK_WITHIN: Duration = Duration::from_secs(5);

/// For so long the server knows ids of messages again.
const DUPLICATES_KNOWN_FOR: Duration = Duration::from_mins(2);

/// Most events that are published together.
pub(super) const BATCH_EVENTS_MAX: usize = 1_000;

/// Why a batch was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else publishes too, or the stream is not what it was. Open it again.
    #[error("the last message of the NATS stream is not the expected one")]
    NotTheLast,
    /// It could not.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// The JetStream stream of events, at its end.
pub struct EventStream {
    bus: NatsBus,
    jetstream: Context,
    last_sequence: u64,
    position: Position,
}

impl EventStream {
    /// Opens the stream and reads how far it goes; makes it where there is none. It keeps
    /// `bytes_max`, and the oldest messages go first.
    pub async fn open(bus: &NatsBus, bytes_max: u64, replicas: usize) -> Result<Self, Failure> {
        const WHAT: &str = "open the NATS stream of events";
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(ACK_WITHIN)
            .build(bus.client.clone());
        let config = Config {
            name: format!("{}-events", bus.subjects.prefix),
            subjects: vec![bus.subjects.all_events()],
            max_bytes: i64::try_from(bytes_max).unwrap_or(i64::MAX),
            discard: DiscardPolicy::Old,
            duplicate_window: DUPLICATES_KNOWN_FOR,
            num_replicas: replicas,
            description: Some("The events of Verbatim's log, in its order".to_owned()),
            ..Config::default()
        };
        let info = jetstream
            .create_or_update_stream(config)
            .await
            .map_err(|error| away(WHAT, error))?;
        let stream = jetstream
            .get_stream(&info.config.name)
            .await
            .map_err(|error| away(WHAT, error))?;
        let state = &stream.cached_info().state;
        let last_sequence = state.last_sequence;
        let position = if state.messages == 0 {
            Position::ZERO
        } else {
            last_position(&stream, last_sequence).await?
        };
        Ok(Self {
            bus: bus.clone(),
            jetstream,
            last_sequence,
            position,
        })
    }

    /// Everything up to here is in the stream, or was.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Publishes `events`, which are all that the log has after [`EventStream::position`] up to some
    /// point, and then tells of them those who follow parts of the log. Returns when the server has
    /// them. After an error the stream has to be opened again, as some may have come through.
    pub async fn publish(&mut self, events: &[Arc<RecordedEvent>]) -> Result<(), PublishError> {
        let mut rest = events;
        while !rest.is_empty() {
            let (index, encoded) = self.index(rest)?;
            let (batch, after) = rest.split_at(index.events.len());
            self.publish_batch(batch, encoded).await?;
            self.position = index.up_to;
            rest = after;
        }
        Ok(())
    }

    /// The index of as many of `events` as fit into one message, of one at least.
    fn index(&self, events: &[Arc<RecordedEvent>]) -> Result<(Index, Bytes), Failure> {
        let mut count = events.len().min(BATCH_EVENTS_MAX);
        loop {
            let index = Index::of(self.position, &events[..count]);
            let encoded = index
                .encode()
                .map_err(|error| Failure::internal(WHAT, error))?;
            if count == 1 || encoded.len() <= self.bus.client.max_payload() {
                return Ok((index, encoded));
            }
            count /= 2;
        }
    }

    async fn publish_batch(
        &mut self,
        events: &[Arc<RecordedEvent>],
        index: Bytes,
    ) -> Result<(), PublishError> {
        let bytes_max = self.bus.client.max_payload();
        let mut acks = Vec::with_capacity(events.len());
        for (expected, event) in (self.last_sequence..).zip(events) {
            let (headers, payload) = message::encode(event, bytes_max);
            let publish = PublishMessage::build()
                .headers(headers)
                .payload(payload)
                // The id alone may be that of an older event of another stream.
                .message_id(format!("{}-{}", event.position, event.id.0))
                .expected_last_sequence(expected);
            let subject = self.bus.subjects.event(&event.stream);
            let sent = self.jetstream.send_publish(subject, publish).await;
            acks.push(sent.map_err(|error| away(WHAT, error))?);
        }
        // Not waiting for the server's disk: what is announced is on the log's.
        let announced = self.bus.client.publish(self.bus.subjects.index(), index);
        announced.await.map_err(|error| away(WHAT, error))?;
        self.acknowledged(acks).await
    }

    async fn acknowledged(&mut self, acks: Vec<PublishAckFuture>) -> Result<(), PublishError> {
        for ack in acks {
            let ack = ack.await.map_err(|error| match error.kind() {
                PublishErrorKind::WrongLastSequence => PublishError::NotTheLast,
                PublishErrorKind::StreamNotFound
                | PublishErrorKind::WrongLastMessageId
                | PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending
                | PublishErrorKind::MaxPayloadExceeded
                | PublishErrorKind::Other => away(WHAT, error).into(),
            })?;
            if ack.duplicate || ack.sequence != self.last_sequence + 1 {
                return Err(PublishError::NotTheLast);
            }
            self.last_sequence = ack.sequence;
        }
        Ok(())
    }
}

/// The position of the event in the last message.
async fn last_position(stream: &Stream, sequence: u64) -> Result<Position, Failure> {
    const WHAT: &str = "read the last message of the NATS stream";
    let last = stream
        .get_raw_message(sequence)
        .await
        .map_err(|error| away(WHAT, error))?;
    message::position(&last.headers)
        .ok_or_else(|| Failure::internal(WHAT, "it has no position; somebody else wrote it"))
}
