//! Figure `page`: the newest page of a conversation of a million messages, beside that of a short one: it is
//! to cost the same, however much lies before it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, value_parser};
use serde::Serialize;
use serde_json::json;

use crate::client::Fallible;
use crate::figures::{Run, p99_ms, print_latencies};
use crate::imported::Asker;

/// Messages of a page.
const PAGE: usize = 50;

/// Messages of a day of the export.
const DAY: usize = 10_000;

/// When the first message was sent, in seconds since 1970.
const BEGAN: usize = 1_577_836_800;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's program
    #[arg(long, default_value = "target/release/verbatim")]
    program: PathBuf,
    /// Messages of the long conversation
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=3_000_000))]
    messages: u32,
    /// Pages of a round
    #[arg(long, default_value_t = 1_000)]
    pages: usize,
    /// Turns (short, long)
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was measured, turn by turn.
#[derive(Serialize)]
struct Report {
    messages: usize,
    short: Vec<Run>,
    long: Vec<Run>,
}

/// Measures and prints a table; writes JSON where asked.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let report = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    print_latencies(&[
        (&PAGE.to_string(), &report.short),
        (&report.messages.to_string(), &report.long),
    ]);
    println!(
        "p99 of the long conversation is {:.2} of the short one's",
        p99_ms(&report.long) / p99_ms(&report.short)
    );
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Fallible<Report> {
    let folder = tempfile::tempdir_in("target")?;
    let messages = usize::try_from(options.messages)?;
    write(folder.path(), messages)?;
    let asker = Asker::of_import(&options.program, folder.path()).await?;
    let list = asker.get("/v1/conversations").await?;
    let page = |title: &str| -> Fallible<Vec<String>> {
        let mut all = list["conversations"].as_array().into_iter().flatten();
        let found = all.find(|it| it["title"] == title);
        let id = found.and_then(|it| it["id"].as_str());
        let id = id.ok_or_else(|| format!("{title} was not imported"))?;
        let path = format!("/v1/conversations/{id}/messages?limit={PAGE}");
        Ok(vec![path; options.pages])
    };
    let (short, long) = (page("short")?, page("long")?);
    let mut report = Report {
        messages,
        short: Vec::new(),
        long: Vec::new(),
    };
    for _ in 0..options.turns {
        report.short.push(asker.round(&short).await?);
        report.long.push(asker.round(&long).await?);
    }
    Ok(report)
}

/// An export of two people with a short and a long channel.
fn write(folder: &Path, messages: usize) -> Fallible<()> {
    let users = json!([{ "id": "U1", "name": "ann" }, { "id": "U2", "name": "bob" }]);
    fs::write(folder.join("users.json"), users.to_string())?;
    let channel = |id: &str, name: &str| {
        let members = ["U1", "U2"];
        json!({ "id": id, "name": name, "created": BEGAN, "creator": "U1", "members": members })
    };
    let channels = json!([channel("C1", "short"), channel("C2", "long")]);
    fs::write(folder.join("channels.json"), channels.to_string())?;
    for (name, messages) in [("short", PAGE), ("long", messages)] {
        fs::create_dir(folder.join(name))?;
        for first in (0..messages).step_by(DAY) {
            let (month, day) = (first / DAY / 28 + 1, first / DAY % 28 + 1);
            let day = folder
                .join(name)
                .join(format!("2020-{month:02}-{day:02}.json"));
            let mut file = std::io::BufWriter::new(fs::File::create(day)?);
            let mut before = '[';
            for number in first..messages.min(first + DAY) {
                let message = json!({
                    "type": "message",
                    "user": if number % 2 == 0 { "U1" } else { "U2" },
                    "text": format!("message {number} of this channel, about as long as others"),
                    "ts": format!("{}.{:06}", BEGAN + number, number % 1_000_000),
                });
                write!(file, "{before}{message}")?;
                before = ',';
            }
            write!(file, "]")?;
            file.flush()?;
        }
    }
    Ok(())
}
