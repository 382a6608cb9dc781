//! Addresses of buckets: `s3://key:secret@bucket/prefix?endpoint=https://host:port&region=name`. What is left
//! out is taken from the variables that programs for S3 have in common (`AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, …), or from the machine's role.

use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use std::time::Duration;

/// How long one request to a bucket may take.
const REQUEST_MAX: Duration = Duration::from_mins(1);

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

const SCHEME: &str = "s3://";

/// An address of no place for attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "attachments_url takes a folder or s3://key:secret@bucket/prefix?endpoint=https://host:port&region=name; \
     letters with a meaning in addresses are written as %40 and the like"
)]
pub struct BlobsUrlInvalid;

/// A bucket that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BucketUnusable {
    #[error(transparent)]
    Url(#[from] BlobsUrlInvalid),
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

pub(super) fn is_bucket(url: &str) -> bool {
    url.starts_with(SCHEME)
}

/// Whether `url` names a folder, or looks like a bucket's address.
pub fn check_blobs_url(url: &str) -> Result<(), BlobsUrlInvalid> {
    if is_bucket(url) {
        return Named::parse(url).map(drop);
    }
    if url.is_empty() || url.contains("://") {
        return Err(BlobsUrlInvalid);
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Named {
    bucket: String,
    prefix: String,
    login: Option<(String, String)>,
    endpoint: Option<String>,
    region: Option<String>,
}

impl Named {
    fn parse(url: &str) -> Result<Self, BlobsUrlInvalid> {
        let url = Url::parse(url).map_err(|_| BlobsUrlInvalid)?;
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(std::borrow::Cow::into_owned)
                .map_err(|_| BlobsUrlInvalid)
        };
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (key, Some(secret)) if !key.is_empty() => Some((decoded(key)?, decoded(secret)?)),
            _ => return Err(BlobsUrlInvalid),
        };
        let (mut endpoint, mut region) = (None, None);
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" => endpoint = Some(value.into_owned()),
                "region" => region = Some(value.into_owned()),
                _ => return Err(BlobsUrlInvalid),
            }
        }
        let is_address = |it: &str| it.starts_with("https://") || it.starts_with("http://");
        let bucket = url.host_str().unwrap_or_default();
        let is_good = endpoint.as_deref().is_none_or(is_address)
            && !bucket.is_empty()
            && url.port().is_none()
            && url.fragment().is_none();
        if !is_good {
            return Err(BlobsUrlInvalid);
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: decoded(url.path().trim_matches('/'))?,
            login,
            endpoint,
            region,
        })
    }
}

pub(super) fn bucket(url: &str) -> Result<(AmazonS3, Path), BucketUnusable> {
    let named = Named::parse(url)?;
    let options = ClientOptions::new()
        .with_timeout(REQUEST_MAX)
        .with_connect_timeout(CONNECT_MAX);
    let mut builder = AmazonS3Builder::from_env()
        .with_client_options(options)
        .with_bucket_name(named.bucket);
    if let Some((key, secret)) = named.login {
        builder = builder
            .with_access_key_id(key)
            .with_secret_access_key(secret);
    }
    if let Some(region) = named.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = named.endpoint {
        builder = builder
            .with_allow_http(endpoint.starts_with("http://"))
            .with_endpoint(endpoint);
    }
    let prefix = Path::parse(&named.prefix).map_err(|_| BlobsUrlInvalid)?;
    Ok((builder.build()?, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_with_all_that_is_needed_to_reach_it() {
        let url = "s3://key:s%2Fcret@files/verbatim/one?endpoint=http://127.0.0.1:9000&region=eu";
        let named = Named::parse(url).unwrap();
        let expected = Named {
            bucket: "files".to_owned(),
            prefix: "verbatim/one".to_owned(),
            login: Some(("key".to_owned(), "s/cret".to_owned())),
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            region: Some("eu".to_owned()),
        };
        assert_eq!(named, expected);
        assert!(bucket(url).is_ok());
        assert!(check_blobs_url("s3://files").is_ok());
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for bad in [
            "",
            "s3://",
            "s3://key@files",
            "s3://files?region=eu&colour=red",
            "s3://files?endpoint=127.0.0.1",
            "s3://files:9000",
            "gs://files",
            "file:///srv",
        ] {
            assert_eq!(check_blobs_url(bad), Err(BlobsUrlInvalid), "{bad}");
        }
        for folder in ["files", "/srv/files"] {
            assert_eq!(check_blobs_url(folder), Ok(()));
        }
    }
}
