//! Every bound of the gateway that an operator may want to move, with what happens at it.

use std::time::Duration;

/// What one gateway allows. `Limits::default()` suits one machine with some ten thousand
/// connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of one process, identified or not. One more gets 503 `too_many_connections`
    /// instead of an upgrade. Default 50,000.
    pub connections_max: usize,
    /// Live connections of one user. One more closes the user's oldest with 4409. Default 32.
    pub sessions_per_user_max: usize,
    /// Conversations that one connection follows. A user with more memberships is closed with 4429
    /// at `identify`; an auditor's `subscribe` beyond it is refused with 429
    /// `too_many_subscriptions`. Default 10,000.
    pub subscriptions_per_session_max: usize,
    /// Bytes of one frame from a client. A larger one closes with 4413. Default 64 KiB.
    pub frame_bytes_max: usize,
    /// Commands, signals and subscriptions that one connection may send per second, with a burst of
    /// twice as many. What is beyond gets an `error` with 429 `rate_limited`; who goes on
    /// regardless is closed with 4429. Default 50. What a user sends over all connections is counted
    /// besides, by [`crate::Parts::user_pace`]; what is beyond that is refused likewise.
    pub frames_per_second_max: u32,
    /// Commands of one connection that run at once. While they run no further frame is read, so
    /// that the client feels it in its socket. Default 16.
    pub commands_in_flight_max: usize,
    /// Entries kept of one conversation. The oldest goes; whoever had not sent it yet reads the log.
    /// Default 256.
    pub ring_entries_max: usize,
    /// Bytes kept of one conversation; at the bound as above. Default 256 KiB.
    pub ring_bytes_max: usize,
    /// Entries kept of all conversations together; the oldest of all goes. Default 200,000.
    pub rings_entries_max: usize,
    /// Bytes kept of all conversations together; at the bound as above. Default 128 MiB.
    pub rings_bytes_max: usize,
    /// Events that a connection hands to its socket before it looks at anything else, and that it
    /// holds while it reads the log; at least 1. Default 256.
    pub batch_events_max: usize,
    /// Time from the upgrade to a good `identify`; later is closed with 4408. Default 10 s.
    pub identify_within: Duration,
    /// How often a client has to send something, told in `hello`. After two periods of silence it
    /// is closed with 4408. Default 30 s.
    pub heartbeat_every: Duration,
    /// How long a reader may take over one frame, or over 16 KiB of Server-Sent Events; then it is
    /// closed (a WebSocket with 4408) and may resume. Until then what waits for it is no more than
    /// the events at hand and what the socket buffers. Default 10 s.
    pub write_stalled_max: Duration,
    /// How long the end of a user's last connection is kept to ourselves before others hear that
    /// they are offline. Default 5 s.
    pub offline_after: Duration,
    /// How long connections live on after `reconnect`, before they are closed with 1012.
    /// Default 1 s.
    pub drain_grace: Duration,
    /// The largest `after_ms` in `reconnect`; each connection is told its own. Default 5 s.
    pub reconnect_jitter_max: Duration,
    /// How long [`crate::Gateway::drain`] waits for the connections to end. Default 10 s.
    pub drain_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            sessions_per_user_max: 32,
            subscriptions_per_session_max: 10_000,
            frame_bytes_max: 64 * 1024,
            frames_per_second_max: 50,
            commands_in_flight_max: 16,
            ring_entries_max: 256,
            ring_bytes_max: 256 * 1024,
            rings_entries_max: 200_000,
            rings_bytes_max: 128 * 1024 * 1024,
            batch_events_max: 256,
            identify_within: Duration::from_secs(10),
            heartbeat_every: Duration::from_secs(30),
            write_stalled_max: Duration::from_secs(10),
            offline_after: Duration::from_secs(5),
            drain_grace: Duration::from_secs(1),
            reconnect_jitter_max: Duration::from_secs(5),
            drain_within: Duration::from_secs(10),
        }
    }
}
