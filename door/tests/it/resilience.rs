//! What our adapter of the official client does when the server goes, comes back, or ends a
//! subscription in the way that makes the client turn round for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use door::Deletes;
use eventstore::{Error, SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, EventStore, Expected, KurrentEventStore, MemoryEventStore, version_of,
};
use infra::failure::FailureSort;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::event_store::{events, stream};
use crate::harness::Opened;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found_again() {
    let clock = Clock::system();
    let log: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
    let door = Opened::on(Arc::clone(&log), clock.clone(), Deletes::Refused).await;
    let (url, port) = (door.url(), door.port);
    let store = KurrentEventStore::open(&url).await.unwrap();
    let name = stream("conversation-a");
    store
        .append(&name, Expected::Any, events([1]))
        .await
        .unwrap();
    door.close().await;
    for round in 1..3_u64 {
        let refused = store
            .append(&name, Expected::Any, events([30 + round]))
            .await;
        assert!(
            matches!(&refused, Err(AppendError::Failure(failure)) if failure.sort() == FailureSort::Unavailable),
            "{refused:?}"
        );
        let door = Opened::at(port, Arc::clone(&log), clock.clone(), Deletes::Refused).await;
        store
            .append(&name, Expected::Any, events([10 + round]))
            .await
            .unwrap();
        // Somebody else's event is noticed by the subscription, which had to begin again.
        let others = log.append(&name, Expected::Any, events([20 + round])).await;
        let position = others.unwrap().position();
        let mut head = store.head();
        let noticed = head.wait_for(|head| *head >= position);
        tokio::time::timeout(PATIENCE, noticed)
            .await
            .unwrap()
            .unwrap();
        door.close().await;
    }
    assert_eq!(version_of(&*log, &name).await.unwrap().0, 5);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_tells_its_followers_and_does_not_wait_for_them() {
    let clock = Clock::system();
    let log: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(clock.clone()));
    let door = Opened::on(log, clock, Deletes::Refused).await;
    let client = door.client();
    let mut of_all = client
        .subscribe_to_all(&SubscribeToAllOptions::default())
        .await;
    let options = SubscribeToStreamOptions::default();
    let mut of_one = client.subscribe_to_stream("orders-1", &options).await;
    for follower in [&mut of_all, &mut of_one] {
        loop {
            if let SubscriptionEvent::CaughtUp(_) =
                follower.next_subscription_event().await.unwrap()
            {
                break;
            }
        }
    }
    let closed = tokio::time::timeout(PATIENCE, door.close());
    let (closed, all, one) = tokio::join!(closed, of_all.next(), of_one.next());
    closed.unwrap();
    for told in [all, one] {
        assert!(matches!(told, Err(Error::ServerError(_))), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_and_not_waited_for() {
    let url = "kurrentdb://service:x@127.0.0.1:1?tls=false&discoveryInterval=1";
    let refused = KurrentEventStore::open(url).await.err().unwrap();
    assert_eq!(refused.sort(), FailureSort::Unavailable, "{refused}");
    assert!(
        KurrentEventStore::open("postgres://nonsense")
            .await
            .is_err()
    );
}

/// A server that ends every reading well at once, and counts them.
async fn ends_everything(reads: watch::Sender<usize>) -> u16 {
    let count = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(move |request: Request| {
        let is_read = request.uri().path().ends_with("/Read");
        if is_read {
            reads.send_replace(count.fetch_add(1, Ordering::Relaxed) + 1);
        }
        // Other calls are not there.
        let status = if is_read { "0" } else { "12" };
        async move {
            Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status)
                .body(Body::empty())
                .unwrap()
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = Server::builder().add_routes(Routes::from(router));
    tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_was_ended_well_is_not_left_turning() {
    let (reads, mut counted) = watch::channel(0);
    let port = ends_everything(reads).await;
    let url = format!("kurrentdb://127.0.0.1:{port}?tls=false&discoveryInterval=1");
    let store = KurrentEventStore::open(&url).await.unwrap();
    // The first is that for the head; the others are subscriptions, each after the end of another.
    let again = counted.wait_for(|count| *count >= 4);
    tokio::time::timeout(PATIENCE, again)
        .await
        .unwrap()
        .unwrap();
    tokio::time::timeout(PATIENCE, store.close()).await.unwrap();
}
