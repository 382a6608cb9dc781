//! How much the door takes at once.

use std::time::Duration;

/// Connections at a time; the next one waits.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;

/// How long no connection is taken after one could not be.
pub(crate) const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Calls under way at a time, subscriptions among them; one more is refused.
pub(crate) const CALLS_MAX: usize = 1_024;

/// Calls of one connection at a time; the client waits with the next.
pub(crate) const CALLS_PER_CONNECTION_MAX: u32 = 256;

/// Bytes of data, metadata and types of one append; more is refused as too large.
pub(crate) const APPEND_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one message; more ends the call. Larger than an append may be, so that one that is a
/// little too large is told so.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Batches of one call that have begun and are not complete; one more ends the call.
pub(crate) const BATCHES_PENDING_MAX: usize = 32;

/// How long a client may take until the next message of its append.
pub(crate) const APPEND_IDLE_MAX: Duration = Duration::from_secs(30);

/// Events read at once: what a slow reader holds in memory.
pub(crate) const PAGE: usize = 500;

/// Events read at once after a page of large ones.
pub(crate) const PAGE_OF_LARGE: usize = 32;

/// A page of more bytes than this has large events.
pub(crate) const PAGE_BYTES_LARGE: usize = 1024 * 1024;

/// How often it is checked that a follower may still follow.
pub(crate) const ACCESS_CHECKED_EVERY: Duration = Duration::from_secs(10);

/// Bytes of a filter's expression.
pub(crate) const REGEX_BYTES_MAX: usize = 1_000;

/// Prefixes of one filter.
pub(crate) const PREFIXES_MAX: usize = 100;

/// Steps back that an expression may take on one name; more ends the call.
pub(crate) const REGEX_STEPS_MAX: usize = 10_000;

/// Events that a filter considers between two checkpoints, where the client asks for more.
pub(crate) const CHECKPOINT_EVENTS_MAX: u64 = 100_000;

/// Logins with a password that are remembered, by a hash of what was sent.
pub(crate) const LOGINS_MAX: u64 = 1_024;

/// How long a login with a password is remembered: each check costs a core tens of milliseconds, and
/// clients send the password with every call.
pub(crate) const LOGIN_REMEMBERED: Duration = Duration::from_mins(1);

/// How often a connection on which nothing happens is asked whether it is still there.
pub(crate) const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// How long the answer may take; then the connection is cut.
pub(crate) const KEEPALIVE_WITHIN: Duration = Duration::from_secs(20);

/// How many events to read after a page of `bytes`.
pub(crate) const fn next_page(bytes: usize) -> usize {
    if bytes > PAGE_BYTES_LARGE {
        PAGE_OF_LARGE
    } else {
        PAGE
    }
}
