//! The OpenAPI document keeps its word: another program reads it, makes up thousands of requests, good
//! and bad, and finds no failure of the server and no answer that the document does not have.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::owned_server_with;

/// How long all of it may take.
const RUN_MAX: Duration = Duration::from_mins(5);

/// Requests made up for each route, beside those that its description alone gives.
const EXAMPLES: &str = "20";

/// Routes that do not end, end the session of the one who asks, or take an archive.
const LEFT_OUT: &str = "stream|import|rebuild|sessions|owner";

/// Left out: that what fits the description is accepted, which also has to make sense; and that what
/// does not fit is refused, as positions beyond 63 bits are taken and are after everything.
const NOT_CHECKED: &str = "positive_data_acceptance,negative_data_rejection";

/// Parts of files are sent as other bytes are.
const HOOKS: &str = "\
import schemathesis
schemathesis.serializer.alias('application/offset+octet-stream', 'application/octet-stream')
";

#[tokio::test]
async fn no_answer_is_undocumented() {
    let (server, owner) = owned_server_with(&[]).await;
    let python = std::env::var("VERBATIM_TEST_PYTHON").expect("run `cargo xtask test`");
    let program = PathBuf::from(python).with_file_name("schemathesis");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hooks = folder.path().join("hooks.py");
    std::fs::write(hooks, HOOKS).expect("a file can be written");
    let run = Command::new(program)
        .args(["run", &format!("{}/openapi.json", server.url())])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", owner.token),
        ])
        .args(["--exclude-path-regex", LEFT_OUT])
        .args(["--exclude-checks", NOT_CHECKED])
        .args(["--max-examples", EXAMPLES, "--generation-deterministic"])
        .args(["--suppress-health-check", "all", "--no-color"])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(RUN_MAX, run).await;
    let run = run.expect("it ends in time").expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("Tested: "), "{said}");
}
