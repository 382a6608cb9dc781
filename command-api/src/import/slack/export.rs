//! Slack's export as files: a folder, or a zip of one. Reads one file at a time and writes nothing:
//! a zip is never unpacked to disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::report::{Place, Reason, Report};

/// The largest file that is read, in bytes, unpacked; a larger one is reported and left out. A day
/// of the busiest channels is a few megabytes.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How much is read of one export, in bytes, unpacked; files beyond it are reported and left out.
pub const EXPORT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// Files in one export; one with more cannot be opened.
pub const FILES_MAX: usize = 1_000_000;

/// Why an export cannot be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum ExportUnreadable {
    /// It cannot be read from disk.
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is neither a folder nor a zip.
    #[error("the export is neither a folder nor a readable zip: {0}")]
    Zip(#[from] ZipError),
    /// It has more than [`FILES_MAX`] files.
    #[error("the export has more than {FILES_MAX} files")]
    TooManyFiles,
    /// It has none of the files that list conversations.
    #[error("there is no channels.json, groups.json, dms.json or mpims.json: not a Slack export")]
    NotAnExport,
}

/// An export that can be read.
#[derive(Debug)]
pub struct Export {
    container: Container,
    files: Vec<ExportFile>,
    /// Names that were not taken, to be reported.
    unsafe_names: Vec<String>,
    bytes_left: u64,
}

#[derive(Debug)]
enum Container {
    Folder(PathBuf),
    Zip(Box<ZipArchive<BufReader<File>>>),
}

/// A JSON file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExportFile {
    /// The folder it is in, which is that of a conversation; empty for the lists at the top.
    pub(super) folder: String,
    /// Its name.
    pub(super) name: String,
    /// Its number in a zip.
    index: usize,
}

impl ExportFile {
    /// The name by which it is reported.
    pub(super) fn path(&self) -> String {
        if self.folder.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.folder, self.name)
        }
    }

    /// Whether it is a day of messages, `YYYY-MM-DD.json`.
    pub(super) fn is_day(&self) -> bool {
        let day = self.name.strip_suffix(".json").unwrap_or_default();
        chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok()
    }
}

/// The files that list conversations.
const LISTS: [&str; 4] = ["channels.json", "groups.json", "dms.json", "mpims.json"];

impl Export {
    /// Opens the export at `path`: a folder, or a zip.
    pub fn open(path: &Path) -> Result<Self, ExportUnreadable> {
        if fs::metadata(path)?.is_dir() {
            Self::of_folder(path)
        } else {
            Self::of_zip(File::open(path)?)
        }
    }

    /// Opens the zip in `file`.
    pub fn of_zip(file: File) -> Result<Self, ExportUnreadable> {
        let archive = ZipArchive::new(BufReader::new(file))?;
        if archive.len() > FILES_MAX {
            return Err(ExportUnreadable::TooManyFiles);
        }
        let mut names = Vec::new();
        let mut unsafe_names = Vec::new();
        for index in 0..archive.len() {
            let Some(name) = archive.name_for_index(index) else {
                continue;
            };
            match name {
                Ok(name) if name.ends_with('/') => {}
                Ok(name) if is_safe(&name) => names.push((name.into_owned(), index)),
                Ok(name) => unsafe_names.push(name.into_owned()),
                Err(error) => unsafe_names.push(format!("entry {index}: {error}")),
            }
        }
        let root = root_of(&names);
        let files = names
            .iter()
            .filter_map(|(name, index)| file_at(name.strip_prefix(&root)?, *index))
            .collect();
        Self::checked(Container::Zip(Box::new(archive)), files, unsafe_names)
    }

    fn of_folder(path: &Path) -> Result<Self, ExportUnreadable> {
        let mut files = Vec::new();
        let mut folders = vec![(path.to_path_buf(), String::new())];
        while let Some((path, folder)) = folders.pop() {
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                if kind.is_dir() && folder.is_empty() {
                    folders.push((entry.path(), name));
                } else if kind.is_file() && is_json(&name) {
                    let folder = folder.clone();
                    let index = files.len();
                    files.push(ExportFile {
                        folder,
                        name,
                        index,
                    });
                }
                if files.len() > FILES_MAX {
                    return Err(ExportUnreadable::TooManyFiles);
                }
            }
        }
        Self::checked(Container::Folder(path.to_path_buf()), files, Vec::new())
    }

    fn checked(
        container: Container,
        mut files: Vec<ExportFile>,
        unsafe_names: Vec<String>,
    ) -> Result<Self, ExportUnreadable> {
        let listed = |file: &ExportFile| file.folder.is_empty() && LISTS.contains(&&*file.name);
        if !files.iter().any(listed) {
            return Err(ExportUnreadable::NotAnExport);
        }
        files.sort_unstable_by(|a, b| (&a.folder, &a.name).cmp(&(&b.folder, &b.name)));
        Ok(Self {
            container,
            files,
            unsafe_names,
            bytes_left: EXPORT_BYTES_MAX,
        })
    }

    /// All JSON files, by folder and name, so that days come in order.
    pub(super) fn files(&self) -> &[ExportFile] {
        &self.files
    }

    /// Reports the names that were not taken.
    pub(super) fn report_unsafe_names(&self, report: &mut Report) {
        for name in &self.unsafe_names {
            let detail = "a name that leads out of the export, or cannot be read";
            report.skip(Reason::UnsafeName, Place::file(name), detail);
        }
    }

    /// The file `name` at the top, where there is one.
    pub(super) fn list(&self, name: &str) -> Option<ExportFile> {
        self.files
            .iter()
            .find(|file| file.folder.is_empty() && file.name == name)
            .cloned()
    }

    /// Reads `file`. The error says why it is left out.
    pub(super) fn read(&mut self, file: &ExportFile) -> Result<Vec<u8>, String> {
        let bytes_max = FILE_BYTES_MAX.min(self.bytes_left);
        let mut bytes = Vec::new();
        // One byte more than may be tells that there is more, whatever the file says of itself.
        let read = match &mut self.container {
            Container::Folder(root) => File::open(root.join(&file.folder).join(&file.name))
                .and_then(|opened| opened.take(bytes_max + 1).read_to_end(&mut bytes)),
            Container::Zip(archive) => archive
                .by_index(file.index)
                .map_err(io::Error::from)
                .and_then(|entry| entry.take(bytes_max + 1).read_to_end(&mut bytes)),
        };
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("the file is larger than {FILE_BYTES_MAX} bytes"));
        }
        if bytes.len() as u64 > bytes_max {
            return Err(format!(
                "the export is larger than {EXPORT_BYTES_MAX} bytes"
            ));
        }
        self.bytes_left -= bytes.len() as u64;
        Ok(bytes)
    }
}

fn is_json(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "json")
}

/// Whether a name in a zip stays inside the export.
fn is_safe(name: &str) -> bool {
    !name.contains(['\\', '\0', ':'])
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// What stands before the names of an export that was zipped with its folder.
fn root_of(names: &[(String, usize)]) -> String {
    names
        .iter()
        .filter_map(|(name, _)| {
            let (root, list) = name.rsplit_once('/').unwrap_or(("", name));
            LISTS.contains(&list).then_some(root)
        })
        .min_by_key(|root| root.len())
        .filter(|root| !root.is_empty())
        .map_or_else(String::new, |root| format!("{root}/"))
}

fn file_at(path: &str, index: usize) -> Option<ExportFile> {
    let (folder, name) = path.split_once('/').unwrap_or(("", path));
    (is_json(name) && !name.contains('/')).then(|| ExportFile {
        folder: folder.to_owned(),
        name: name.to_owned(),
        index,
    })
}
