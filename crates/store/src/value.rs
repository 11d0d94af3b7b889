//! Values and rows, as both engines store them.

use protocol::sealed::pepper::StoredText;
use uuid::Uuid;

use crate::Error;

/// One stored value.
///
/// PostgreSQL: BIGINT, TEXT, BYTEA, BOOLEAN, UUID. SQLite: INTEGER, TEXT, BLOB, INTEGER, BLOB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// An integer; times are microseconds since the Unix epoch, in UTC.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A boolean; 0 or 1 in SQLite.
    Bool(bool),
    /// A UUID; 16 bytes in SQLite.
    Uuid(Uuid),
}

macro_rules! into_value {
    ($($from:ty => $make:expr;)*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                ($make)(value)
            }
        }
    )*};
}

into_value! {
    i64 => Value::Int;
    bool => Value::Bool;
    Uuid => Value::Uuid;
    String => Value::Text;
    &str => |text: &str| Value::Text(text.to_owned());
    Vec<u8> => Value::Bytes;
    &[u8] => |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    [u8; 32] => |bytes: [u8; 32]| Value::Bytes(bytes.to_vec());
    model::Now => |now: model::Now| Value::Int(now.micros());
    &StoredText => |stored: &StoredText| Value::Text(stored.as_str().to_owned());
    model::UserId => |id: model::UserId| Value::Int(id.0);
    model::UserUuid => |id: model::UserUuid| Value::Uuid(id.0);
    model::SessionId => |id: model::SessionId| Value::Uuid(id.0);
    &model::ClientId => |id: &model::ClientId| Value::Text(id.as_str().to_owned());
    &model::ClientRights => |rights: &model::ClientRights| Value::Text(rights.to_string());
    &model::KeyId => |id: &model::KeyId| Value::Text(id.0.clone());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Types that a column can be decoded to.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($into:ty: $($pattern:pat => $make:expr),+;)*) => {$(
        impl FromValue for $into {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    $($pattern => $make,)+
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    i64: Value::Int(n) => Some(n);
    bool: Value::Bool(b) => Some(b), Value::Int(n @ (0 | 1)) => Some(n == 1);
    String: Value::Text(text) => Some(text);
    Vec<u8>: Value::Bytes(bytes) => Some(bytes);
    Uuid: Value::Uuid(id) => Some(id), Value::Bytes(bytes) => Uuid::from_slice(&bytes).ok();
    [u8; 32]: Value::Bytes(bytes) => bytes.try_into().ok();
    model::Now: Value::Int(n) => Some(model::Now::from_micros(n));
    StoredText: Value::Text(text) => Some(StoredText::from_row(text));
    model::UserId: Value::Int(n) => Some(model::UserId(n));
    model::ClientId: Value::Text(text) => model::ClientId::parse(text);
    model::ClientRights: Value::Text(text) => model::ClientRights::parse(&text);
    model::KeyId: Value::Text(text) => Some(model::KeyId(text));
}

impl FromValue for model::UserUuid {
    fn from_value(value: Value) -> Option<Self> {
        Uuid::from_value(value).map(Self)
    }
}

impl FromValue for model::SessionId {
    fn from_value(value: Value) -> Option<Self> {
        Uuid::from_value(value).map(Self)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// One row, read from left to right.
pub(crate) struct Row {
    values: std::vec::IntoIter<Value>,
    column: usize,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter(), column: 0 }
    }

    /// Decodes the next column.
    pub(crate) fn next<T: FromValue>(&mut self) -> Result<T, Error> {
        self.column += 1;
        let value = self.values.next().ok_or_else(|| Error::Corrupt(format!("no column {}", self.column)))?;
        T::from_value(value).ok_or_else(|| {
            Error::Corrupt(format!("column {} is no {}", self.column, std::any::type_name::<T>()))
        })
    }
}
