//! The composition root: the one place that knows which adapters stand behind the ports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use chrono::TimeDelta;
use command_api::execute::Limits as ExecuteLimits;
use command_api::owner::OwnerCode;
use command_api::{
    AttachmentRules, CommandApi, Parts as CommandParts, PasswordCost, SecondFactorRules,
    SessionRules,
};
use domain::{Position, UserId};
use infra::auth::cookies::CookieSecurity;
use infra::auth::{FirstSight, Guard, Tokens};
use infra::clock::Clock;
use infra::codes::CodeKeys;
use infra::event_store::EventStore;
use infra::failure::Failure;
use infra::issuers::Issuers;
use infra::limits::{Limit, LoginGate};
use infra::mail::Mailer;
use infra::read_models::Snapshot;
use projector::{Collecting, Mailing, Projector, Relay, RelayWindow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engines::Engines;
use crate::issuer_settings;
use crate::leading::Work;
use crate::owner_code;
use crate::role::Role;
use crate::settings::Settings;
use crate::usage::ReadModelUsage;

/// Wrong second factors of one user from all addresses together that never showed a right one. Three codes
/// of an app are right at a time: whoever has the password and tries all day has one chance in 1,400.
const SECOND_FACTOR_STRANGERS: Limit = Limit::at(10, 3_600, 10);

/// Everything below the doors: opened from a data folder, used by the server and by the commands
/// that work on a folder.
pub(crate) struct Node {
    pub(crate) engines: Engines,
    pub(crate) role: Role,
    pub(crate) clock: Clock,
    pub(crate) owner_code: String,
    pub(crate) guard: Arc<Guard>,
    pub(crate) command_api: CommandApi,
    /// Makes accounts of those who come with an issuer's token, where the role has that; the guard knows
    /// it as long as it is held here.
    _first_sight: Option<Arc<dyn FirstSight>>,
    pub(crate) projector: Projector,
    /// Whether this process keeps the read models; in a cluster one of several does.
    pub(crate) projects: Arc<AtomicBool>,
    relay_window: RelayWindow,
    mailer: Arc<dyn Mailer>,
    started: Instant,
    stopping: AtomicBool,
}

/// How a server is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// Version of the program.
    pub(crate) version: String,
    /// Seconds since it was started.
    pub(crate) uptime_s: u64,
    /// Position of the last event of the log.
    pub(crate) position: Position,
    /// Where each generation of a read model is.
    pub(crate) projections: Vec<ProjectionLine>,
    /// Open connections to the gateway.
    pub(crate) connections: usize,
}

/// Where one generation of a read model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProjectionLine {
    /// The read model.
    pub(crate) name: String,
    /// The version of its shape.
    pub(crate) version: u64,
    /// `live`, or `building` while it catches up beside the live one.
    pub(crate) state: String,
    /// Everything up to here is in it.
    pub(crate) position: Position,
    /// Streams left out because an event could not be applied.
    pub(crate) parked: u64,
}

impl Node {
    /// Opens the data folder of `settings` as [`Node::open`] does, if there is a log in it: a mistyped
    /// folder is told and not made.
    pub(crate) async fn open_existing(settings: &Settings) -> Result<Self, Failure> {
        let log = settings.data_dir.join("log.db");
        if settings.event_store.is_some() || log.exists() {
            return Self::open(settings).await;
        }
        let missing = format!(
            "{} is missing; name the folder with --data-dir, or a running server with --server",
            log.display()
        );
        Err(Failure::internal("open the data folder", missing))
    }

    /// Opens the data folder of `settings` and everything in it. Nothing runs yet.
    ///
    /// # Errors
    /// Another process holds the folder; a file cannot be opened; the read database does not
    /// answer.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let clock = Clock::system();
        let engines = Engines::open(settings, &clock).await?;
        let store = engines.store();
        let secret = &engines.secret;
        let issuers = issuer_settings::configs(&settings.issuers)
            .map_err(|error| Failure::internal("read the issuers", error))?;
        let issuers = Arc::new(Issuers::new(issuers, secret, &clock)?);
        let tokens = Tokens::of_generation(secret, settings.token_key_generation)?;
        let guard = Guard::new(tokens, &store, &clock).with_issuers(Arc::clone(&issuers));
        let guard = Arc::new(guard);
        let owner_code = owner_code::of(secret);
        let command_api = CommandApi::new(CommandParts {
            store: Arc::clone(&store),
            snapshots: Arc::clone(&engines.snapshots),
            guard: Arc::clone(&guard),
            issuers,
            secret: secret.clone(),
            clock: clock.clone(),
            limits: ExecuteLimits::default(),
            session_rules: session_rules(settings),
            password_cost: PasswordCost {
                memory_kib: settings.password_memory_kib,
                passes: settings.password_passes,
            },
            login_gate: LoginGate::new(
                settings.edge.limit_login_name,
                settings.edge.limit_login_strangers,
            ),
            second_factors: SecondFactorRules {
                relying_party: settings.relying_party(),
                gate: second_factor_gate(settings),
            },
            attachments: attachment_rules(settings, &engines)?,
            owner_code: Some(OwnerCode::new(owner_code.clone())),
        })?;
        check_secret(&command_api, settings).await?;
        let first_sight = settings.role.does(Role::CommandApi).then(|| {
            let port: Arc<dyn FirstSight> = Arc::new(command_api.clone());
            let weak: Weak<dyn FirstSight> = Arc::downgrade(&port);
            guard.set_first_sight(weak);
            port
        });
        let mailer = engines.mailer(settings)?;
        let projector = Projector::new(store, engines.database.clone(), clock.clone());
        Ok(Self {
            engines,
            role: settings.role,
            clock,
            owner_code,
            guard,
            command_api,
            _first_sight: first_sight,
            projector,
            projects: Arc::default(),
            relay_window: RelayWindow {
                bytes_max: u64::from(settings.nats_window_mib) * 1024 * 1024,
                replicas: settings.nats_replicas,
            },
            mailer,
            started: Instant::now(),
            stopping: AtomicBool::new(false),
        })
    }

    /// The log.
    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        self.engines.store()
    }

    /// Keeps the read models up to date until it is stopped.
    pub(crate) fn start_projecting(&self) -> Work {
        let (projector, projects) = (self.projector.clone(), Arc::clone(&self.projects));
        Work::start(self.engines.election("projecting"), move |stop| {
            let (projector, projects) = (projector.clone(), Arc::clone(&projects));
            async move {
                projects.store(true, Ordering::SeqCst);
                let ended = projector.run(stop).await;
                projects.store(false, Ordering::SeqCst);
                ended
            }
        })
    }

    /// Publishes the log to NATS until it is stopped, where there is NATS.
    pub(crate) fn start_relaying(&self) -> Option<Work> {
        let bus = self.engines.bus.clone()?;
        let relay = Arc::new(Relay::new(self.store(), bus, self.relay_window));
        let election = self.engines.election("relaying");
        Some(Work::start(election, move |stop| {
            let relay = Arc::clone(&relay);
            async move {
                relay.run(stop).await;
                Ok(())
            }
        }))
    }

    /// Mails what the log asks for until it is stopped.
    pub(crate) fn start_mailing(&self) -> Work {
        let keys = CodeKeys::new(&self.engines.secret);
        let mailer = Arc::clone(&self.mailer);
        let mailing = Arc::new(Mailing::new(self.store(), mailer, keys, self.clock.clone()));
        Work::start(self.engines.election("mailing"), move |stop| {
            let mailing = Arc::clone(&mailing);
            async move {
                mailing.run(stop).await;
                Ok(())
            }
        })
    }

    /// Erases attachments that nothing has any more until it is stopped, where there is a place for them.
    pub(crate) fn start_collecting(&self) -> Option<Work> {
        let blobs = self.engines.blobs.clone()?;
        let (database, clock) = (self.engines.database.clone(), self.clock.clone());
        let collecting = Arc::new(Collecting::new(self.store(), database, blobs, clock));
        Some(Work::start(
            self.engines.election("collecting"),
            move |stop| {
                let collecting = Arc::clone(&collecting);
                async move {
                    collecting.run(stop).await;
                    Ok(())
                }
            },
        ))
    }

    /// The user with this handle or id.
    pub(crate) async fn user(&self, name: &str) -> Result<UserId, UnknownUser> {
        let unknown = || UnknownUser::NoSuchUser(name.to_owned());
        if let Ok(user) = name.parse() {
            let account = self.guard.account(user).await?;
            return account.map(|_| user).ok_or_else(unknown);
        }
        let found = self.command_api.find_user(name).await?;
        found.map(|(user, _)| user).ok_or_else(unknown)
    }

    /// How it is doing, without connections: those are the server's.
    pub(crate) async fn status(&self) -> Result<Status, Failure> {
        let projections = self.projector.status().await?;
        let projections = projections
            .into_iter()
            .map(|projection| ProjectionLine {
                name: projection.name,
                version: projection.version,
                state: projection.state.as_str().to_owned(),
                position: projection.position,
                parked: projection.parked,
            })
            .collect();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            position: *self.store().head().borrow(),
            projections,
            connections: 0,
        })
    }

    /// Whether the log can be read.
    pub(crate) async fn event_store_answers(&self) -> bool {
        let read = self.store().read_all(Position::ZERO, 1).await;
        read.inspect_err(|failure| tracing::warn!(%failure, "the event store does not answer"))
            .is_ok()
    }

    /// Whether every read model answers queries.
    pub(crate) async fn read_database_answers(&self) -> bool {
        let read = Snapshot::of(&self.engines.database, &infra::read_models::ALL).await;
        read.inspect_err(|error| tracing::warn!(%error, "the read database does not answer"))
            .is_ok()
    }

    /// Whether it is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on it is about to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Answers what was accepted, then closes every file. Commands after this are refused.
    pub(crate) async fn close(&self) {
        self.command_api.close().await;
        self.engines.close().await;
    }
}

/// Where wrong passwords are not limited, nor are wrong second factors.
fn second_factor_gate(settings: &Settings) -> LoginGate {
    let strangers = match settings.edge.limit_login_strangers {
        Limit::Off => Limit::Off,
        Limit::At(_) => SECOND_FACTOR_STRANGERS,
    };
    LoginGate::new(settings.edge.limit_login_name, strangers)
}

/// What may be uploaded, and where it goes.
fn attachment_rules(settings: &Settings, engines: &Engines) -> Result<AttachmentRules, Failure> {
    const MIB: u64 = 1024 * 1024;
    let files = &settings.files;
    let scanner = files.scanner();
    Ok(AttachmentRules {
        blobs: engines.blobs.clone(),
        bytes_max: u64::from(files.attachment_mib_max) * MIB,
        quota_bytes: u64::from(files.attachment_quota_mib) * MIB,
        types: files.attachment_types.clone(),
        scanner: scanner.map_err(|error| Failure::internal("read the scanner's address", error))?,
        usage: Arc::new(ReadModelUsage::new(engines.database.clone())),
    })
}

fn session_rules(settings: &Settings) -> SessionRules {
    SessionRules {
        session_lifetime: TimeDelta::hours(settings.session_hours.into()),
        access_token_lifetime: TimeDelta::minutes(settings.access_token_minutes.into()),
        cookies: if settings.insecure_cookies {
            CookieSecurity::Any
        } else {
            CookieSecurity::TlsOnly
        },
    }
}

/// Refuses a secret that is not the log's. A server that only keeps the log for others, who write
/// through its door, may have one of its own: for them it goes on.
async fn check_secret(command_api: &CommandApi, settings: &Settings) -> Result<(), Failure> {
    if command_api.is_secret_of_log().await? {
        return Ok(());
    }
    if settings.eventstore_listen.is_some() {
        tracing::warn!(
            "others wrote the log with another secret; send no commands to this server, or give it \
             their secret_file"
        );
        return Ok(());
    }
    Err(Failure::internal("open the log", OtherSecret))
}

/// The secret is that of another log.
#[derive(Debug, thiserror::Error)]
#[error(
    "the secret is not the one that the log was written with: bring back keys/secret from the \
     backup, or give every process the same secret_file"
)]
struct OtherSecret;

/// A user who was named and is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnknownUser {
    /// Nobody has that handle or id.
    #[error("there is no user {0}")]
    NoSuchUser(String),
    /// It could not be looked up.
    #[error(transparent)]
    Failure(#[from] Failure),
}
