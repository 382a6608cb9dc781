//! Figure `search`: from an HTTP request to what was found in an imported Slack export, by words of its
//! messages as they come and by the most frequent ones, beside reading the newest page of the same
//! conversation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use reqwest::Url;
use serde::Serialize;
use serde_json::json;

use crate::client::Fallible;
use crate::figures::{Run, p50_ms, print_latencies};
use crate::imported::Asker;

/// Messages of one answer.
const PAGE: usize = 20;

/// Every so manieth message gives a query.
const STRIDE: usize = 101;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's program
    #[arg(long, default_value = "target/release/verbatim")]
    program: PathBuf,
    /// A Slack export: a folder or a ZIP file
    #[arg(long)]
    slack: PathBuf,
    /// Queries of a round, half of them of frequent words
    #[arg(long, default_value_t = 200)]
    queries: usize,
    /// Turns (newest page, searches)
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
    page: Vec<Run>,
    /// By one to three neighbouring words of some message, and by frequent words.
    newest: Vec<Run>,
    relevance: Vec<Run>,
}

/// Measures and prints a table; writes JSON where asked.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let report = tokio::runtime::Runtime::new()?.block_on(measure(options))?;
    println!("{} messages", report.messages);
    print_latencies(&[
        ("page", &report.page),
        ("newest", &report.newest),
        ("relevance", &report.relevance),
    ]);
    println!(
        "a search is {:.1} pages, by relevance {:.1}",
        p50_ms(&report.newest) / p50_ms(&report.page),
        p50_ms(&report.relevance) / p50_ms(&report.page)
    );
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Fallible<Report> {
    let client = Asker::of_import(&options.program, &options.slack).await?;
    let conversation = client.conversation().await?;
    let bodies = bodies(&client, &conversation).await?;
    let queries = queries(&bodies, options.queries);
    let newest_page = format!("/v1/conversations/{conversation}/messages?limit={PAGE}");
    let pages = vec![newest_page; queries.len()];
    let search = |order: &str| -> Fallible<Vec<String>> {
        let limit = PAGE.to_string();
        let address = |query| {
            let params = [("q", query), ("order", order), ("limit", &*limit)];
            let url = Url::parse_with_params("http://host/v1/search", params)?;
            Ok(format!("/v1/search?{}", url.query().unwrap_or_default()))
        };
        queries
            .iter()
            .map(|query| address(query.as_str()))
            .collect()
    };
    let (newest, relevance) = (search("newest")?, search("relevance")?);
    let mut report = Report {
        messages: bodies.len(),
        page: Vec::new(),
        newest: Vec::new(),
        relevance: Vec::new(),
    };
    for _ in 0..options.turns {
        report.page.push(client.round(&pages).await?);
        report.newest.push(client.round(&newest).await?);
        report.relevance.push(client.round(&relevance).await?);
    }
    Ok(report)
}

/// One to three neighbouring words of some messages, and the most frequent words.
fn queries(bodies: &[String], count: usize) -> Vec<String> {
    let mut frequent: BTreeMap<&str, usize> = BTreeMap::new();
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(char::is_alphabetic);
    let words = |body: &'_ String| -> Vec<String> {
        let words = body.split_whitespace().filter(is_word);
        words.map(str::to_owned).collect()
    };
    for word in bodies.iter().flat_map(|body| body.split_whitespace()) {
        if is_word(&word) {
            *frequent.entry(word).or_default() += 1;
        }
    }
    let mut frequent: Vec<(&str, usize)> = frequent.into_iter().collect();
    frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let some = bodies
        .iter()
        .step_by(STRIDE)
        .map(words)
        .filter(|words| !words.is_empty())
        .enumerate()
        .map(|(number, words)| {
            let length = (number % 3 + 1).min(words.len());
            let from = number % (words.len() - length + 1);
            words[from..from + length].join(" ")
        });
    let frequent = frequent.iter().map(|(word, _)| (*word).to_owned());
    let (half, rest) = (count / 2, count - count / 2);
    some.take(rest).chain(frequent.take(half)).collect()
}

/// The bodies of all messages.
async fn bodies(client: &Asker, conversation: &str) -> Fallible<Vec<String>> {
    let mut bodies = Vec::new();
    let mut after = json!(0);
    while !after.is_null() {
        let path = format!("/v1/conversations/{conversation}/messages?limit=200&after={after}");
        let page = client.get(&path).await?;
        let messages = page["messages"].as_array().ok_or("no messages")?;
        let texts = messages
            .iter()
            .filter_map(|message| message["body"].as_str());
        bodies.extend(texts.map(str::to_owned));
        after = page["next"].clone();
    }
    Ok(bodies)
}
