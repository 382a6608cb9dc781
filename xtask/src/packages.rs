//! Programs that the tests need beside Rust's: found, or installed from Debian's packages where the
//! task runs as root, or asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, run, succeeds};

/// What to do where a program is missing and cannot be installed from here.
const NATS_MISSING: &str = "the tests need nats-server: install it with\n  \
     sudo apt-get install nats-server     (Debian, Ubuntu)\n  \
     brew install nats-server             (macOS)\n  \
     or from https://github.com/nats-io/nats-server/releases";

/// As above.
const NGINX_MISSING: &str = "the tests need nginx: install it with\n  \
     sudo apt-get install nginx-light     (Debian, Ubuntu)\n  \
     brew install nginx                   (macOS)";

/// As above.
const CHROMIUM_MISSING: &str = "the tests need Chromium with its driver: install them with\n  \
     sudo apt-get install chromium chromium-driver    (Debian, Ubuntu)\n  \
     brew install --cask chromium chromedriver        (macOS)";

/// As above.
const OATHTOOL_MISSING: &str = "the tests need oathtool: install it with\n  \
     sudo apt-get install oathtool        (Debian, Ubuntu)\n  \
     brew install oath-toolkit            (macOS)";

/// Sees that Chromium and its driver are there, for the journeys with passkeys.
pub(crate) fn chromium() -> Outcome {
    let there = || succeeds(Command::new("chromedriver").arg("--version"));
    if there() || (debian("chromium")? && debian("chromium-driver")? && there()) {
        Ok(())
    } else {
        Err(CHROMIUM_MISSING.to_owned())
    }
}

/// Sees that `oathtool` is there, which makes the codes of authenticator apps.
pub(crate) fn oathtool() -> Outcome {
    let there = || succeeds(Command::new("oathtool").arg("--version"));
    if there() || (debian("oathtool")? && there()) {
        Ok(())
    } else {
        Err(OATHTOOL_MISSING.to_owned())
    }
}

/// Sees that `nats-server` is there.
pub(crate) fn nats_server() -> Outcome {
    let there = || succeeds(Command::new("nats-server").arg("--version"));
    if there() || (debian("nats-server")? && there()) {
        Ok(())
    } else {
        Err(NATS_MISSING.to_owned())
    }
}

/// Sees that `nginx` is there.
pub(crate) fn nginx() -> Outcome {
    let there = || succeeds(Command::new("nginx").arg("-v"));
    if there() || (debian("nginx-light")? && there()) {
        Ok(())
    } else {
        Err(NGINX_MISSING.to_owned())
    }
}

/// As above.
const GO_MISSING: &str = "the tests need Go 1.25 or newer, to build an S3 server: install it with\n  \
     sudo apt-get install golang          (Debian 13, Ubuntu 25.04 and newer)\n  \
     brew install go                      (macOS)";

/// The S3 server of the tests, as Go's module proxy has it.
const S3_SERVER: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// Builds the S3 server of the tests into `folder`, unless it is there; gives its path.
pub(crate) fn s3_server(folder: &Path) -> Outcome<PathBuf> {
    let version = S3_SERVER.rsplit('@').next().unwrap_or_default();
    let folder = folder.join(version);
    let program = folder.join("versitygw");
    if program.exists() {
        return Ok(program);
    }
    if !succeeds(Command::new("go").arg("version")) {
        return Err(GO_MISSING.to_owned());
    }
    run(Command::new("go")
        .args(["install", S3_SERVER])
        .env("GOBIN", &folder))?;
    Ok(program)
}

/// Installs a package where that can be done without asking; says whether it did.
pub(crate) fn debian(package: &str) -> Outcome<bool> {
    if !is_root() || !succeeds(Command::new("apt-get").arg("--version")) {
        return Ok(false);
    }
    eprintln!("installing Debian's package {package} for the tests");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut install)?;
    Ok(true)
}

/// Whether the task runs as root.
pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
