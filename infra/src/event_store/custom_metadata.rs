//! Our events in KurrentDB's terms. KurrentDB has no place for an event's schema, so there the
//! metadata of our events has one more field, `"schema": n`. Events of others have no such field and
//! are [`super::FOREIGN_JSON`] or [`super::FOREIGN_BYTES`]; their metadata is not touched.

use bytes::Bytes;
use domain::Metadata;
use serde_json::{Map, Value};

use super::{FOREIGN_BYTES, FOREIGN_JSON};

const FIELD: &str = "schema";

/// What stands before the number where [`with_schema`] wrote it.
const WRITTEN: &[u8] = br#""schema":"#;

/// `metadata`, which is an object in JSON, with the field `schema` at its end; `None` where it is no
/// object.
pub fn with_schema(metadata: &[u8], schema: u16) -> Option<Bytes> {
    let fields = metadata
        .trim_ascii()
        .strip_prefix(b"{")?
        .strip_suffix(b"}")?
        .trim_ascii();
    let mut custom = Vec::with_capacity(fields.len() + 20);
    custom.push(b'{');
    custom.extend_from_slice(fields);
    if !fields.is_empty() {
        custom.push(b',');
    }
    custom.extend_from_slice(WRITTEN);
    custom.extend_from_slice(schema.to_string().as_bytes());
    custom.push(b'}');
    Some(custom.into())
}

/// The schema and the metadata without it, where `custom` is the metadata of an event of ours: as
/// [`with_schema`] writes it, or any object with our fields and a schema.
pub fn split_schema(custom: &Bytes) -> Option<(u16, Bytes)> {
    split_written(custom).or_else(|| split_ours(custom))
}

/// The same, only where our fields are there: what others may write is not taken for ours by
/// accident.
pub fn split_ours(custom: &Bytes) -> Option<(u16, Bytes)> {
    let mut fields: Map<String, Value> = serde_json::from_slice(custom).ok()?;
    let schema = fields.remove(FIELD)?.as_u64().and_then(ours)?;
    let written = split_written(custom);
    let metadata = match written {
        Some((_, metadata)) => metadata,
        None => serde_json::to_vec(&fields).ok()?.into(),
    };
    serde_json::from_slice::<Metadata>(&metadata).ok()?;
    Some((schema, metadata))
}

/// Undoes [`with_schema`] byte by byte. In JSON nothing else can end like this.
fn split_written(custom: &Bytes) -> Option<(u16, Bytes)> {
    let fields = custom.strip_suffix(b"}")?;
    let digits = fields
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (fields, digits) = fields.split_at(fields.len() - digits);
    let schema = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let schema = ours(schema)?;
    let fields = fields.strip_suffix(WRITTEN)?;
    let mut metadata = match fields.split_last()? {
        (b',', fields) => fields.to_vec(),
        (b'{', []) => vec![b'{'],
        _ => return None,
    };
    metadata.push(b'}');
    Some((schema, metadata.into()))
}

fn ours(schema: u64) -> Option<u16> {
    let schema = u16::try_from(schema).ok()?;
    (schema != FOREIGN_JSON && schema != FOREIGN_BYTES).then_some(schema)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{split_ours, split_schema, with_schema};

    const OURS: &str = r#"{"actor":"system","command_id":"00000000-0000-0000-0000-000000000000","command_hash":"00"}"#;

    #[test]
    fn what_is_written_is_read_back_byte_by_byte() {
        for metadata in ["{}", r#"{"a":1}"#, r#"{"z":{"schema":5},"a":"}"}"#, OURS] {
            for schema in [1, 2, 65_534] {
                let custom = with_schema(metadata.as_bytes(), schema).unwrap();
                serde_json::from_slice::<serde_json::Value>(&custom).unwrap();
                let (read, split) = split_schema(&custom).unwrap();
                assert_eq!((read, &split[..]), (schema, metadata.as_bytes()));
            }
        }
        assert_eq!(with_schema(b"", 1), None);
        assert_eq!(with_schema(b"[1]", 1), None);
    }

    #[test]
    fn our_fields_count_in_any_order() {
        let custom = OURS.replacen('{', r#"{ "schema": 3, "#, 1);
        let (schema, metadata) = split_schema(&Bytes::from(custom)).unwrap();
        assert_eq!(schema, 3);
        let read: domain::Metadata = serde_json::from_slice(&metadata).unwrap();
        assert_eq!(read, serde_json::from_str(OURS).unwrap());
    }

    #[test]
    fn metadata_of_others_is_theirs() {
        for custom in [
            "",
            "{}",
            "\u{0}\u{1}",
            r#"{"schema":0}"#,
            r#"{"schema":65535}"#,
            r#"{"schema":"1"}"#,
            r#"{"schema": 1, "$correlationId": "x"}"#,
            r#"{"a":{"schema":1}}"#,
        ] {
            assert_eq!(split_schema(&Bytes::from(custom)), None, "{custom}");
        }
        let written = with_schema(b"{}", 1).unwrap();
        assert!(split_schema(&written).is_some());
        assert_eq!(split_ours(&written), None, "it lacks our fields");
    }
}
