//! Where a request's client is: behind proxies that are trusted, the last address that is not theirs.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use infra::http::ClientAddress;
use infra::limits::Proxies;

/// Puts the client's address where limits, logs and logins find it.
pub(super) async fn find(
    State(proxies): State<Arc<Proxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(ConnectInfo(peer)) = connection {
        let client = proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(ClientAddress(Some(client)));
    }
    next.run(request).await
}
