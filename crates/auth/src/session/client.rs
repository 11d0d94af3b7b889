//! The client of a request, as sessions remember it.

use protocol::wire::client_mark::ClientMark;
use store::queries::credential::AskingClient;

use crate::OpContext;

/// The marks of a client under each line of the keyring: the first is stored, the others recognise what was
/// stored before a rotation.
#[derive(Clone, Debug)]
pub(crate) struct RequestClient(Vec<ClientMark>);

impl RequestClient {
    /// The client of this request.
    pub(crate) fn of(ctx: &OpContext<'_>) -> Self {
        let origin = ctx.audit.origin();
        let (address, agent) = (origin.address, origin.user_agent.as_deref());
        Self(ctx.services.marks.iter().map(|key| key.mark(address, agent)).collect())
    }

    /// The mark of an entry.
    pub(crate) fn mark(&self) -> ClientMark {
        self.0.first().copied().unwrap_or_default()
    }

    /// The mark to store in a column; none for a client that cannot be recognised.
    pub(crate) fn stored(&self) -> Option<Vec<u8>> {
        let mark = self.mark();
        mark.is_whole().then(|| mark.to_bytes().to_vec())
    }

    /// The client as a login asks for it.
    pub(crate) fn asking(&self) -> AskingClient {
        let mut networks = self.0.iter().map(ClientMark::network);
        let networks = [networks.next().flatten(), networks.next().flatten()];
        AskingClient { mark: self.stored(), networks }
    }

    pub(crate) fn is_same(&self, other: &ClientMark) -> bool {
        self.0.iter().any(|mark| mark.is_same(other))
    }

    pub(crate) fn has_agent_of(&self, other: &ClientMark) -> bool {
        self.0.iter().any(|mark| mark.has_agent_of(other))
    }
}
