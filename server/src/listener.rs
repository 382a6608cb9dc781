//! Connections of clients: taken within bounds, encrypted where the settings say so, and each served by
//! a task of its own until it ends or the server stops.
//!
//! HTTP/1.1 only. Whoever wants HTTP/2 outside has a proxy, and streams are WebSockets.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::slots::{Slot, Slots};
use crate::tls::Certificates;

/// Bytes of a request's head: one with more is answered 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Headers of a request; more are answered 431.
const HEADERS_MAX: usize = 64;

/// Bytes that a connection reads ahead.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take over the handshake of TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long bytes may wait for a client that takes none; then its connection is cut.
const CLIENT_STALLED_MAX: Duration = Duration::from_secs(30);

/// How long nothing is taken after the machine had no room for another connection.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Takes connections and serves them.
#[derive(Clone)]
pub(crate) struct Listener {
    /// What answers.
    pub(crate) router: Router,
    /// How many there may be.
    pub(crate) slots: Arc<Slots>,
    /// `None` is no TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// How long a client may take over the head of a request, and how long it may send none.
    pub(crate) head_max: Duration,
}

impl Listener {
    /// Serves what comes to `listener` until `stop`; then waits until all that is under way is answered.
    /// What became a WebSocket is not waited for: the gateway knows those.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let serving = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((connection, peer)) => {
                    let Some(slot) = self.slots.take(peer.ip()) else {
                        // Dropping it closes it.
                        continue;
                    };
                    let (listener, stop) = (self.clone(), stop.clone());
                    serving.spawn(listener.connection(connection, peer, slot, stop));
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be taken");
                    tokio::time::sleep(ROOM_AGAIN_AFTER).await;
                }
            }
        }
        drop(listener);
        serving.close();
        serving.wait().await;
    }

    async fn connection(
        self,
        connection: TcpStream,
        peer: SocketAddr,
        slot: Slot,
        stop: CancellationToken,
    ) {
        set_up(&connection);
        let wire = match &self.certificates {
            None => Wire::Plain(connection),
            Some(certificates) => {
                let acceptor = TlsAcceptor::from(certificates.config());
                let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(connection));
                match handshake.await {
                    Ok(Ok(encrypted)) => Wire::Tls(Box::new(encrypted)),
                    Ok(Err(error)) => return refused(peer, &error),
                    Err(late) => return refused(peer, &late.into()),
                }
            }
        };
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let io = TokioIo::new(Held { wire, _slot: slot });
        let http = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_max)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(io, service)
            .with_upgrades();
        let mut http = pin!(http);
        let ended = tokio::select! {
            ended = http.as_mut() => ended,
            () = stop.cancelled() => {
                http.as_mut().graceful_shutdown();
                http.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended badly");
        }
    }
}

/// Whether only this one connection could not be taken.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn refused(peer: SocketAddr, error: &io::Error) {
    metrics::counter!("verbatim_tls_handshakes_failed_total").increment(1);
    tracing::debug!(%peer, %error, "a client did not come to speak TLS");
}

/// Small frames go out at once, and a connection whose client takes nothing any more ends.
fn set_up(connection: &TcpStream) {
    let set = connection
        .set_nodelay(true)
        .and_then(|()| SockRef::from(connection).set_tcp_user_timeout(Some(CLIENT_STALLED_MAX)));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection could not be set up; it ended already");
    }
}

/// A connection and its place among those there may be. The place is held for as long as bytes can come,
/// also after the connection became a WebSocket.
struct Held {
    wire: Wire,
    _slot: Slot,
}

/// One type for both, so that all of HTTP is compiled once.
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(wire) => Pin::new(wire).poll_read(context, into),
            Wire::Tls(wire) => Pin::new(wire).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(wire) => Pin::new(wire).poll_write(context, bytes),
            Wire::Tls(wire) => Pin::new(wire).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(wire) => Pin::new(wire).poll_write_vectored(context, bytes),
            Wire::Tls(wire) => Pin::new(wire).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(wire) => wire.is_write_vectored(),
            Wire::Tls(wire) => wire.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(wire) => Pin::new(wire).poll_flush(context),
            Wire::Tls(wire) => Pin::new(wire).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(wire) => Pin::new(wire).poll_shutdown(context),
            Wire::Tls(wire) => Pin::new(wire).poll_shutdown(context),
        }
    }
}
