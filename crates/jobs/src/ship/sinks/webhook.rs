//! Records as a webhook, signed as Standard Webhooks says.

use journal::JournalId;
use protocol::webhook::WebhookSecrets;
use store::audit_db::Shipment;

use super::http::Endpoint;
use super::{Carried, json_lines};
use crate::ship::sink::SinkError;

const TYPE: &str = "application/x-ndjson";

/// Posts a batch of lines.
#[derive(Debug)]
pub struct Webhook {
    endpoint: Endpoint,
    secrets: WebhookSecrets,
}

impl Webhook {
    /// Posts to `endpoint`, signed with `secrets`.
    pub fn new(endpoint: Endpoint, secrets: WebhookSecrets) -> Self {
        Self { endpoint, secrets }
    }

    pub(super) async fn carry(&self, shipment: &Shipment) -> Result<Carried, SinkError> {
        let body = json_lines::text(shipment).into_bytes();
        // The same records have the same id, however often they are sent.
        let first = shipment.before.sequence.saturating_add(1);
        let id = format!("{}-{first}-{}", JournalId(shipment.journal), shipment.after.sequence);
        let timestamp = shipment.now.seconds();
        let headers = [
            ("webhook-signature", self.secrets.signature(&id, timestamp, &body)),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-id", id),
        ];
        self.endpoint.post(TYPE, &headers, body).await?.judge()
    }
}
