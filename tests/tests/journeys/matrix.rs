//! Who may what: every route of the OpenAPI document and every frame, asked by everybody, beside the
//! table that people read, `docs/access-matrix.md`. A route without a request here, or a row that is not
//! in the document, fails.
//!
//! Each cell has a conversation of its own, so that what one asker may does not decide what the next
//! one finds.

mod actors;
mod permissions;
mod requests;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;

use actors::{Actor, Cast};
use permissions::{Held, Scenes};
use requests::{ENDS_THE_SESSION, Request};

/// Set by `cargo xtask generate`: write the table instead of comparing with it.
const WRITE: &str = "VERBATIM_TEST_WRITE_GENERATED";

const PREFACE: &str = "\
# Who may what

Every route and every frame, asked by everybody; the numbers are what was answered (for frames the status
of the problem, or `ack`, or `—` for a frame that is not answered). A test asks all of it and compares
(`tests/tests/journeys/matrix.rs`); `cargo xtask generate` writes it. 404 where 403 could be expected is on
purpose: nobody learns that there is something they may not see.

Those who ask: nobody (no token); a stranger to the conversation; one who was removed from it; a member, an
admin and the owner of it; a bot that is a member; and, strangers to it all of them, an auditor, an analyst,
somebody who is suspended, an admin and an owner of the server; and those two as members who are nothing
special in it.

Of spaces, what every permission lets a member do follows at the end: each is given alone, beside
`view_channel` and `send_messages`, without which most mean nothing (`send_messages` beside `view_channel`
only), by a role that stands above the other members.
";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `METHOD /path` of every operation in the OpenAPI document.
fn operations() -> Vec<(Method, String)> {
    let document = std::fs::read(workspace().join("docs/openapi.json")).expect("the document");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase().parse().expect("a method");
            operations.push((method, path.clone()));
        }
    }
    operations
}

#[tokio::test]
async fn the_committed_table_is_what_everybody_is_answered() {
    let cast = Cast::assemble().await;
    let mut table = String::from(PREFACE);
    let actors = Actor::ALL.map(Actor::name);
    heading(&mut table, "Routes", "route", &actors);
    for (method, path) in operations() {
        let request = Request::of(&method, &path);
        let request = request.unwrap_or_else(|| {
            panic!("{method} {path} has no request in matrix/requests.rs");
        });
        let mut answers = Vec::new();
        for actor in Actor::ALL {
            let mut scene = if is_of_space(&path) {
                cast.scene_with_space(actor).await
            } else {
                cast.scene(actor).await
            };
            if path == ENDS_THE_SESSION {
                scene.log_in_anew(actor).await;
            }
            answers.push(actors::ask(scene, &request).await);
        }
        line(&mut table, &format!("{method} {path}"), &answers);
    }
    heading(&mut table, "Frames", "`op`", &actors);
    for op in command_api::ops().chain(requests::SIGNALS) {
        let mut answers = Vec::new();
        for actor in Actor::ALL {
            let scene = if is_of_space(&requests::frame(op).to_string()) {
                cast.scene_with_space(actor).await
            } else {
                cast.scene(actor).await
            };
            answers.push(actors::send(scene, op).await);
        }
        line(&mut table, op, &answers);
    }
    let held: Vec<&str> = Held::all().into_iter().map(Held::name).collect();
    heading(&mut table, "Permissions of spaces", "what", &held);
    table.push_str(&permissions_of_spaces(&cast).await);

    let file = workspace().join("docs/access-matrix.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, &table).expect("the table is written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let other = table
        .lines()
        .zip(committed.lines())
        .find(|(now, then)| now != then);
    assert!(
        table == committed,
        "docs/access-matrix.md says otherwise: {other:#?}; if that is meant, run `cargo xtask generate`"
    );
}

/// What each permission lets a member do in a channel, and by every route of spaces.
async fn permissions_of_spaces(cast: &Cast) -> String {
    let mut lines = String::new();
    let mut scenes = Scenes::new();
    for (what, request) in permissions::in_channel() {
        let answers = permissions::answers(cast, &request, &mut scenes).await;
        line(&mut lines, what, &answers);
    }
    for (method, path) in operations() {
        if !path.contains("{space}") {
            continue;
        }
        let request = Request::of(&method, &path).expect("it was asked above");
        let answers = permissions::answers(cast, &request, &mut scenes).await;
        line(&mut lines, &format!("{method} {path}"), &answers);
    }
    lines
}

/// Whether a path or a frame has a name in it that only a scene with a space has.
fn is_of_space(text: &str) -> bool {
    text.contains("{space}") || text.contains("{code}")
}

fn heading(table: &mut String, title: &str, what: &str, columns: &[&str]) {
    let names = columns.join(" | ");
    let rule = "|---".repeat(columns.len() + 1);
    writeln!(table, "\n## {title}\n\n| {what} | {names} |\n{rule}|").expect("a string takes it");
}

fn line(table: &mut String, what: &str, answers: &[String]) {
    writeln!(table, "| `{what}` | {} |", answers.join(" | ")).expect("a string takes it");
}
