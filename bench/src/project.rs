//! `project`: events a second into the read models from an empty database, beside the rate at which
//! the same database takes the same messages as bare rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::conversation::{
    ConversationEvent, HistoryVisibility, Kind, MemberRole, MessageSent, Role, Started,
};
use domain::receipts::{MarkedUpTo, ReceiptsEvent};
use domain::values::MessageBody;
use domain::{
    Actor, CommandId, ConversationId, Event, Metadata, Position, StreamName, UserId, Version,
};
use infra::clock::{Clock, fresh_id};
use infra::database::Database;
use infra::event_store::{EventStore, Expected, MemoryEventStore, NewEvent};
use infra::read_models::{ALL, wait_for};
use projector::Projector;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// How many messages are in the log; every fifth is seen by somebody.
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// In how many conversations, of ten members each.
    #[arg(long, default_value_t = 1_900)]
    conversations: u64,
    /// An empty database: `postgres://…` or a path; a file in a temporary folder by default.
    #[arg(long)]
    database: Option<String>,
    /// How often; the figures are of each run.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// A failure of the benchmark itself.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Measures and prints the runs as JSON.
pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let figure = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    println!("{figure:#}");
    Ok(())
}

async fn measure(options: &Options) -> Result<serde_json::Value, Failed> {
    let store: Arc<dyn EventStore> = Arc::new(MemoryEventStore::new(Clock::system()));
    fill(&*store, options).await?;
    let head = *store.head().borrow();
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        let (bare, _) = in_empty_database(options, async |database| {
            bare_rows(&database, options).await
        })
        .await?;
        let (projected, _) = in_empty_database(options, async |database| {
            project(Arc::clone(&store), database, head).await
        })
        .await?;
        runs.push(json!({
            "events_per_second": per_second(head.0, projected),
            "bare_rows_per_second": per_second(options.messages, bare),
        }));
    }
    Ok(json!({ "figure": "project", "events": head.0, "runs": runs }))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate, in whole events"
)]
fn per_second(count: u64, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64()) as u64
}

async fn in_empty_database(
    options: &Options,
    measure: impl AsyncFn(Database) -> Result<Duration, Failed>,
) -> Result<(Duration, Option<tempfile::TempDir>), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("read.db").display().to_string();
    let database = Database::open(options.database.as_deref().unwrap_or(&file)).await?;
    let mut transaction = database.write().await?;
    for table in ALL.iter().flat_map(|model| model.tables) {
        let view = format!("DROP VIEW IF EXISTS {}", table.name);
        transaction.run(&view, &[]).await?;
    }
    for table in ["projections", "parked"] {
        let drop = format!("DROP TABLE IF EXISTS {table}");
        transaction.run(&drop, &[]).await?;
    }
    transaction.commit().await?;
    let time = measure(database.clone()).await?;
    database.close().await;
    Ok((time, Some(folder)))
}

/// The limit: the messages as rows, without a fold, an index or another model.
async fn bare_rows(database: &Database, options: &Options) -> Result<Duration, Failed> {
    use infra::database::{Table, id, int, text};
    const BARE: Table = Table {
        name: "bare",
        columns: &[id("conversation"), int("seq"), id("author"), text("body")],
        key: &["conversation", "seq"],
        indexes: &[],
    };
    let mut transaction = database.write().await?;
    BARE.create(&mut transaction, 1).await?;
    transaction.commit().await?;
    let begun = Instant::now();
    let mut written = 0;
    while written < options.messages {
        let rows: Vec<_> = (written..options.messages.min(written + 2_000))
            .map(|number| {
                json!({
                    "conversation": conversation(number % options.conversations),
                    "seq": number / options.conversations + 2,
                    "author": user(number % 10),
                    "body": body(number),
                })
            })
            .collect();
        let mut transaction = database.write().await?;
        BARE.upsert(&mut transaction, 1, &rows).await?;
        transaction.commit().await?;
        written += rows.len() as u64;
    }
    Ok(begun.elapsed())
}

async fn project(
    store: Arc<dyn EventStore>,
    database: Database,
    head: Position,
) -> Result<Duration, Failed> {
    let stop = CancellationToken::new();
    let projector = Projector::new(store, database.clone(), Clock::system());
    let begun = Instant::now();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { projector.run(stop).await }
    });
    while wait_for(&database, &ALL, head, Duration::from_secs(5))
        .await
        .is_err()
    {}
    let time = begun.elapsed();
    stop.cancel();
    running.await??;
    Ok(time)
}

fn user(number: u64) -> UserId {
    UserId(Uuid::from_u128(0x1000 + u128::from(number)))
}

/// Spread like random ids.
fn conversation(number: u64) -> ConversationId {
    ConversationId(Uuid::new_v5(&Uuid::nil(), &number.to_be_bytes()))
}

fn body(number: u64) -> String {
    format!("message {number}, about as long as what people write to each other on a usual day")
}

async fn fill(store: &dyn EventStore, options: &Options) -> Result<(), Failed> {
    for number in 0..options.conversations {
        let started = ConversationEvent::Started(Started {
            kind: Kind::Group,
            title: None,
            creator: Some(user(0)),
            members: (0..10)
                .map(|member| MemberRole {
                    user: user(member),
                    role: Role::Member,
                })
                .collect(),
            history_visibility: HistoryVisibility::Start,
            channel: None,
        });
        append(
            store,
            StreamName::conversation(conversation(number)),
            started,
        )
        .await?;
    }
    for number in 0..options.messages {
        let id = conversation(number % options.conversations);
        let author = user(number % 10);
        let body = MessageBody::imported(body(number));
        let sent = ConversationEvent::MessageSent(MessageSent::plain(author, body));
        append(store, StreamName::conversation(id), sent).await?;
        if number % 5 == 0 {
            let seen = ReceiptsEvent::Seen(MarkedUpTo {
                member: user((number + 1) % 10),
                seq: Version(number / options.conversations + 2),
                private: false,
            });
            append(store, StreamName::receipts(id), seen).await?;
        }
    }
    Ok(())
}

async fn append(
    store: &dyn EventStore,
    stream: StreamName,
    event: impl Into<Event>,
) -> Result<(), Failed> {
    let metadata = Metadata {
        actor: Actor::System,
        command_id: CommandId(fresh_id()),
        command_hash: "0123456789abcdef0123456789abcdef".to_owned(),
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        occurred_at: None,
    };
    let event = NewEvent::encode(&event.into(), &metadata, 0)?;
    store.append(&stream, Expected::Any, vec![event]).await?;
    Ok(())
}
