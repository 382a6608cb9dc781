//! Whatever comes as somebody's Slack is imported or named as what could not be. See `cargo xtask fuzz`.

use allocation_counter::measure;
use bolero::check;
use tokio::runtime::Builder;

use super::harness::{Draft, Server};
use crate::import::slack::records::records;
use crate::import::slack::shapes::SlackMessage;

#[test]
fn records_of_a_file() {
    check!().for_each(|bytes: &[u8]| {
        let held = measure(|| drop(records::<SlackMessage>(bytes))).bytes_max;
        let most = 64 * 1024 + 64 * bytes.len() as u64;
        assert!(held <= most, "{held} bytes for {}", bytes.len());
    });
}

/// What came is a file of users, one of channels and a day of a channel, with zeros between.
#[test]
fn exports() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    check!().for_each(|bytes: &[u8]| {
        let mut files = bytes.splitn(3, |byte| *byte == 0);
        let mut file = || files.next().unwrap_or(b"[]");
        let export = Draft::default()
            .with("users.json", file())
            .with("channels.json", file())
            .with("general/2020-01-01.json", file())
            .folder();
        runtime.block_on(Server::new().import(export.path()));
    });
}
