//! Columns: how values of the model are bound to a statement and read from a row.
//!
//! Ids and names are text and go in as they are; the wrappers say how the others are written. Whatever is read is
//! parsed again: a value that somebody has edited into nonsense is an error, not a surprise later.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteRow, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Row, Sqlite, Type};

use crate::model::{
    AppName, ApplicationId, BranchName, CommitSha, DeploymentId, DomainId, DomainName, Email, EnvKey, GitUrl,
    HealthCheckId, InstanceId, ReleaseId, RepoPath, RequestPath, SecretVersion, ServerId, ServerName, UserId, Version,
    VolumeName,
};

/// A time, as RFC 3339 text in UTC with all its nanoseconds.
pub(super) struct Time(pub(super) Timestamp);

/// A number that the model has as `u64`; SQLite's integers end at 2⁶³ - 1.
pub(super) struct Count(pub(super) u64);

/// An enum without values, as the word that JSON has for it.
pub(super) struct Word<T>(pub(super) T);

macro_rules! text {
    ($($name:ty),+ $(,)?) => {$(
        impl Type<Sqlite> for $name {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }
        }

        impl Encode<'_, Sqlite> for $name {
            fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
                Encode::<Sqlite>::encode(self.to_string(), buffer)
            }
        }

        impl<'r> Decode<'r, Sqlite> for $name {
            fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(<&str as Decode<Sqlite>>::decode(value)?.parse()?)
            }
        }
    )+};
}

text! {
    ApplicationId, DeploymentId, DomainId, HealthCheckId, InstanceId, ReleaseId, SecretVersion, ServerId, UserId,
    AppName, BranchName, CommitSha, DomainName, Email, EnvKey, GitUrl, RepoPath, RequestPath, ServerName, VolumeName,
}

impl Type<Sqlite> for Time {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Time {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(self.0.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Time {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<&str as Decode<Sqlite>>::decode(value)?.parse()?))
    }
}

impl Type<Sqlite> for Count {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Count {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(i64::try_from(self.0)?, buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Count {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<i64 as Decode<Sqlite>>::decode(value)?.try_into()?))
    }
}

impl Type<Sqlite> for Version {
    fn type_info() -> SqliteTypeInfo {
        Count::type_info()
    }
}

impl Encode<'_, Sqlite> for Version {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Count(self.0).encode_by_ref(buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Version {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Count::decode(value).map(|count| Self(count.0))
    }
}

impl<T> Type<Sqlite> for Word<T> {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl<T: Serialize> Encode<'_, Sqlite> for Word<T> {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        match serde_json::to_value(&self.0)? {
            serde_json::Value::String(word) => Encode::<Sqlite>::encode(word, buffer),
            other => Err(format!("`{other}` is not a word").into()),
        }
    }
}

impl<'r, T: DeserializeOwned> Decode<'r, Sqlite> for Word<T> {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let word: StrDeserializer<'_, serde::de::value::Error> =
            <&str as Decode<Sqlite>>::decode(value)?.into_deserializer();
        Ok(Self(T::deserialize(word)?))
    }
}

/// Reads what is wrapped without naming the wrapper at each column.
pub(super) trait Columns {
    fn time(&self, column: &str) -> sqlx::Result<Timestamp>;
    fn time_if_any(&self, column: &str) -> sqlx::Result<Option<Timestamp>>;
    fn count(&self, column: &str) -> sqlx::Result<u64>;
    fn word<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<T>;
    fn word_if_any<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<Option<T>>;
    fn json<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<T>;
    fn json_if_any<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<Option<T>>;
}

impl Columns for SqliteRow {
    fn time(&self, column: &str) -> sqlx::Result<Timestamp> {
        self.try_get(column).map(|Time(time)| time)
    }

    fn time_if_any(&self, column: &str) -> sqlx::Result<Option<Timestamp>> {
        Ok(self.try_get::<Option<Time>, _>(column)?.map(|Time(time)| time))
    }

    fn count(&self, column: &str) -> sqlx::Result<u64> {
        self.try_get(column).map(|Count(count)| count)
    }

    fn word<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<T> {
        self.try_get(column).map(|Word(word)| word)
    }

    fn word_if_any<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<Option<T>> {
        Ok(self.try_get::<Option<Word<T>>, _>(column)?.map(|Word(word)| word))
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<T> {
        self.try_get(column).map(|sqlx::types::Json(value)| value)
    }

    fn json_if_any<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<Option<T>> {
        Ok(self.try_get::<Option<sqlx::types::Json<T>>, _>(column)?.map(|sqlx::types::Json(value)| value))
    }
}
