//! The engines that the settings name: which adapters stand behind the ports.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Position;
use domain::values::Email;
use infra::blobs::Blobs;
use infra::bus::{LiveEvents, LocalSignals, LogEvents, NatsBus, NatsEvents, NatsSignals, Signals};
use infra::clock::Clock;
use infra::data_folder::DataFolder;
use infra::database::Database;
use infra::event_store::{
    EventStore, KurrentEventStore, LogSchema, PostgresEventStore, SqliteEventStore,
};
use infra::failure::Failure;
use infra::keys::Secret;
use infra::mail::{FolderMailer, Mailer, NoMailer, Sender, SmtpMailer};
use infra::snapshots::{MemorySnapshots, PostgresSnapshots, Snapshots, SqliteSnapshots};

use crate::leading::Election;
use crate::role::Role;
use crate::settings::{self, Settings};

/// Everything that keeps something, opened.
pub(crate) struct Engines {
    /// Held where anything is kept in it.
    folder: Option<DataFolder>,
    /// Where the folder is, or would be.
    path: PathBuf,
    log: Log,
    pub(crate) snapshots: Arc<dyn Snapshots>,
    pub(crate) database: Database,
    /// Where attachments are kept, where this process has a place for them.
    pub(crate) blobs: Option<Blobs>,
    pub(crate) secret: Secret,
    pub(crate) bus: Option<NatsBus>,
    /// A PostgreSQL server that all processes reach, where there is one.
    elections: Option<String>,
}

/// The event store, as what it is: a port cannot be closed.
enum Log {
    Sqlite(Arc<SqliteEventStore>),
    Postgres(Arc<PostgresEventStore>),
    Kurrent(Arc<KurrentEventStore>),
}

impl Engines {
    /// Opens them.
    ///
    /// # Errors
    /// Another process holds the data folder; a file cannot be opened; a server does not answer, or
    /// has the tables of another version.
    pub(crate) async fn open(settings: &Settings, clock: &Clock) -> Result<Self, Failure> {
        infra::tls::choose_provider();
        let in_folder = settings.event_store.is_none() || settings.database_url.is_none();
        let path = settings.data_dir.clone();
        let folder = if in_folder {
            Some(blocking(move || DataFolder::open(&path)).await?)
        } else {
            None
        };
        let (log, snapshots) = open_log(settings, folder.as_ref(), clock).await?;
        let is_new = *log.port().head().borrow() == Position::ZERO;
        let secret = open_secret(settings, folder.as_ref(), is_new).await?;
        let database = match (&settings.database_url, &folder) {
            (Some(url), _) => Database::open(url).await?,
            (None, Some(folder)) => {
                Database::open(&format!("sqlite:{}", folder.read().display())).await?
            }
            (None, None) => return Err(no_folder()),
        };
        let blobs = Self::open_blobs(settings, folder.as_ref()).await?;
        let bus = match &settings.nats_url {
            Some(url) => {
                let name = format!("verbatim {}", settings.role.as_str());
                let bus = NatsBus::connect(url, &settings.nats_prefix, &name).await;
                Some(bus.map_err(|error| Failure::internal("use NATS", error))?)
            }
            None => None,
        };
        let path = folder
            .as_ref()
            .map_or_else(|| settings.data_dir.clone(), |it| it.path().to_owned());
        Ok(Self {
            folder,
            path,
            log,
            snapshots,
            database,
            blobs,
            secret,
            bus,
            elections: elections(settings),
        })
    }

    /// The log.
    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        self.log.port()
    }

    /// The data folder, where there is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(DataFolder::path)
    }

    /// Where what is uploaded waits until it is imported.
    pub(crate) fn imports(&self) -> PathBuf {
        self.path.join("imports")
    }

    /// Where it is decided which process does the work `name`.
    pub(crate) fn election(&self, name: &'static str) -> Election {
        match &self.elections {
            Some(url) => Election::By {
                url: url.clone(),
                name,
            },
            None => Election::Alone,
        }
    }

    /// What takes mails: the mail server that is set, or the data folder where there is one.
    ///
    /// # Errors
    /// The settings name a mail server that cannot be used.
    pub(crate) fn mailer(&self, settings: &Settings) -> Result<Arc<dyn Mailer>, Failure> {
        let sender = Sender {
            name: settings.public_name.clone(),
            address: Email::parse(&settings.mail_from)
                .map_err(|invalid| Failure::internal("read mail_from", invalid))?,
        };
        Ok(match (&settings.smtp_url, &self.folder) {
            (Some(url), _) => Arc::new(SmtpMailer::new(url, sender)?),
            (None, Some(folder)) => Arc::new(FolderMailer::new(folder.mail(), sender)),
            (None, None) => {
                if settings.role.does(Role::Projector) {
                    tracing::warn!(
                        "nowhere to send mails: set smtp_url and mail_from. Until then nobody gets a \
                         code, and what is asked for is given up after ten minutes"
                    );
                }
                Arc::new(NoMailer::new(sender))
            }
        })
    }

    /// Where attachments are kept: where the settings say, or in the data folder where there is one.
    ///
    /// # Errors
    /// The settings name a place that cannot be opened.
    async fn open_blobs(
        settings: &Settings,
        folder: Option<&DataFolder>,
    ) -> Result<Option<Blobs>, Failure> {
        if let Some(url) = settings.files.attachments_url.clone() {
            return blocking(move || Blobs::open(&url)).await.map(Some);
        }
        if let Some(folder) = folder {
            let folder = folder.attachments();
            return blocking(move || Blobs::in_folder(&folder)).await.map(Some);
        }
        if settings.role.does(Role::CommandApi) || settings.role.does(Role::QueryApi) {
            tracing::warn!(
                "nowhere to keep attachments: set attachments_url. Until then there are none"
            );
        }
        Ok(None)
    }

    /// What is committed from now on.
    pub(crate) async fn live(&self) -> Result<Box<dyn LiveEvents>, Failure> {
        let store = self.store();
        let head = *store.head().borrow();
        Ok(match &self.bus {
            Some(bus) => Box::new(NatsEvents::start(bus, &store, head).await?),
            None => Box::new(LogEvents::new(&store, head)),
        })
    }

    /// What passes between the processes.
    pub(crate) async fn signals(&self) -> Result<Arc<dyn Signals>, Failure> {
        Ok(match &self.bus {
            Some(bus) => Arc::new(NatsSignals::start(bus).await?),
            None => Arc::new(LocalSignals::default()),
        })
    }

    /// Closes every file and connection.
    pub(crate) async fn close(&self) {
        if let Some(bus) = &self.bus {
            bus.close().await;
        }
        self.database.close().await;
        match &self.log {
            Log::Sqlite(store) => store.close().await,
            Log::Postgres(store) => store.close().await,
            Log::Kurrent(store) => store.close().await,
        }
    }
}

impl Log {
    fn port(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn EventStore>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn EventStore>,
            Self::Kurrent(store) => Arc::clone(store) as Arc<dyn EventStore>,
        }
    }
}

/// The read database, or else the event store, if it is PostgreSQL.
fn elections(settings: &Settings) -> Option<String> {
    [&settings.database_url, &settings.event_store]
        .into_iter()
        .flatten()
        .find(|url| settings::is_postgres(url))
        .cloned()
}

/// The event store, and where the snapshots of its streams are.
async fn open_log(
    settings: &Settings,
    folder: Option<&DataFolder>,
    clock: &Clock,
) -> Result<(Log, Arc<dyn Snapshots>), Failure> {
    let failed = |error| Failure::internal("open the event store", error);
    if let Some(url) = settings.event_store.as_deref() {
        if !settings::is_postgres(url) {
            let store = Arc::new(KurrentEventStore::open(url).await?);
            // It has no place for them: each process keeps its own, and starts without.
            return Ok((Log::Kurrent(store), Arc::new(MemorySnapshots::default())));
        }
        let schema = LogSchema::default();
        let store = PostgresEventStore::open(url, &schema, clock.clone()).await;
        let store = Arc::new(store.map_err(failed)?);
        let snapshots = PostgresSnapshots::open(url, &schema)
            .await
            .map_err(failed)?;
        return Ok((Log::Postgres(store), Arc::new(snapshots)));
    }
    let folder = folder.ok_or_else(no_folder)?;
    let (file, clock) = (folder.log(), clock.clone());
    let store = Arc::new(blocking(move || SqliteEventStore::open(&file, clock)).await?);
    let file = folder.snapshots();
    let snapshots = Arc::new(blocking(move || SqliteSnapshots::open(&file)).await?);
    Ok((Log::Sqlite(store), snapshots))
}

/// The secret of the file that is named, which has to be there; without one that of the data folder,
/// which is made for a log without events.
async fn open_secret(
    settings: &Settings,
    folder: Option<&DataFolder>,
    is_new: bool,
) -> Result<Secret, Failure> {
    if let Some(file) = settings.secret_file.clone() {
        return blocking(move || Secret::read(&file)).await;
    }
    let Some(folder) = folder else {
        let hint = "set secret_file; `verbatim new-secret FILE` makes one";
        return Err(Failure::internal("find the server's secret", hint));
    };
    let file = folder.keys().join("secret");
    blocking(move || {
        if is_new {
            Secret::open(&file)
        } else {
            Secret::read(&file)
        }
    })
    .await
}

/// A defect: the folder is opened wherever something is kept in it.
fn no_folder() -> Failure {
    Failure::internal("open the data folder", "it is not open")
}

/// Runs what waits for files on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::internal("open the data folder", error))?
}
