//! What the store on a server promises beyond the port.

use std::sync::Arc;

use chrono::DateTime;
use domain::{Position, Version};
use infra::clock::Clock;
use infra::event_store::{
    AppendError, EVENT_BYTES_MAX, EventStore, Expected, LogError, Migrated, PostgresEventStore,
    SubscriptionItem, subscribe_all, version_of,
};
use infra::failure::{Failure, FailureSort};
use sqlx::AssertSqlSafe;

use super::{Log, Subject, all, event, events, fresh_schema, shared_server, stream};

#[tokio::test]
async fn a_schema_that_is_missing_or_newer_is_refused_with_what_to_do() {
    let (url, schema) = (shared_server(), fresh_schema());
    let open = async || {
        let opened = PostgresEventStore::open(&url, &schema, Clock::system()).await;
        opened.err().map(|error| (error.to_string(), error))
    };
    let (said, missing) = open().await.unwrap();
    assert!(
        matches!(missing, LogError::Older { found: 0, .. }),
        "{said}"
    );
    assert!(said.contains("run `verbatim migrate`"), "{said}");

    // Two at once: one makes the tables, the other finds them.
    let (one, other) = tokio::join!(
        PostgresEventStore::migrate(&url, &schema),
        PostgresEventStore::migrate(&url, &schema),
    );
    let mut froms = [one.unwrap(), other.unwrap()].map(|migrated| migrated.from);
    froms.sort_unstable();
    let Migrated { from, to } = PostgresEventStore::migrate(&url, &schema).await.unwrap();
    assert_eq!((froms, from), ([0, to], to));
    assert!(open().await.is_none());

    let newer = format!("INSERT INTO {schema}.migrations VALUES ({})", to + 1);
    let log = Log::existing(&url, &schema);
    let mut connection = log.connect().await;
    let newer = sqlx::raw_sql(AssertSqlSafe(newer));
    newer.execute(&mut connection).await.unwrap();
    let (said, newer) = open().await.unwrap();
    assert!(matches!(newer, LogError::Newer { .. }), "{said}");
    assert!(
        said.contains(&format!("known to this program is {to}")),
        "{said}"
    );
    let refused = PostgresEventStore::migrate(&url, &schema).await;
    assert!(
        matches!(refused, Err(LogError::Newer { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_user_who_owns_nothing_but_the_schema_is_enough() {
    let (admin, schema) = (shared_server(), fresh_schema());
    let mut connection = Log::existing(&admin, &schema).connect().await;
    let role = format!("role_{schema}");
    let made = format!(
        "CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB; CREATE SCHEMA {schema} AUTHORIZATION {role}"
    );
    let made = sqlx::raw_sql(AssertSqlSafe(made));
    made.execute(&mut connection).await.unwrap();
    let url = admin.replace("verbatim@", &format!("{role}@"));
    assert_ne!(url, admin);
    PostgresEventStore::migrate(&url, &schema).await.unwrap();
    let store = PostgresEventStore::open(&url, &schema, Clock::system())
        .await
        .unwrap();
    let name = stream("conversation-a");
    store
        .append(&name, Expected::NoStream, events(0..3))
        .await
        .unwrap();
    assert_eq!(all(&store).await.len(), 3);
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let url = format!("postgres://verbatim@127.0.0.1:{port}/postgres");
    match PostgresEventStore::open(&url, &fresh_schema(), Clock::system()).await {
        Err(LogError::Failure(failure)) => assert_unavailable(&failure),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn times_never_run_backwards_on_whichever_node() {
    let log = Log::new().await;
    let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 123_000).unwrap();
    let clocks = [Clock::fixed(at(100)), Clock::fixed(at(50))];
    let nodes = [log.open(&clocks[0]).await, log.open(&clocks[1]).await];
    let name = stream("conversation-a");
    for (number, (node, recorded_at)) in (0..).zip([(1, 50), (0, 100), (1, 100), (0, 100)]) {
        let batch = events([number]);
        nodes[node]
            .append(&name, Expected::Any, batch)
            .await
            .unwrap();
        let log = all(&*nodes[0]).await;
        assert_eq!(log.last().unwrap().recorded_at, at(recorded_at));
    }
}

#[tokio::test]
async fn any_bytes_are_kept_and_what_the_server_cannot_take_harms_no_neighbour() {
    let subject = Subject::postgres().await;
    let store = subject.store();
    let mut odd = event(1);
    odd.data = (0..=255).collect::<Vec<u8>>().into();
    odd.metadata = vec![0, 0xff, b'\\', b'\''].into();
    let name = stream("conversation-\u{e4}\u{4e16}'\\\"");
    store
        .append(&name, Expected::NoStream, vec![odd.clone()])
        .await
        .unwrap();
    let recorded = &all(&*store).await[0];
    assert_eq!(
        (&recorded.data, &recorded.metadata),
        (&odd.data, &odd.metadata)
    );
    assert_eq!(recorded.stream, name);

    let mut unfit = event(2);
    unfit.event_type = "a\0b".into();
    let (refused, neighbour) = tokio::join!(
        store.append(&name, Expected::Any, vec![unfit]),
        store.append(&name, Expected::Any, events([3])),
    );
    assert!(
        matches!(refused, Err(AppendError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(neighbour.unwrap().first_version, Version(2));
}

#[tokio::test]
async fn an_old_id_that_is_decided_anew_is_another_event() {
    let subject = Subject::postgres().await;
    let store = subject.store();
    let name = stream("conversation-a");
    store
        .append(&name, Expected::NoStream, events(0..2))
        .await
        .unwrap();
    let anew = store
        .append(&name, Expected::Exact(Version(2)), events(0..2))
        .await;
    assert_eq!(anew.unwrap().first_version, Version(3));
    // With any version the newest of them is found again.
    let again = store.append(&name, Expected::Any, events(0..2)).await;
    assert_eq!(again.unwrap().first_version, Version(3));
    assert_eq!(version_of(&*store, &name).await.unwrap(), Version(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_transaction_see_those_before_them() {
    // While a large append is under way the others gather, and go together afterwards.
    let subject = Subject::postgres().await;
    let store = subject.store();
    let large = events(1_000_000..1_010_000);
    let name = stream("conversation-a");
    let large_name = stream("conversation-large");
    let appends = (0..300_u64).map(|number| {
        let (store, name) = (Arc::clone(&store), name.clone());
        // Of every three the first two fit, one after the other, and the third comes too late.
        let expected = Expected::Exact(Version(number / 3 * 2 + (number % 3).min(1)));
        async move { store.append(&name, expected, events([number])).await }
    });
    let (large, results) = tokio::join!(
        store.append(&large_name, Expected::NoStream, large),
        futures::future::join_all(appends),
    );
    large.unwrap();
    for (number, result) in (0_u64..).zip(results) {
        let version = Version(number / 3 * 2 + 1 + number % 3);
        match (number % 3, result) {
            (0 | 1, Ok(appended)) => assert_eq!(appended.first_version, version),
            (2, Err(AppendError::Conflict { actual })) => assert_eq!(actual.next(), version),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!(version_of(&*store, &name).await.unwrap(), Version(200));
}

#[tokio::test]
async fn a_page_of_large_events_is_short_and_none_is_lost() {
    let subject = Subject::postgres().await;
    let store = subject.store();
    let name = stream("conversation-large");
    for number in 0..40 {
        let mut event = event(number);
        event.data = vec![b'x'; EVENT_BYTES_MAX - event.metadata.len()].into();
        store
            .append(&name, Expected::Any, vec![event])
            .await
            .unwrap();
    }
    let page = store.read_all(Position::ZERO, 40).await.unwrap();
    assert_eq!(page.len(), 16);
    assert_eq!(all(&*store).await.len(), 40);
}

#[tokio::test]
async fn a_closed_store_finishes_what_it_took_and_says_that_it_is_closed() {
    let log = Log::new().await;
    let store = log.open(&Clock::system()).await;
    let mut subscription = subscribe_all(Arc::clone(&store) as Arc<_>, Position::ZERO);
    assert_eq!(
        subscription.next().await.unwrap(),
        SubscriptionItem::CaughtUp
    );
    let name = stream("conversation-a");
    let (taken, ()) = tokio::join!(
        store.append(&name, Expected::NoStream, events(0..5)),
        store.close()
    );
    assert_eq!(taken.unwrap().last_version(), Version(5));
    assert_eq!(*store.head().borrow(), Position(5));
    // What follows ends, once nothing can come any more, with a failure.
    assert_unavailable(&subscription.next().await.unwrap_err());
    assert_unavailable(&subscription.next().await.unwrap_err());
    match store.append(&name, Expected::Any, events(5..6)).await {
        Err(AppendError::Failure(failure)) => assert_unavailable(&failure),
        other => panic!("a closed store took an append: {other:?}"),
    }
    let reopened = log.open(&Clock::system()).await;
    assert_eq!(all(&*reopened).await.len(), 5);
}

fn assert_unavailable(failure: &Failure) {
    assert_eq!(failure.sort(), FailureSort::Unavailable, "{failure}");
}
