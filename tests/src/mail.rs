//! Mails as people read them: files in a folder, and a mail server as a process that fills one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::nats::free_port;

/// How long a mail may take.
const ARRIVES_WITHIN: Duration = Duration::from_mins(1);

/// How often it is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A folder of mails.
#[derive(Clone, Debug)]
pub struct Inbox {
    folder: PathBuf,
}

/// A mail as it came.
#[derive(Clone, Debug)]
pub struct Letter(String);

impl Letter {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let head = self.0.split("\r\n\r\n").next().expect("a head");
        let start = format!("{name}: ");
        let mut lines = head.lines();
        lines
            .find_map(|line| line.strip_prefix(&start))
            .expect("the header is there")
    }

    /// All of it, as it travelled.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The code in its text.
    pub fn code(&self) -> String {
        let is_code = |line: &&str| line.len() == 8 && line.bytes().all(|it| it.is_ascii_digit());
        let mut lines = self.0.lines().map(str::trim);
        lines.find(is_code).expect("a code").to_owned()
    }
}

impl Inbox {
    /// The mails in `folder`, which need not be there yet.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// All mails to `address`, in the order of the files' names.
    pub fn mails(&self, address: &str) -> Vec<Letter> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.expect("the folder can be read").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        files.sort();
        let letters = files
            .iter()
            .map(|file| Letter(std::fs::read_to_string(file).expect("a mail")));
        letters
            .filter(|letter| letter.header("To") == address)
            .collect()
    }

    /// The mail to `address` with this subject, as soon as there is one.
    pub async fn wait_for(&self, address: &str, subject: &str) -> Letter {
        let arrived = async {
            loop {
                let mut mails = self.mails(address).into_iter();
                if let Some(mail) = mails.find(|mail| mail.header("Subject") == subject) {
                    return mail;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(ARRIVES_WITHIN, arrived)
            .await
            .expect("the mail arrives")
    }
}

/// A mail server, Python's `aiosmtpd`. Killed when dropped.
pub struct MailServer {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
}

impl MailServer {
    /// Starts a server on a free port.
    pub async fn start() -> Self {
        let mut server = Self {
            process: None,
            folder: tempfile::tempdir().expect("a temporary folder"),
            port: free_port(),
        };
        server.start_again().await;
        server
    }

    /// Starts it again after it was killed, on the same port; mails that it took are still there.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let python = std::env::var("VERBATIM_TEST_PYTHON").expect("run `cargo xtask test`");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python/smtp_server.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .arg("--hold")
            .arg(self.hold())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let ready = tokio::time::timeout(ARRIVES_WITHIN, lines.next_line()).await;
        let said = ready.expect("it is ready").expect("it says something");
        assert_eq!(said.as_deref(), Some("ready"));
        self.process = Some(process);
    }

    /// Kills it (SIGKILL).
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it is running");
        process.kill().await.expect("it can be killed");
    }

    /// What it took.
    pub fn inbox(&self) -> Inbox {
        Inbox::at(self.folder.path())
    }

    /// As the setting `smtp_url` names it.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// From now on whoever sends waits in the middle.
    pub fn hold_senders(&self) {
        std::fs::write(self.hold(), "").expect("it can be written");
    }

    /// Waits until somebody waits in the middle of sending.
    pub async fn holds_a_sender(&self) {
        let waiting = self.hold().with_extension("waiting");
        let held = async {
            while !waiting.exists() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(ARRIVES_WITHIN, held)
            .await
            .expect("a mail is being sent");
        std::fs::remove_file(waiting).expect("it can be removed");
    }

    /// Lets senders go on.
    pub fn release_senders(&self) {
        std::fs::remove_file(self.hold()).expect("it is held");
    }

    fn hold(&self) -> PathBuf {
        self.folder.path().join("hold")
    }
}
