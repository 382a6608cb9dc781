//! Mails as files in a folder, for whoever runs a server without a mail server: to look at, or to be
//! taken away by a program of theirs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::message::message;
use super::{Mail, MailError, Mailer, Sender};
use crate::data_folder::make_folder;
use crate::failure::Failure;

/// Mails that are kept; of more the oldest go.
const KEPT_MAX: usize = 1_000;

/// What failed.
const WRITE: &str = "write a mail to the folder";

/// Writes each mail to a file `{time}-{event id}.eml`, readable by nobody else.
#[derive(Clone, Debug)]
pub struct FolderMailer {
    folder: PathBuf,
    sender: Sender,
}

impl FolderMailer {
    /// Writes to `folder`, which is made with the first mail.
    pub const fn new(folder: PathBuf, sender: Sender) -> Self {
        Self { folder, sender }
    }
}

#[async_trait]
impl Mailer for FolderMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let bytes = message(mail, &self.sender)?.formatted();
        let time = mail.asked_at.format("%Y%m%dT%H%M%SZ");
        let name = format!("{time}-{}.eml", mail.asked_by);
        let (folder, file) = (self.folder.clone(), self.folder.join(name));
        let written = tokio::task::spawn_blocking(move || {
            write(&folder, &file, &bytes)?;
            tracing::info!(file = %file.display(), "a mail was written to the folder");
            // The mail is there all the same.
            if let Err(error) = remove_oldest(&folder) {
                tracing::warn!(%error, folder = %folder.display(), "the oldest mails cannot be removed");
            }
            Ok::<_, std::io::Error>(())
        });
        let written = written.await;
        let written = written.map_err(|error| Failure::internal(WRITE, error))?;
        Ok(written.map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => Failure::storage_full(WRITE, error),
            _ => Failure::internal(WRITE, error),
        })?)
    }

    fn sender(&self) -> &Sender {
        &self.sender
    }
}

/// Writes all of the file or nothing, and sees that it survives a power cut.
fn write(folder: &Path, file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    make_folder(folder)?;
    let draft = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = options.open(&draft)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&draft, file)?;
    File::open(folder)?.sync_all()
}

/// Their names sort by time.
fn remove_oldest(folder: &Path) -> std::io::Result<()> {
    let mut mails = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            mails.push(path);
        }
    }
    mails.sort_unstable();
    let superfluous = mails.len().saturating_sub(KEPT_MAX);
    for mail in &mails[..superfluous] {
        match fs::remove_file(mail) {
            // Somebody else took it away.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chrono::TimeDelta;
    use domain::EventId;
    use uuid::Uuid;

    use super::super::message::tests::{mail, sender};
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn a_mail_is_a_file_that_only_its_owner_reads_and_the_same_mail_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("mail");
        let mailer = FolderMailer::new(folder.clone(), sender());
        for _ in 0..2 {
            mailer.send(&mail()).await.unwrap();
        }
        let name = "19700101T000000Z-00000000-0000-0000-0000-000000000007.eml";
        assert_eq!(names(&folder), [name]);
        let file = folder.join(name);
        assert!(fs::read_to_string(&file).unwrap().contains("01234567"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    }

    #[tokio::test]
    async fn of_too_many_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT_MAX {
            let name = format!("19700101T000000Z-{number:04}.eml");
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(folder.path().join("19600101-notes.txt"), "").unwrap();
        let mailer = FolderMailer::new(folder.path().to_owned(), sender());
        let later = Mail {
            asked_by: EventId(Uuid::from_u128(8)),
            asked_at: mail().asked_at + TimeDelta::seconds(1),
            ..mail()
        };
        mailer.send(&later).await.unwrap();
        let names = names(folder.path());
        assert_eq!(names.len(), KEPT_MAX + 1);
        assert_eq!(names[0], "19600101-notes.txt");
        assert_eq!(names[1], "19700101T000000Z-0001.eml");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_to_is_a_failure_that_may_pass() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let mailer = FolderMailer::new(file, sender());
        let failed = mailer.send(&mail()).await.unwrap_err();
        assert!(matches!(failed, MailError::Failure(_)), "{failed}");
    }
}
