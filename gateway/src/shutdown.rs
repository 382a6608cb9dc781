//! Counting connections, and asking all of them to go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

/// The connections of a process.
pub(crate) struct Connections {
    open: watch::Sender<usize>,
    draining: watch::Sender<bool>,
    max: usize,
}

/// Why no further connection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    TooMany,
    Draining,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            max,
        })
    }

    /// Counts one more connection, until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Connection, NotTaken> {
        if *self.draining.borrow() {
            return Err(NotTaken::Draining);
        }
        let taken = self.open.send_if_modified(|open| {
            let fits = *open < self.max;
            *open += usize::from(fits);
            fits
        });
        if !taken {
            return Err(NotTaken::TooMany);
        }
        metrics::gauge!("verbatim_gateway_connections").increment(1);
        Ok(Connection {
            connections: Arc::clone(self),
            draining: self.draining.subscribe(),
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        *self.open.borrow()
    }

    /// Asks all to go, and waits until they are gone, at most `within`. Returns how many stayed.
    pub(crate) async fn drain(&self, within: Duration) -> usize {
        self.draining.send_replace(true);
        let mut open = self.open.subscribe();
        let gone = open.wait_for(|open| *open == 0);
        // Both ways of ending say the same thing with the count.
        let _ = tokio::time::timeout(within, gone).await;
        self.count()
    }
}

/// One connection, for as long as it is there.
pub(crate) struct Connection {
    connections: Arc<Connections>,
    draining: watch::Receiver<bool>,
}

impl Connection {
    /// Waits until the process wants its connections to go. Safe to cancel.
    pub(crate) async fn draining(&mut self) {
        // The sender is in `connections`, which is there for as long as we are.
        let _ = self.draining.wait_for(|draining| *draining).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.open.send_modify(|open| *open -= 1);
        metrics::gauge!("verbatim_gateway_connections").decrement(1);
    }
}

/// When the connection `session` shall come back: somewhere up to `max`, spread by the random part
/// of its id.
pub(crate) fn jitter_of(session: Uuid, max: Duration) -> Duration {
    let random = session.as_u128() & u128::from(u32::MAX);
    let part = u32::try_from(random).unwrap_or(u32::MAX);
    max.mul_f64(f64::from(part) / f64::from(u32::MAX))
}
