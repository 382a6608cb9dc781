//! A network link that a test can cut: a TCP forwarder. While it is cut nothing passes and nobody is
//! told, as where a cable was pulled; connections may then go on, or be found dead.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A link to one place. Ends when dropped.
pub struct Link {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _ends: DropGuard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    passes: bool,
    /// Connections that were made before this changed are dead.
    generation: u64,
}

impl Link {
    /// A link to `to` (host and port) that passes everything.
    pub async fn to(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State {
            passes: true,
            generation: 0,
        }));
        let stop = CancellationToken::new();
        let (stopped, told) = (stop.clone(), Arc::clone(&state));
        tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, told, stopped) = (to.clone(), told.subscribe(), stopped.clone());
                tokio::spawn(stopped.run_until_cancelled_owned(forward(near, to, told)));
            }
        }));
        Self {
            address,
            state,
            _ends: stop.drop_guard(),
        }
    }

    /// Where the near end is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes from now on.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.passes = false);
    }

    /// Everything passes again, also what waited.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.passes = true);
    }

    /// Everything passes again, but connections from before are gone.
    pub fn heal_afresh(&self) {
        self.state.send_modify(|state| {
            state.passes = true;
            state.generation += 1;
        });
    }
}

/// Forwards one connection both ways until it ends.
async fn forward(near: TcpStream, to: String, mut state: watch::Receiver<State>) {
    let generation = state.borrow().generation;
    // A connection that is begun while the link is cut waits, too.
    if state.wait_for(|state| state.passes).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    // Small messages are not to wait for one another.
    let set = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    set.expect("a connection");
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let dead = state.clone();
    tokio::select! {
        () = copy(near_read, far_write, state.clone()) => {}
        () = copy(far_read, near_write, state.clone()) => {}
        () = died(dead, generation) => {}
    }
}

async fn died(mut state: watch::Receiver<State>, generation: u64) {
    // Where nobody can say so any more, the test is over.
    let _ = state.wait_for(|state| state.generation != generation).await;
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        let passes = state.wait_for(|state| state.passes).await.is_ok();
        if count == 0 || !passes || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
