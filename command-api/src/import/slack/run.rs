//! An import from start to end: the lists, the users, then conversation by conversation, file by
//! file.

use std::collections::{HashMap, HashSet};

use domain::{Actor, UserId};
use infra::failure::Failure;
use infra::problem::Problem;
use serde::de::DeserializeOwned;

use super::channel::{Channel, Kind};
use super::export::{Export, ExportFile};
use super::people::{People, Person};
use super::records::{At, records};
use super::report::{Place, Progress, Reason, Report};
use super::shapes::{SlackConversation, SlackUser};
use crate::CommandApi;

/// Who imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Importer {
    /// Stands in the events' metadata.
    pub actor: Actor,
    /// Becomes the owner of imported public channels. Without one, their creator or first member
    /// does, who cannot log in.
    pub owner: Option<UserId>,
}

/// Imports `export` through `api`; tells `progress` how far it is. May be dropped at any time: what
/// is under way comes to its end, and the same import again goes on.
///
/// # Errors
/// Only where going on makes no sense: the log fails, the server shuts down. What is wrong with the
/// export stands in the report.
pub async fn import(
    api: &CommandApi,
    export: Export,
    by: Importer,
    progress: impl FnMut(Progress) + Send,
) -> Result<Report, Problem> {
    let mut run = Run {
        api,
        export: Some(export),
        by,
        people: People::new(api, by.actor),
        report: Report::default(),
        progress: Progress::default(),
        tell: progress,
    };
    run.run().await?;
    Ok(run.report)
}

/// An import under way.
pub(super) struct Run<'a, F> {
    pub(super) api: &'a CommandApi,
    /// Away while a file of it is being read.
    export: Option<Export>,
    pub(super) by: Importer,
    people: People<'a>,
    pub(super) report: Report,
    pub(super) progress: Progress,
    tell: F,
}

impl<F: FnMut(Progress) + Send> Run<'_, F> {
    async fn run(&mut self) -> Result<(), Problem> {
        let channels = self.lists().await?;
        self.progress.files_total = channels.iter().map(|c| c.days.len() as u64).sum();
        self.tell();
        self.users().await?;
        for channel in channels {
            self.channel(channel).await?;
        }
        Ok(())
    }

    /// All conversations with their days. Reports files that belong to none.
    async fn lists(&mut self) -> Result<Vec<Channel>, Problem> {
        let Some(export) = &self.export else {
            return Err(export_lost());
        };
        export.report_unsafe_names(&mut self.report);
        let mut days: HashMap<String, Vec<ExportFile>> = HashMap::new();
        for file in export.files().to_vec() {
            if file.folder.is_empty() {
                self.check_top_level(&file);
            } else if file.is_day() {
                days.entry(file.folder.clone()).or_default().push(file);
            } else {
                let detail = "neither a list nor a day of messages";
                self.report
                    .skip(Reason::UnknownFile, Place::file(&file.path()), detail);
            }
        }
        let mut channels = Vec::new();
        let mut seen = HashSet::new();
        for (name, kind) in [
            ("channels.json", Kind::Public),
            ("groups.json", Kind::Private),
            ("dms.json", Kind::Direct),
            ("mpims.json", Kind::Private),
        ] {
            for (at, slack) in self.list::<SlackConversation>(name).await? {
                if !seen.insert(slack.id.clone()) {
                    let place = Place::record(name, at);
                    self.report.skip(Reason::Repeated, place, slack.id);
                    continue;
                }
                let by_name = slack.name.as_ref().and_then(|name| days.remove(name));
                let days = by_name.or_else(|| days.remove(&slack.id));
                channels.push(Channel {
                    kind,
                    slack,
                    days: days.unwrap_or_default(),
                });
            }
        }
        let mut unlisted: Vec<_> = days.into_iter().collect();
        unlisted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (folder, files) in unlisted {
            let detail = format!("{} files, in no list", files.len());
            let place = Place::file(&folder);
            self.report.skip(Reason::UnlistedFolder, place, detail);
        }
        Ok(channels)
    }

    fn check_top_level(&mut self, file: &ExportFile) {
        let imported = [
            "users.json",
            "channels.json",
            "groups.json",
            "dms.json",
            "mpims.json",
        ];
        if !imported.contains(&&*file.name) {
            let detail = "not imported";
            self.report
                .skip(Reason::UnknownFile, Place::file(&file.name), detail);
        }
    }

    async fn users(&mut self) -> Result<(), Problem> {
        let users = self.list::<SlackUser>("users.json").await?;
        let mut seen = HashSet::new();
        let mut people = Vec::with_capacity(users.len());
        for (at, user) in users {
            if seen.insert(user.id.clone()) {
                people.push(Person::described(user));
            } else {
                let place = Place::record("users.json", at);
                self.report.skip(Reason::Repeated, place, user.id);
            }
        }
        self.progress.users += self.people.see_to(people, &mut self.report).await?;
        self.tell();
        Ok(())
    }

    /// Accounts for those that `users.json` did not describe.
    pub(super) async fn placeholders(&mut self, people: Vec<Person>) -> Result<(), Problem> {
        let count = self.people.see_to(people, &mut self.report).await?;
        self.report.placeholders += count;
        self.progress.users += count;
        Ok(())
    }

    /// The good records of the list `name`; none where the export has no such list.
    async fn list<T: DeserializeOwned + Send + 'static>(
        &mut self,
        name: &str,
    ) -> Result<Vec<(At, T)>, Problem> {
        let Some(file) = self.export.as_ref().and_then(|export| export.list(name)) else {
            return Ok(Vec::new());
        };
        Ok(self.read(&file).await?.unwrap_or_default())
    }

    /// The good records of `file`. What is wrong with it, or with a record, is reported; `None`
    /// where it cannot be read at all.
    pub(super) async fn read<T: DeserializeOwned + Send + 'static>(
        &mut self,
        file: &ExportFile,
    ) -> Result<Option<Vec<(At, T)>>, Problem> {
        let mut export = self.export.take().ok_or_else(export_lost)?;
        let wanted = file.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let read = export.read(&wanted).map(|bytes| records::<T>(&bytes));
            (export, read)
        });
        let (export, read) = reading
            .await
            .map_err(|error| Failure::internal("read an export", error))?;
        self.export = Some(export);
        let path = file.path();
        let records = match read {
            Ok(records) => records,
            Err(why) => {
                self.report
                    .skip(Reason::UnreadableFile, Place::file(&path), why);
                return Ok(None);
            }
        };
        let mut good = Vec::with_capacity(records.len());
        for (at, record) in records {
            match record {
                Ok(record) => good.push((at, record)),
                Err(why) => {
                    let place = Place::record(&path, at);
                    self.report.skip(Reason::MalformedRecord, place, why);
                }
            }
        }
        Ok(Some(good))
    }

    pub(super) fn tell(&mut self) {
        (self.tell)(self.progress);
    }
}

/// A defect: the export is given back after every read.
fn export_lost() -> Problem {
    Failure::internal("read an export", "it was not given back").into()
}
