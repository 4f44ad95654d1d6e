//! PostgreSQL's values as JSON, and JSON's as parameters.
//!
//! Formats: <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES>, and the `*_send`
//! functions of each type.

use std::error::Error;

use base64::Engine as _;
use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Number, Value};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{Column, Row};

use super::super::DatabaseError;

/// Seconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH: i64 = 946_684_800;

/// A parameter, in text form: PostgreSQL reads it as whatever type the statement wants there.
#[derive(Debug)]
pub(super) struct Given(Value);

impl Given {
    pub(super) fn of(value: &Value) -> Self {
        Self(value.clone())
    }
}

impl ToSql for Given {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let text = match (&self.0, kind.kind()) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Array(items), Kind::Array(_)) => array(items),
            (value, _) if *kind == Type::JSON || *kind == Type::JSONB => value.to_string(),
            (Value::String(text), _) => text.clone(),
            (value, _) => value.to_string(),
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// `{"a","b"}`: every element quoted, so that none can end early.
fn array(items: &[Value]) -> String {
    let item = |item: &Value| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) => array(items),
        Value::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        other => format!("\"{}\"", other.to_string().replace('\\', "\\\\").replace('"', "\\\"")),
    };
    format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(","))
}

/// A value's bytes as they came.
struct Raw<'r>(&'r [u8]);

impl<'r> FromSql<'r> for Raw<'r> {
    fn from_sql(_: &Type, bytes: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(bytes))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// One value of a row.
pub(super) fn json(row: &Row, at: usize, column: &Column) -> Result<Value, DatabaseError> {
    let raw: Option<Raw<'_>> = row.try_get(at).map_err(|_| unreadable(column))?;
    match raw {
        None => Ok(Value::Null),
        Some(Raw(bytes)) => value(column.type_(), bytes).ok_or_else(|| unreadable(column)),
    }
}

fn unreadable(column: &Column) -> DatabaseError {
    DatabaseError::Unreadable { column: column.name().to_owned(), kind: column.type_().name().to_owned() }
}

fn value(kind: &Type, bytes: &[u8]) -> Option<Value> {
    match kind.kind() {
        Kind::Array(item) => return items(item, bytes),
        Kind::Domain(inner) => return value(inner, bytes),
        Kind::Enum(_) => return text(bytes),
        _ => {}
    }
    Some(match *kind {
        Type::BOOL => (*bytes.first()? != 0).into(),
        Type::INT2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        Type::INT4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        Type::INT8 => i64::from_be_bytes(bytes.try_into().ok()?).into(),
        Type::OID => u32::from_be_bytes(bytes.try_into().ok()?).into(),
        Type::FLOAT4 => {
            let single = f32::from_be_bytes(bytes.try_into().ok()?);
            // By way of its shortest text, so that 0.1 stays 0.1.
            real(single.to_string().parse().unwrap_or(f64::from(single)))
        }
        Type::FLOAT8 => real(f64::from_be_bytes(bytes.try_into().ok()?)),
        Type::NUMERIC => numeric(bytes)?,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::XML => text(bytes)?,
        Type::CHAR => char::from(*bytes.first()?).to_string().into(),
        Type::JSON => serde_json::from_slice(bytes).ok()?,
        // Its first byte is the version of the format.
        Type::JSONB => serde_json::from_slice(bytes.strip_prefix(&[1])?).ok()?,
        Type::UUID => uuid(bytes)?,
        Type::BYTEA => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        Type::TIMESTAMPTZ => match moment(i64::from_be_bytes(bytes.try_into().ok()?)) {
            Ok(at) => at.to_string().into(),
            Err(word) => word.into(),
        },
        // Without a zone it is no moment; it is told as it stands.
        Type::TIMESTAMP => match moment(i64::from_be_bytes(bytes.try_into().ok()?)) {
            Ok(at) => jiff::tz::Offset::UTC.to_datetime(at).to_string().into(),
            Err(word) => word.into(),
        },
        Type::DATE => date(i32::from_be_bytes(bytes.try_into().ok()?))?,
        Type::TIME => {
            let since = SignedDuration::from_micros(i64::from_be_bytes(bytes.try_into().ok()?));
            Time::midnight().checked_add(since).ok()?.to_string().into()
        }
        // Extensions that are text under another name.
        _ if matches!(kind.name(), "citext" | "ltree") => text(bytes)?,
        _ => return None,
    })
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(Value::from)
}

fn real(real: f64) -> Value {
    Number::from_f64(real).map_or_else(|| Value::from(real.to_string()), Value::Number)
}

fn uuid(bytes: &[u8]) -> Option<Value> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]).into())
}

/// Microseconds since 2000; the two ends of time are words.
fn moment(micros: i64) -> Result<Timestamp, &'static str> {
    match micros {
        i64::MAX => Err("infinity"),
        i64::MIN => Err("-infinity"),
        micros => {
            let since = SignedDuration::from_secs(EPOCH).checked_add(SignedDuration::from_micros(micros));
            since.and_then(|since| Timestamp::from_duration(since).ok()).ok_or("out of range")
        }
    }
}

fn date(days: i32) -> Option<Value> {
    Some(match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        days => {
            let since = SignedDuration::from_hours(24 * i64::from(days));
            Date::constant(2000, 1, 1).checked_add(since).ok()?.to_string().into()
        }
    })
}

/// Groups of four decimal digits. Exact as a number only without a fraction and within 64 bits; else a text.
fn numeric(bytes: &[u8]) -> Option<Value> {
    let mut words = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    let mut next = || words.next();
    let (count, weight, sign, scale) = (next()?, next()?, next()?, next()?);
    // Signs, from PostgreSQL's numeric.c: 0x4000 minus, 0xC000 not a number, 0xD000 and 0xF000 the infinities.
    let sign = match sign.cast_unsigned() {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => return Some("NaN".into()),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        _ => return None,
    };
    let groups: Vec<i16> = words.take(usize::try_from(count).ok()?).collect();
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    let mut whole: String = (0..=weight).map(|at| format!("{:04}", group(at))).collect();
    whole = whole.trim_start_matches('0').to_owned();
    if whole.is_empty() {
        whole.push('0');
    }
    let scale = usize::try_from(scale).ok()?;
    if scale == 0 {
        let text = format!("{sign}{whole}");
        return Some(text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from));
    }
    let groups = i32::try_from(scale.div_ceil(4)).ok()?;
    // Groups beyond either end of what was sent are zeros.
    let mut fraction: String = (weight + 1..=weight + groups).map(|at| format!("{:04}", group(at))).collect();
    fraction.truncate(scale);
    Some(format!("{sign}{whole}.{fraction}").into())
}

/// Dimensions, then elements; a null has the length -1.
fn items(kind: &Type, bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader(bytes);
    let dimensions = reader.number()?;
    let (_has_null, _element) = (reader.number()?, reader.number()?);
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(reader.number()?).ok()?);
        let _first_index = reader.number()?;
    }
    if lengths.is_empty() {
        return Some(Value::Array(Vec::new()));
    }
    let items = nested(kind, &lengths, &mut reader)?;
    reader.0.is_empty().then_some(items)
}

fn nested(kind: &Type, lengths: &[usize], reader: &mut Reader<'_>) -> Option<Value> {
    let Some((length, rest)) = lengths.split_first() else {
        return match reader.number()? {
            -1 => Some(Value::Null),
            size => value(kind, reader.take(usize::try_from(size).ok()?)?),
        };
    };
    (0..*length).map(|_| nested(kind, rest, reader)).collect::<Option<Vec<_>>>().map(Value::Array)
}

struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    fn take(&mut self, length: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_array_as_a_parameter_cannot_end_early() {
        let given = [json!("a"), json!("x\",NULL}"), json!("\\"), json!(null), json!(7), json!([true])];
        assert_eq!(array(&given), r#"{"a","x\",NULL}","\\",NULL,"7",{"true"}}"#);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let kinds = [
            Type::BOOL,
            Type::INT4,
            Type::INT8,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::NUMERIC,
            Type::UUID,
            Type::JSONB,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMP,
            Type::DATE,
            Type::TIME,
            Type::TEXT_ARRAY,
            Type::CHAR,
            Type::NUMERIC_ARRAY,
        ];
        for kind in kinds {
            for length in 0..24 {
                for byte in [0_u8, 1, 0x7F, 0x80, 0xFF] {
                    let _whatever = value(&kind, &vec![byte; length]);
                }
            }
        }
        assert_eq!(value(&Type::POINT, &[0; 16]), None);
    }
}
