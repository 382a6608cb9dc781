//! `verbatim import slack PATH`: into a data folder, or sent to a running server as a zip.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use command_api::import::slack::{Export, Importer, Line, Progress, Reason, Report, import};
use domain::Actor;
use indicatif::ProgressBar;
use reqwest::Method;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::cli::lines::Lines;
use crate::cli::progress::bar;
use crate::cli::remote::Client;
use crate::cli::{CliResult, SlackArguments};
use crate::node::Node;
use crate::settings::Settings;

/// Skipped records that are named one by one; the rest is counted.
const SKIPPED_SHOWN_MAX: usize = 20;

/// Imports into the data folder.
pub(super) async fn on_folder(settings: Settings, arguments: SlackArguments) -> CliResult {
    let path = arguments.path;
    let named = path.display().to_string();
    let export = tokio::task::spawn_blocking(move || Export::open(&path))
        .await?
        .map_err(|error| format!("{named}: {error}"))?;
    let node = Node::open(&settings).await?;
    let owner = match &arguments.owner {
        Some(name) => Some(node.user(name).await?),
        None => None,
    };
    let shown = bar(0, "files");
    let importer = Importer {
        actor: Actor::Operator,
        owner,
    };
    let done = import(&node.command_api, export, importer, |progress| {
        show(&shown, progress);
    })
    .await;
    shown.finish_and_clear();
    node.close().await;
    summarise(&done?)
}

/// Sends the export to a running server, whose import makes the caller the owner of what is public.
pub(super) async fn on_server(server: &Client, arguments: SlackArguments) -> CliResult {
    if arguments.owner.is_some() {
        return Err(
            "--owner is for a data folder; a server makes the one who imports the owner".into(),
        );
    }
    let path = arguments.path;
    let named = path.display().to_string();
    let archive = tokio::task::spawn_blocking(move || archive(&path))
        .await?
        .map_err(|error| format!("{named}: {error}"))?;
    let length = archive.metadata()?.len();
    let body = reqwest::Body::from(tokio::fs::File::from_std(archive));
    let request = server
        .request(Method::POST, "/v1/import/slack")
        .header("content-type", "application/zip")
        .header("content-length", length)
        .body(body);
    let mut lines = Lines::of(server.send(request).await?);
    let shown = bar(0, "files");
    while let Some(line) = lines.next().await? {
        match serde_json::from_slice(&line)? {
            Line::Progress(progress) => show(&shown, progress),
            Line::Done(report) => {
                shown.finish_and_clear();
                return summarise(&report);
            }
            Line::Problem(problem) => return Err(problem.into()),
        }
    }
    Err("the server ended the import without a report; run it again, it goes on".into())
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.files_total);
    bar.set_position(progress.files);
    bar.set_message(format!("{} messages", progress.messages));
}

/// The export as a zip: as it is, or made of the folder.
fn archive(path: &PathBuf) -> CliResult<File> {
    if path.is_file() {
        return Ok(File::open(path)?);
    }
    let mut zip = ZipWriter::new(tempfile::tempfile()?);
    let options = SimpleFileOptions::default();
    add_folder(&mut zip, path, Path::new(""), options)?;
    let mut file = zip.finish()?;
    file.flush()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn add_folder(
    zip: &mut ZipWriter<File>,
    folder: &Path,
    name: &Path,
    options: SimpleFileOptions,
) -> CliResult {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_folder(zip, &entry.path(), &name, options)?;
        } else if name
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            zip.start_file_from_path(&name, options)?;
            std::io::copy(&mut File::open(entry.path())?, zip)?;
        }
    }
    Ok(())
}

fn summarise(report: &Report) -> CliResult {
    let mut out = std::io::stdout().lock();
    let counts = [
        ("users", report.users),
        ("conversations", report.conversations),
        ("messages", report.messages),
        ("edits", report.edits),
        ("reactions", report.reactions),
    ];
    for (name, count) in counts {
        writeln!(
            out,
            "{name:<14} {:>8} imported, {:>8} were there",
            count.made, count.existing
        )?;
    }
    writeln!(
        out,
        "{:<14} {:>8} among the messages",
        "replies", report.replies
    )?;
    let notes = [
        (report.messages_without_text, "messages have no text"),
        (
            report.placeholders,
            "users are in messages but not in users.json",
        ),
        (report.handles_changed, "names were changed to be handles"),
        (
            report.emails_left_out,
            "e-mail addresses were taken and left out",
        ),
        (report.attachments_left_out, "attachments were left out"),
        (
            report.replies_without_root,
            "replies answer a message that is not in the export",
        ),
        (
            report.messages_out_of_order,
            "messages are older than the one before them",
        ),
    ];
    for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "{:<14} {count:>8} {what}", "")?;
    }
    for (reason, count) in &report.skipped {
        writeln!(out, "{:<14} {count:>8} {}", "skipped", words(*reason)?)?;
    }
    for skipped in report.skipped_named.iter().take(SKIPPED_SHOWN_MAX) {
        let (file, detail) = (&skipped.file, &skipped.detail);
        let record = skipped
            .record
            .map_or_else(String::new, |number| format!(" record {number}"));
        let line = skipped
            .line
            .map_or_else(String::new, |number| format!(" line {number}"));
        writeln!(
            out,
            "  {file}{record}{line}: {}: {detail}",
            words(skipped.reason)?
        )?;
    }
    let unnamed = report
        .skipped
        .values()
        .sum::<u64>()
        .saturating_sub(SKIPPED_SHOWN_MAX as u64);
    if unnamed > 0 {
        writeln!(out, "  and {unnamed} more")?;
    }
    Ok(())
}

/// The stable name of a reason, as words.
fn words(reason: Reason) -> CliResult<String> {
    let name = serde_json::to_value(reason)?;
    Ok(name.as_str().unwrap_or_default().replace('_', " "))
}
