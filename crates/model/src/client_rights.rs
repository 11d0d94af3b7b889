//! The rights of a client: what a program with credentials of its own may do.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::event::Shown;

/// One right of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientRight {
    /// To introspect tokens (RFC 7662).
    Introspect,
    /// To read the feed of revocations.
    Feed,
}

impl ClientRight {
    /// Every right.
    pub const ALL: [Self; 2] = [Self::Introspect, Self::Feed];

    /// The name in commands, rows and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Introspect => "introspect",
            Self::Feed => "feed",
        }
    }

    /// The right of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }
}

/// The rights of one client: a set, which may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientRights(BTreeSet<ClientRight>);

impl ClientRights {
    /// Whether the client has this right.
    pub fn has(&self, right: ClientRight) -> bool {
        self.0.contains(&right)
    }

    /// Those that both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.0.intersection(&other.0).copied().collect()
    }

    /// Their names, in a fixed order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|right| right.as_str())
    }

    /// Parses names with spaces between them, as [`fmt::Display`] writes them; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_ascii_whitespace().map(ClientRight::parse).collect()
    }
}

impl FromIterator<ClientRight> for ClientRights {
    fn from_iter<I: IntoIterator<Item = ClientRight>>(rights: I) -> Self {
        Self(rights.into_iter().collect())
    }
}

/// Names with spaces between them.
impl fmt::Display for ClientRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for ClientRights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl Shown for ClientRights {
    const SHAPE: &'static str = "list of texts";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_they_are_written() {
        for rights in [vec![], vec![ClientRight::Feed], ClientRight::ALL.to_vec()] {
            let rights: ClientRights = rights.into_iter().collect();
            assert_eq!(ClientRights::parse(&rights.to_string()), Some(rights));
        }
        assert_eq!(ClientRights::parse("introspect everything"), None);
    }
}
