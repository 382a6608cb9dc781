//! Moves the head: follows the log by a subscription, on a thread of its own.
//!
//! The official client turns round for ever, without ever yielding, once the server has ended a
//! subscription well. Its loop says something to the log in every turn; on this thread that goes to
//! [`Watchdog`], which ends the turning by unwinding. Then, as after every other end, a new client
//! subscribes after the last position.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Position;
use eventstore::{
    Client, ClientSettings, Error, StreamPosition, SubscribeToAllOptions, SubscriptionEvent,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::convert::position;
use super::without_system_events;
use crate::failure::Failure;

/// Wait after the first end; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);

/// Longest wait between two subscriptions.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Turns without a message after which a subscription is given up. One that goes on has none.
const TURNS_MAX: u32 = 16;

/// What the client's loop says in a turn without a message.
const TURN: &str = "Received an unknown subscription message";

/// Follows the log until it is stopped or dropped.
pub(super) struct Follower {
    head: Arc<watch::Sender<Position>>,
    stop: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Follower {
    /// Follows the log after `head`.
    pub(super) fn start(settings: ClientSettings, head: Position) -> Result<Self, Failure> {
        let head = Arc::new(watch::Sender::new(head));
        let stop = CancellationToken::new();
        let (shared, stopped) = (Arc::clone(&head), stop.clone());
        let thread = std::thread::Builder::new()
            .name("log-follower".into())
            .spawn(move || run(&settings, &shared, &stopped))
            .map_err(|error| Failure::internal("follow the event store", error))?;
        Ok(Self {
            head,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// The log has an event at `position`.
    pub(super) fn reached(&self, position: Position) {
        reached(&self.head, position);
    }

    /// Ends the thread.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if !joined.unwrap_or(false) {
            tracing::error!("the thread that follows the event store panicked");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn reached(head: &watch::Sender<Position>, position: Position) {
    head.send_if_modified(|head| {
        let moved = position > *head;
        *head = position.max(*head);
        moved
    });
}

/// Why a subscription ended.
enum Ended {
    Asked,
    Failed(String),
}

fn run(settings: &ClientSettings, head: &watch::Sender<Position>, stop: &CancellationToken) {
    let mut wait = RETRY_MIN;
    loop {
        let begun = *head.borrow();
        match catch_unwind(AssertUnwindSafe(|| subscription(settings, head, stop))) {
            Ok(Ended::Asked) => return,
            Ok(Ended::Failed(why)) => {
                tracing::warn!(
                    why,
                    "a subscription to the event store ended; it begins again"
                );
            }
            Err(unwound) if unwound.is::<Turning>() => {
                tracing::warn!("the event store ended a subscription; it begins again");
            }
            Err(_) => {
                tracing::error!("a subscription to the event store panicked; it begins again");
            }
        }
        wait = if *head.borrow() > begun {
            RETRY_MIN
        } else {
            (wait * 2).min(RETRY_MAX)
        };
        if wait_or_stop(wait, stop) {
            return;
        }
    }
}

/// Waits; says whether it was asked to end meanwhile.
fn wait_or_stop(wait: Duration, stop: &CancellationToken) -> bool {
    let Ok(runtime) = runtime() else {
        std::thread::sleep(wait);
        return stop.is_cancelled();
    };
    let waited = async { tokio::time::timeout(wait, stop.cancelled()).await };
    runtime.block_on(waited).is_ok()
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// One subscription with a client and a runtime of its own, until it ends.
fn subscription(
    settings: &ClientSettings,
    head: &watch::Sender<Position>,
    stop: &CancellationToken,
) -> Ended {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return Ended::Failed(error.to_string()),
    };
    let followed = tracing::subscriber::with_default(Watchdog::default(), || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                ended = follow(settings, head) => Some(ended),
            }
        })
    });
    match followed {
        None => Ended::Asked,
        Some(error) => Ended::Failed(error.to_string()),
    }
}

async fn follow(settings: &ClientSettings, head: &watch::Sender<Position>) -> Error {
    let client = match Client::new(settings.clone()) {
        Ok(client) => client,
        Err(error) => return Error::InitializationError(error.to_string()),
    };
    let after = *head.borrow();
    let place = if after == Position::ZERO {
        StreamPosition::Start
    } else {
        StreamPosition::Position(position(after))
    };
    let options = SubscribeToAllOptions::default()
        .position(place)
        .filter(without_system_events());
    let mut subscription = client.subscribe_to_all(&options).await;
    loop {
        match subscription.next_subscription_event().await {
            Ok(SubscriptionEvent::EventAppeared(event)) => {
                let position = event.get_original_event().position.commit;
                reached(head, Position(position));
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// With this a subscription is unwound that turns round.
struct Turning;

/// Takes what is logged on the thread of a subscription. It passes nothing on: what matters is told by
/// who watches the subscription.
#[derive(Default)]
struct Watchdog {
    turns: AtomicU32,
}

impl Subscriber for Watchdog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("kurrentdb")
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = IsTurn(false);
        event.record(&mut said);
        if said.0 && self.turns.fetch_add(1, Ordering::Relaxed) == TURNS_MAX {
            // Unlike a panic this says nothing on standard error.
            resume_unwind(Box::new(Turning));
        }
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

/// Whether a message is that of a turn.
struct IsTurn(bool);

impl Visit for IsTurn {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").contains(TURN);
        }
    }
}
