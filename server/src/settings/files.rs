//! Settings of attachments: where they are kept, how large they may be and of which types, and what scans
//! them.

use infra::blobs::check_blobs_url;
use infra::files::{AllowedTypes, Scanner};
use serde::Serialize;

use super::shown::without_password;
use super::{Given, SettingsError, within};

/// The settings in force for attachments. They stand among the others, without a table of their own.
#[derive(Clone, Debug, Serialize)]
pub struct Files {
    /// Where they are kept; `None` is in the data folder. May hold a password.
    #[serde(serialize_with = "without_password")]
    pub attachments_url: Option<String>,
    /// The largest, in MiB.
    pub attachment_mib_max: u32,
    /// How much those of one user may have together, in MiB.
    pub attachment_quota_mib: u32,
    /// What they may be.
    pub attachment_types: AllowedTypes,
    /// What scans them; `None` is nothing.
    pub attachment_scanner_url: Option<String>,
}

impl Files {
    /// What `first` says, then what `then` says, then the defaults.
    pub(super) fn merge(first: &Given, then: &Given) -> Self {
        macro_rules! take {
            ($name:ident) => {
                first.$name.clone().or_else(|| then.$name.clone())
            };
        }
        Self {
            attachments_url: take!(attachments_url),
            attachment_mib_max: take!(attachment_mib_max).unwrap_or(100),
            attachment_quota_mib: take!(attachment_quota_mib).unwrap_or(10_240),
            attachment_types: take!(attachment_types).unwrap_or_default(),
            attachment_scanner_url: take!(attachment_scanner_url),
        }
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if let Some(url) = &self.attachments_url {
            check_blobs_url(url)?;
        }
        self.scanner()?;
        let (size, quota) = (self.attachment_mib_max, self.attachment_quota_mib);
        within("attachment_mib_max", size.into(), 1, 10_240, "1 to 10240")?;
        let range = "1 to 1073741824";
        within("attachment_quota_mib", quota.into(), 1, 1 << 30, range)
    }

    /// What scans files, if anything does.
    pub(crate) fn scanner(&self) -> Result<Option<Scanner>, SettingsError> {
        let url = self.attachment_scanner_url.as_deref();
        Ok(url.map(Scanner::new).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Given, Settings};

    fn merged(text: &str) -> Result<Settings, String> {
        let given: Given = toml::from_str(text).map_err(|error| error.to_string())?;
        Settings::merge(Given::default(), given).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_about_attachments_is_said_by_name() {
        for (text, said) in [
            ("attachments_url = 's3://key@bucket'", "attachments_url"),
            ("attachment_mib_max = 0", "attachment_mib_max"),
            ("attachment_types = 'everything'", "image/png"),
            ("attachment_scanner_url = 'localhost:3310'", "clamd://"),
        ] {
            let error = merged(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_secret_of_a_bucket_is_not_shown() {
        let url = "s3://key:secret@files?endpoint=http://127.0.0.1:9000";
        let settings = merged(&format!("attachments_url = '{url}'")).unwrap();
        let shown = format!("{settings:?}");
        assert!(shown.contains("s3://key:…@files"), "{shown}");
        assert!(!shown.contains("secret@"), "{shown}");
    }
}
