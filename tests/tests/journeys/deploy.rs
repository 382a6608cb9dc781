//! The files in `deploy/` are taken by the checkers of those who will read them. nginx's own file is
//! what every journey on a cluster goes through.

use std::path::{Path, PathBuf};
use std::process::Command;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

/// A program beside the Python that `cargo xtask test` has set up.
fn checker(name: &str) -> Command {
    let python = std::env::var("VERBATIM_TEST_PYTHON").expect("run `cargo xtask test`");
    Command::new(Path::new(&python).with_file_name(name))
}

fn takes(command: &mut Command) {
    let output = command.output().expect("the checker runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let more = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{more}");
}

#[test]
fn kubernetes_takes_its_manifests() {
    let manifests = deploy("kubernetes/verbatim.yaml");
    takes(
        checker("kubernetes-validate")
            .arg("--strict")
            .arg(manifests),
    );
}

/// Variables that Kubernetes makes of Services called `verbatim…` would keep the server from starting.
#[test]
fn no_pod_is_given_variables_that_are_named_like_settings() {
    let manifests = std::fs::read_to_string(deploy("kubernetes/verbatim.yaml"));
    let manifests = manifests.expect("the manifests");
    let lines = |text: &str| manifests.lines().filter(|line| line.trim() == text).count();
    let pods = lines("containers:");
    assert!(pods > 0);
    assert_eq!(lines("enableServiceLinks: false"), pods);
}

/// Of a block with headers of its own nginx leaves out those around it, and lets through what clients say.
#[test]
fn nginx_says_in_every_block_where_clients_are() {
    let conf = std::fs::read_to_string(deploy("nginx.conf")).expect("nginx's file");
    let blocks = conf.split(['{', '}']);
    let with_headers: Vec<&str> = blocks
        .filter(|block| block.contains("proxy_set_header"))
        .collect();
    assert!(with_headers.len() > 1, "{conf}");
    for block in with_headers {
        for needed in [
            "X-Forwarded-For $proxy_add_x_forwarded_for;",
            "Forwarded '';",
        ] {
            assert!(block.contains(needed), "{needed} is not in {block}");
        }
    }
}

#[test]
fn compose_takes_its_file() {
    let file = deploy("compose/compose.yaml");
    takes(
        checker("check-jsonschema")
            .args(["--builtin-schema", "vendor.compose-spec"])
            .arg(file),
    );
}

#[test]
fn systemd_takes_its_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for (file, unit) in [
        ("verbatim.service", "verbatim.service"),
        ("verbatim@.service", "verbatim@gateway.service"),
        ("verbatim.target", "verbatim.target"),
    ] {
        let text = std::fs::read_to_string(deploy("systemd").join(file)).expect("a unit");
        // It has to find the program, which is not installed here.
        let text = text.replace("/usr/local/bin/verbatim", "/bin/true");
        let copy = folder.path().join(unit);
        std::fs::write(&copy, text).expect("it can be written");
        verify.arg(copy);
    }
    takes(&mut verify);
}
