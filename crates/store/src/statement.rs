//! Statements: each is written once, has a name, and is in the registry before the first request.

use crate::Error;
use crate::value::{Row, Value};

/// One SQL statement in the common subset of both engines: `$n` parameters, tables as `gw.name`.
#[derive(Debug)]
pub struct Stmt {
    /// Its name in metrics, plans and error texts: `module.operation`.
    pub name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
    /// Why it may scan a whole table; `None` if it may not.
    pub scans: Option<&'static str>,
}

impl Stmt {
    pub(crate) const fn new(name: &'static str, sql: &'static str) -> Self {
        Self { name, postgres: sql, sqlite: sql, scans: None }
    }

    /// A statement that differs between the engines.
    pub(crate) const fn per_engine(name: &'static str, postgres: &'static str, sqlite: &'static str) -> Self {
        Self { name, postgres, sqlite, scans: None }
    }

    /// Allows a full scan, because the table is small or all of it is read.
    pub(crate) const fn scanning(mut self, why: &'static str) -> Self {
        self.scans = Some(why);
        self
    }

    /// The text for PostgreSQL, with every table in `schema`, which is already quoted.
    pub fn postgres(&self, schema: &str) -> String {
        self.postgres.replace("gw.", &format!("{schema}."))
    }

    /// The text for SQLite.
    pub fn sqlite(&self) -> String {
        self.sqlite.replace("gw.", "")
    }
}

/// Declares the statements of one module and the list that the registry collects.
macro_rules! statements {
    ($($name:ident = $stmt:expr;)*) => {
        $(static $name: crate::statement::Stmt = $stmt;)*
        /// Every statement of this module.
        pub(crate) static STATEMENTS: &[&crate::statement::Stmt] = &[$(&$name),*];
    };
}
pub(crate) use statements;

/// A statement with its parameters and the decoder of its rows.
pub struct Call<T> {
    pub(crate) raw: RawCall,
    pub(crate) decode: fn(Row) -> Result<T, Error>,
}

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct RawCall {
    pub(crate) stmt: &'static Stmt,
    pub(crate) params: Vec<Value>,
}

impl<T> Call<T> {
    pub(crate) fn new(
        stmt: &'static Stmt,
        params: impl Into<Vec<Value>>,
        decode: fn(Row) -> Result<T, Error>,
    ) -> Self {
        Self { raw: RawCall { stmt, params: params.into() }, decode }
    }

    pub(crate) fn rows(decode: fn(Row) -> Result<T, Error>, rows: Vec<Row>) -> Result<Vec<T>, Error> {
        rows.into_iter().map(decode).collect()
    }
}

/// Statements of one round trip: a tuple of calls, answered by a tuple of row lists.
pub trait Batch {
    /// The rows of each call, in order.
    type Out;
    #[doc(hidden)]
    fn split(self) -> (Calls, Decode<Self::Out>);
}

/// The raw calls of a batch.
#[doc(hidden)]
pub struct Calls(pub(crate) Vec<RawCall>);
/// The raw rows of a batch.
#[doc(hidden)]
pub struct Rows(pub(crate) Vec<Vec<Row>>);
#[doc(hidden)]
pub(crate) type Decode<T> = Box<dyn FnOnce(Rows) -> Result<T, Error> + Send>;

macro_rules! batch {
    ($($call:ident: $type:ident),+) => {
        impl<$($type: 'static),+> Batch for ($(Call<$type>,)+) {
            type Out = ($(Vec<$type>,)+);
            fn split(self) -> (Calls, Decode<Self::Out>) {
                let ($($call,)+) = self;
                $(let $type = $call.decode;)+
                let calls = Calls(vec![$($call.raw),+]);
                let decode: Decode<Self::Out> = Box::new(move |rows: Rows| {
                    let mut rows = rows.0.into_iter();
                    Ok(($(Call::rows($type, rows.next().unwrap_or_default())?,)+))
                });
                (calls, decode)
            }
        }
    };
}

#[expect(non_snake_case, reason = "the macro names a value after its type")]
mod batches {
    use super::{Batch, Call, Calls, Decode, Rows};
    batch!(a: A);
    batch!(a: A, b: B);
    batch!(a: A, b: B, c: C);
    batch!(a: A, b: B, c: C, d: D);
    batch!(a: A, b: B, c: C, d: D, e: E);
    batch!(a: A, b: B, c: C, d: D, e: E, f: F);
    batch!(a: A, b: B, c: C, d: D, e: E, f: F, g: G);
}
