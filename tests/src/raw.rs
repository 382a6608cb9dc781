//! Somebody who speaks to the server byte by byte, and badly.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a server may take to close a connection that it should close.
const CLOSE_MAX: Duration = Duration::from_secs(20);

/// Sends `bytes` to the server as they are, and nothing more; gives all that it says until it closes the
/// connection, which it must.
pub async fn exchange(server: &str, bytes: &[u8]) -> String {
    let place = server.split_once("://").map_or(server, |(_, place)| place);
    let mut connection = TcpStream::connect(place).await.expect("a connection");
    let mut said = Vec::new();
    let closed = async {
        // A server that has heard enough may close before everything is sent.
        let _ = connection.write_all(bytes).await;
        let _ = connection.read_to_end(&mut said).await;
    };
    let closed = tokio::time::timeout(CLOSE_MAX, closed).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(closed.is_ok(), "the connection stays open after {said:?}");
    said
}
