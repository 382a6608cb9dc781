//! A client that is made again after it failed. The official client that could not connect stays dead,
//! and one whose node died keeps its handle.

use std::sync::atomic::{AtomicU64, Ordering};

use eventstore::{Client, ClientSettings, Error};
use parking_lot::Mutex;

/// The server, through the client of the moment.
pub(super) struct Connection {
    settings: ClientSettings,
    current: Mutex<Option<(u64, Client)>>,
    made: AtomicU64,
}

impl Connection {
    pub(super) fn new(settings: ClientSettings) -> Self {
        Self {
            settings,
            current: Mutex::new(None),
            made: AtomicU64::new(0),
        }
    }

    /// Runs `call` with a client. After a failure of the connection the next call gets a new client;
    /// this one is tried once more where nothing can have been sent.
    pub(super) async fn with<T, C, F>(&self, call: C) -> Result<T, Error>
    where
        C: Fn(Client) -> F + Send,
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let (number, client) = self.client()?;
        match call(client).await {
            Err(error) if was_not_sent(&error) => {
                self.forget(number);
                let (number, client) = self.client()?;
                let again = call(client).await;
                if again.as_ref().is_err_and(is_of_connection) {
                    self.forget(number);
                }
                again
            }
            answer => {
                if answer.as_ref().is_err_and(is_of_connection) {
                    self.forget(number);
                }
                answer
            }
        }
    }

    fn client(&self) -> Result<(u64, Client), Error> {
        let mut current = self.current.lock();
        if let Some(current) = current.as_ref() {
            return Ok(current.clone());
        }
        let client = Client::new(self.settings.clone())
            .map_err(|error| Error::InitializationError(error.to_string()))?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Ok(current.insert((number, client)).clone())
    }

    /// Gives up a client, unless somebody did so before.
    fn forget(&self, number: u64) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|(known, _)| *known == number) {
            *current = None;
        }
    }
}

/// Whether the client never reached the server with the call.
const fn was_not_sent(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionClosed | Error::GrpcConnectionError(_)
    )
}

/// Whether another client might do better.
const fn is_of_connection(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionClosed
            | Error::GrpcConnectionError(_)
            | Error::ServerError(_)
            | Error::DeadlineExceeded
            | Error::NotLeaderException(_)
            | Error::IllegalStateError(_)
            | Error::InternalClientError
    )
}
