//! The official clients of `KurrentDB` in other languages, for the tests of the door: a Python
//! environment and a folder of Node packages under `target/`, with the versions that are pinned in
//! `tests/clients/`. Made when they are missing or the pins have changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::packages;
use crate::{Outcome, root, run, succeeds};

/// Environment variable that tells the tests which Python has the client.
pub(crate) const PYTHON_VARIABLE: &str = "VERBATIM_TEST_PYTHON";

/// Environment variable that tells the tests where Node finds the client.
pub(crate) const NODE_VARIABLE: &str = "VERBATIM_TEST_NODE_CLIENTS";

/// Says that everything the pins name is installed; has the pins.
const DONE: &str = "installed-pins";

/// Where the clients are.
pub(crate) struct Clients {
    /// The interpreter.
    pub(crate) python: PathBuf,
    /// The folder with `node_modules`.
    pub(crate) node: PathBuf,
}

impl Clients {
    /// Installs what is missing.
    pub(crate) fn install() -> Outcome<Self> {
        let target = root().join("target/clients");
        let pins = root().join("tests/clients");
        Ok(Self {
            python: python(&pins.join("python"), &target.join("python"))?,
            node: node(&pins.join("node"), &target.join("node"))?,
        })
    }
}

fn python(pins: &Path, target: &Path) -> Outcome<PathBuf> {
    let interpreter = target.join("bin/python");
    let requirements = pins.join("requirements.txt");
    if is_done(target, &[&requirements]) {
        return Ok(interpreter);
    }
    eprintln!("installing the Python packages of tests/clients/python/requirements.txt");
    let has_venv = || succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
    if !has_venv() {
        packages::debian("python3-venv")?;
    }
    if !has_venv() {
        return Err(
            "the tests of the door need Python 3 with venv: install it with\n  \
             sudo apt-get install python3-venv    (Debian, Ubuntu)\n  \
             brew install python                  (macOS)\n  \
             sudo dnf install python3             (Fedora)"
                .to_owned(),
        );
    }
    start_anew(target)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(target))?;
    run(Command::new(&interpreter)
        .args(["-m", "pip", "install", "--quiet", "--no-input", "-r"])
        .arg(&requirements))?;
    done(target, &[&requirements])?;
    Ok(interpreter)
}

fn node(pins: &Path, target: &Path) -> Outcome<PathBuf> {
    let (package, lock) = (pins.join("package.json"), pins.join("package-lock.json"));
    if is_done(target, &[&package, &lock]) {
        return Ok(target.to_owned());
    }
    eprintln!("installing the Node packages of tests/clients/node/package.json");
    let has_npm = || succeeds(Command::new("npm").arg("--version"));
    if !has_npm() {
        packages::debian("npm")?;
    }
    if !has_npm() {
        return Err(
            "the tests of the door need Node 18 or newer with npm: install it with\n  \
             sudo apt-get install npm             (Debian, Ubuntu)\n  \
             brew install node                    (macOS)\n  \
             sudo dnf install nodejs-npm          (Fedora)"
                .to_owned(),
        );
    }
    start_anew(target)?;
    for file in [&package, &lock] {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, target.join(name))
            .map_err(|error| format!("cannot copy {}: {error}", file.display()))?;
    }
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--loglevel", "error"])
        .current_dir(target)
        .stdout(Stdio::null()))?;
    done(target, &[&package, &lock])?;
    Ok(target.to_owned())
}

/// Whether `target` has what these pins say.
fn is_done(target: &Path, pins: &[&Path]) -> bool {
    let installed = fs::read_to_string(target.join(DONE));
    installed.is_ok_and(|installed| texts(pins).is_ok_and(|pins| pins == installed))
}

fn done(target: &Path, pins: &[&Path]) -> Outcome {
    let file = target.join(DONE);
    fs::write(&file, texts(pins)?)
        .map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn texts(files: &[&Path]) -> Outcome<String> {
    let text = |file: &&Path| {
        fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
    };
    files.iter().map(text).collect()
}

/// An empty folder.
fn start_anew(folder: &Path) -> Outcome {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}
