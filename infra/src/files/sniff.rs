//! What a file is, by how it begins. What its name or its uploader says counts only where that tells
//! nothing: of text, of what is packed as a zip, and of what nobody knows.

use std::fmt;
use std::str::FromStr;

use domain::values::MediaType;
use serde::{Deserialize, Serialize};

/// How much of a file is looked at, in bytes.
pub const SNIFFED_BYTES: usize = 8 * 1024;

/// A file that is said to be something else than it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is {found}, and not {declared}")]
pub struct TypeDiffers {
    /// What it is.
    pub found: String,
    /// What it is said to be.
    pub declared: String,
}

/// What nothing is known of.
const UNKNOWN: &str = "application/octet-stream";

/// Of text.
const TEXT: &str = "text/plain";

/// Text in which browsers find programs. It is what it is, whatever it is said to be.
const ACTIVE: [&str; 4] = [
    "text/html",
    "text/xml",
    "image/svg+xml",
    "application/xhtml+xml",
];

/// What a file that begins with `head` is, if it is said to be `declared`.
///
/// # Errors
/// It is said to be something that it is not.
pub fn sniff(head: &[u8], declared: Option<&MediaType>) -> Result<MediaType, TypeDiffers> {
    let found = found(head);
    // Whoever says that it is some bytes says nothing.
    let Some(declared) = declared.filter(|it| it.as_str() != UNKNOWN) else {
        return Ok(parsed(found));
    };
    let differs = || TypeDiffers {
        found: found.to_owned(),
        declared: declared.as_str().to_owned(),
    };
    let (is_known_by_sight, kind) = (infer::is_mime_supported(declared.as_str()), declared.kind());
    match found {
        // Whoever cannot be recognised may be what they say, unless that would be recognised.
        UNKNOWN => {
            let may_be = !is_known_by_sight && !is_textual(declared) && !is_active(declared);
            may_be.then(|| declared.clone()).ok_or_else(differs)
        }
        TEXT => {
            let may_be = is_textual(declared) && !is_active(declared);
            may_be.then(|| declared.clone()).ok_or_else(differs)
        }
        // Documents and programs are packed so.
        "application/zip" if kind == "application" => Ok(declared.clone()),
        _ => {
            let (sort, _) = found.split_once('/').unwrap_or((found, ""));
            // Sound without pictures comes in the same containers.
            let is_sound_said_so = sort == "video" && kind == "audio";
            if is_sound_said_so && same_container(found, declared.as_str()) {
                return Ok(declared.clone());
            }
            let fits = sort == kind || (sort == "audio" && kind == "video") || is_sound_said_so;
            fits.then(|| parsed(found)).ok_or_else(differs)
        }
    }
}

fn found(head: &[u8]) -> &'static str {
    let head = &head[..head.len().min(SNIFFED_BYTES)];
    if let Some(known) = infer::get(head) {
        return known.mime_type();
    }
    if is_text(head) {
        active(head).unwrap_or(TEXT)
    } else {
        UNKNOWN
    }
}

/// A picture that is a text and may hold a program.
fn active(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if text.contains("<svg") {
        return Some("image/svg+xml");
    }
    (text.contains("<html") || text.contains("<script")).then_some("text/html")
}

fn is_text(head: &[u8]) -> bool {
    let is_whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last letter may be cut in two.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    let is_control =
        |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    is_whole && !head.iter().any(is_control)
}

fn is_textual(declared: &MediaType) -> bool {
    let name = declared.as_str();
    let others = [
        "application/json",
        "application/x-ndjson",
        "application/yaml",
        "application/toml",
        "application/sql",
        "application/javascript",
        "application/rtf",
        "application/pgp-signature",
        "application/pgp-keys",
        "message/rfc822",
    ];
    declared.kind() == "text" || others.contains(&name) || name.ends_with("+json")
}

fn is_active(declared: &MediaType) -> bool {
    ACTIVE.contains(&declared.as_str())
}

fn same_container(found: &str, declared: &str) -> bool {
    let container = |name: &str| match name.split_once('/').map_or(name, |(_, sort)| sort) {
        "mp4" | "x-m4v" | "m4a" | "x-m4a" | "quicktime" | "aac" => "mp4",
        "webm" | "x-matroska" => "webm",
        "ogg" | "opus" => "ogg",
        _ => "other",
    };
    container(found) != "other" && container(found) == container(declared)
}

/// The names that are known by sight are well-formed; one that is not is nothing that is known.
fn parsed(name: &str) -> MediaType {
    match MediaType::parse(name) {
        Ok(media_type) => media_type,
        Err(_) => MediaType::unknown(),
    }
}

/// Which types are taken: names, or all of a sort, as in `image/png,video/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedTypes(Vec<String>);

/// A list of types that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("types are named like image/png, or image/* for all of a sort, with commas")]
pub struct TypesInvalid;

impl Default for AllowedTypes {
    /// Pictures whose metadata we can take away, sound, video, text that is no page, and documents.
    fn default() -> Self {
        let names = "image/jpeg,image/png,image/gif,image/webp,audio/*,video/*,text/plain,text/csv,\
                     text/markdown,text/calendar,text/vcard,application/*";
        Self(names.split(',').map(str::to_owned).collect())
    }
}

impl AllowedTypes {
    /// Whether files of this type are taken.
    pub fn allow(&self, media_type: &MediaType) -> bool {
        self.0
            .iter()
            .any(|allowed| match allowed.strip_suffix("/*") {
                Some(kind) => media_type.kind() == kind,
                None => media_type.as_str() == allowed,
            })
    }
}

impl FromStr for AllowedTypes {
    type Err = TypesInvalid;

    fn from_str(text: &str) -> Result<Self, TypesInvalid> {
        let named = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            let checked = name
                .strip_suffix("/*")
                .map_or(name.clone(), |kind| format!("{kind}/any"));
            MediaType::parse(&checked).map_err(|_| TypesInvalid)?;
            Ok(name)
        };
        text.split(',')
            .map(named)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TryFrom<String> for AllowedTypes {
    type Error = TypesInvalid;

    fn try_from(text: String) -> Result<Self, TypesInvalid> {
        text.parse()
    }
}

impl From<AllowedTypes> for String {
    fn from(allowed: AllowedTypes) -> Self {
        allowed.to_string()
    }
}

impl fmt::Display for AllowedTypes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0";
    const WEBM_HEAD: &[u8] = b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x84webm";

    /// As long as one has to be to be known.
    const WEBM: &[u8] = &{
        let mut file = [0; 300];
        file.split_at_mut(WEBM_HEAD.len())
            .0
            .copy_from_slice(WEBM_HEAD);
        file
    };

    fn declared(head: &[u8], name: &str) -> Result<String, TypeDiffers> {
        let declared = MediaType::parse(name).unwrap();
        sniff(head, Some(&declared)).map(|it| it.as_str().to_owned())
    }

    #[test]
    fn a_file_is_what_it_begins_with() {
        for (head, expected) in [
            (PNG, "image/png"),
            (ZIP, "application/zip"),
            (b"%PDF-1.7\n", "application/pdf"),
            ("Räksmörgås\n".as_bytes(), "text/plain"),
            (b"<!DOCTYPE html><p>", "text/html"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
            (b"\0\x01\x02\xff", "application/octet-stream"),
        ] {
            assert_eq!(sniff(head, None).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn who_says_something_else_is_found_out() {
        for (head, said) in [
            (PNG, "application/pdf"),
            (PNG, "text/plain"),
            (b"tea".as_slice(), "image/png"),
            (b"tea", "text/html"),
            (b"\0\x01\x02\xff", "image/png"),
            (b"\0\x01\x02\xff", "text/plain"),
            (ZIP, "image/png"),
        ] {
            assert!(declared(head, said).is_err(), "{said}");
        }
    }

    #[test]
    fn where_it_cannot_be_told_what_is_said_counts() {
        let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        for (head, said, kept) in [
            (b"a,b\n".as_slice(), "text/csv", "text/csv"),
            (b"{}", "application/json", "application/json"),
            (b"tea", "application/octet-stream", "text/plain"),
            (
                b"\0\x01\x02\xff",
                "application/octet-stream",
                "application/octet-stream",
            ),
            (ZIP, word, word),
            (
                b"\0\x01\x02\xff",
                "application/x-blend",
                "application/x-blend",
            ),
            (PNG, "image/jpeg", "image/png"),
            (b"<html><script>", "text/plain", "text/html"),
            (PNG, "application/octet-stream", "image/png"),
            (WEBM, "audio/webm", "audio/webm"),
            (WEBM, "video/webm", "video/webm"),
        ] {
            assert_eq!(declared(head, said).unwrap(), kept, "{said}");
        }
    }

    #[test]
    fn types_are_allowed_by_name_or_sort() {
        let allowed: AllowedTypes = "image/png, Video/*".parse().unwrap();
        let allow = |name| allowed.allow(&MediaType::parse(name).unwrap());
        assert!(allow("image/png") && allow("video/mp4"));
        assert!(!allow("image/jpeg") && !allow("videos/mp4"));
        for bad in ["", "*", "*/*", "image", "image/png,,"] {
            assert_eq!(bad.parse::<AllowedTypes>(), Err(TypesInvalid), "{bad}");
        }
        let all = AllowedTypes::default();
        assert_eq!(all.to_string().parse(), Ok(all.clone()));
        for no in ["text/html", "image/svg+xml", "image/heif"] {
            assert!(!all.allow(&MediaType::parse(no).unwrap()), "{no}");
        }
    }
}
