//! Somebody who listens on the gateway over a WebSocket.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::person::Person;

/// How long the next frame may take.
const FRAME_MAX: Duration = Duration::from_secs(20);

/// How long it may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A connection to the gateway.
pub struct Listener {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Listener {
    /// Connects; the first frame must be `hello`.
    pub async fn connect(server: &str) -> Self {
        Self::try_connect(server).await.expect("a WebSocket")
    }

    /// Connects as a page of the server itself does in a browser that has `cookies`.
    pub async fn connect_from_page(server: &str, cookies: &str) -> Self {
        Self::connect_from_page_of(server, server, cookies).await
    }

    /// Connects as a page of `origin` does in such a browser.
    pub async fn connect_from_page_of(server: &str, origin: &str, cookies: &str) -> Self {
        let headers = [("origin", origin), ("cookie", cookies)];
        let connected = Self::try_connect_with(server, &headers).await;
        connected.expect("a WebSocket")
    }

    /// Connects to a server that may be gone.
    async fn try_connect(server: &str) -> Option<Self> {
        Self::try_connect_with(server, &[]).await
    }

    async fn try_connect_with(server: &str, headers: &[(&'static str, &str)]) -> Option<Self> {
        let url = format!("{}/v1/stream", server.replacen("http", "ws", 1));
        let mut request = url.into_client_request().expect("a URL");
        let protocol = "verbatim.v1.json".parse().expect("a header");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        for (name, value) in headers {
            let value = value.parse().expect("a header");
            request.headers_mut().insert(*name, value);
        }
        let connected = tokio_tungstenite::connect_async(request);
        let connected = tokio::time::timeout(CONNECT_MAX, connected).await.ok()?;
        let mut listener = Self {
            socket: connected.ok()?.0,
        };
        let hello = listener.try_next().await?;
        assert_eq!(hello["op"], "hello");
        Some(listener)
    }

    /// Connects as `person` to a server that may be gone, to go on after `cursor`.
    pub async fn try_resume(person: &Person, cursor: &str) -> Option<Self> {
        let mut listener = Self::try_connect(person.server()).await?;
        let identify = json!({ "op": "identify", "token": person.token, "cursor": cursor });
        listener.try_send(identify).await.then_some(listener)
    }

    /// Sends a frame; says whether the connection took it.
    pub async fn try_send(&mut self, frame: Value) -> bool {
        let text = frame.to_string();
        self.socket.send(Message::text(text)).await.is_ok()
    }

    /// Connects as `person`, live from now; gives the `ready` frame too.
    pub async fn live(person: &Person) -> (Self, Value) {
        let mut listener = Self::connect(person.server()).await;
        listener
            .send(json!({ "op": "identify", "token": person.token }))
            .await;
        let ready = listener.wait_for("ready").await;
        (listener, ready)
    }

    /// Connects as `person` to a server that may be gone, live from now.
    pub async fn try_live(person: &Person) -> Option<Self> {
        let mut listener = Self::try_connect(person.server()).await?;
        let identify = json!({ "op": "identify", "token": person.token });
        if !listener.try_send(identify).await {
            return None;
        }
        while listener.try_next().await?["op"] != "ready" {}
        Some(listener)
    }

    /// Connects as `person` and goes on after `cursor`.
    pub async fn resumed(person: &Person, cursor: &str) -> Self {
        let mut listener = Self::connect(person.server()).await;
        let identify = json!({ "op": "identify", "token": person.token, "cursor": cursor });
        listener.send(identify).await;
        listener.wait_for("resumed").await;
        listener
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        let text = frame.to_string();
        self.socket
            .send(Message::text(text))
            .await
            .expect("the frame is sent");
    }

    /// The next frame; it must come in time.
    pub async fn next(&mut self) -> Value {
        self.try_next().await.expect("the connection is open")
    }

    /// The next frame, or `None` when the connection has ended.
    pub async fn try_next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(FRAME_MAX, self.socket.next());
            match next.await.expect("a frame in time")? {
                Ok(Message::Text(text)) => {
                    return Some(serde_json::from_str(&text).expect("a JSON frame"));
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The code with which the server closes; frames before it are passed over.
    pub async fn closed_with(&mut self) -> u16 {
        loop {
            let next = tokio::time::timeout(FRAME_MAX, self.socket.next());
            match next.await.expect("a close in time") {
                Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
                Some(Ok(_)) => {}
                other => panic!("not closed but {other:?}"),
            }
        }
    }

    /// The next frame with this op; others are passed over.
    pub async fn wait_for(&mut self, op: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["op"] == op {
                return frame;
            }
            assert_ne!(frame["op"], "error", "{frame}");
        }
    }

    /// The next event of this type.
    pub async fn wait_for_event(&mut self, event_type: &str) -> Value {
        loop {
            let frame = self.wait_for("event").await;
            if frame["type"] == event_type {
                return frame;
            }
        }
    }
}
