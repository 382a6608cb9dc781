//! Moving pages from the write-ahead log into the file, so that the former stays bounded.
//!
//! Nearly all of it happens on a connection and a thread of its own, beside the writer. A checkpoint
//! that runs beside a writer never ends, though: the log can only begin anew when nothing in it is
//! left to move. So once the thread has moved the bulk, the writer moves the little that came since,
//! between two transactions.

use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::schema;
use crate::failure::Failure;

/// Pages (4 KiB) in the write-ahead log at which a checkpoint starts.
const START_PAGES: u32 = 16_384;

/// Where a checkpoint could not empty the log (somebody was reading it, or the disk was full), the
/// next one starts this many pages later.
const AGAIN_PAGES: u32 = 4_096;

/// Pages that the writer moves itself; while more are left, the thread goes on.
const FINISH_PAGES_MAX: u32 = 1_024;

/// At this many pages appends wait for the thread, and the writer moves all that is left.
const WAL_PAGES_MAX: u32 = 65_536;

thread_local! {
    /// Pages in the write-ahead log after the last commit on this thread.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// The writer's side of checkpoints.
pub(super) struct Checkpoints {
    wake: Sender<()>,
    /// Pages that the thread had moved when it was done, from the start of the log.
    done: Receiver<u32>,
    thread: JoinHandle<()>,
    running: bool,
    start_at: u32,
}

impl Checkpoints {
    /// Starts the thread.
    pub(super) fn start(path: &Path) -> Result<Self, Failure> {
        let connection = schema::open_for_checkpoints(path)?;
        let (wake, woken) = channel();
        let (moved, done) = channel();
        let thread = std::thread::Builder::new()
            .name("log-checkpoint".into())
            .spawn(move || run(&connection, &woken, &moved))
            .map_err(|error| Failure::internal("open the log", error))?;
        Ok(Self {
            wake,
            done,
            thread,
            running: false,
            start_at: START_PAGES,
        })
    }

    /// Has the pages of each commit on `connection` counted, which must stay on this thread.
    pub(super) fn watch(connection: &Connection) {
        connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages.unsigned_abs());
            Ok(())
        }));
    }

    /// Does what is due after a commit. At most one message is on its way in either direction.
    pub(super) fn committed(&mut self, connection: &Connection) {
        let pages = WAL_PAGES.get();
        if !self.running {
            if pages >= self.start_at {
                self.running = self.wake.send(()).is_ok();
            }
            return;
        }
        let full = pages >= WAL_PAGES_MAX;
        let moved = if full {
            self.done.recv().map_err(TryRecvError::from)
        } else {
            self.done.try_recv()
        };
        match moved {
            Err(TryRecvError::Empty) => {}
            Ok(moved) if !full && pages.saturating_sub(moved) > FINISH_PAGES_MAX && moved > 0 => {
                self.running = self.wake.send(()).is_ok();
            }
            Ok(_) | Err(TryRecvError::Disconnected) => {
                self.running = false;
                let (in_log, moved) = passive(connection).unwrap_or((pages, 0));
                self.start_at = if moved >= in_log {
                    START_PAGES
                } else {
                    pages + AGAIN_PAGES
                };
            }
        }
    }

    /// Ends the thread, then empties the log.
    pub(super) fn close(self, connection: &Connection) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the checkpoint thread of the log panicked");
        }
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = emptied {
            tracing::warn!(%error, "the log's last checkpoint failed; nothing is lost by it");
        }
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, done: &Sender<u32>) {
    while woken.recv().is_ok() {
        let moved = passive(connection).map_or(0, |(_, moved)| moved);
        if done.send(moved).is_err() {
            return;
        }
    }
}

/// Moves what can be moved without waiting for anybody. Returns how many pages the log has and how
/// many of them are moved; `None` where it failed, which loses nothing and is tried again.
fn passive(connection: &Connection) -> Option<(u32, u32)> {
    let checkpoint = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    match checkpoint {
        Ok((in_log, moved)) => Some((u32::try_from(in_log).ok()?, u32::try_from(moved).ok()?)),
        Err(error) => {
            tracing::warn!(%error, "a checkpoint of the log failed and will be tried again");
            None
        }
    }
}
