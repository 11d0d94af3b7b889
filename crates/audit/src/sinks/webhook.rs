//! Records as a webhook, signed according to Standard Webhooks.

use super::webhook_signature::WebhookSecrets;
use journal::JournalId;
use runtime::Parked;
use store::audit_db::Shipment;

use super::sink::SinkError;
use super::{Carried, json_lines, judge};
use outbound::Endpoint;

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

    pub(super) async fn carry(&self, parked: &Parked<'_>, shipment: &Shipment) -> Result<Carried, SinkError> {
        let body = json_lines::text(shipment).into_bytes();
        // The same records have the same id at every try.
        let first = shipment.before.sequence.saturating_add(1);
        let id = format!("{}-{first}-{}", JournalId(shipment.journal), shipment.after.sequence);
        let timestamp = shipment.now.seconds();
        let headers = [
            ("webhook-signature", self.secrets.signature(&id, timestamp, &body)),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-id", id),
        ];
        let answer = self.endpoint.post(parked, TYPE, &headers, body).await.map_err(SinkError::outside)?;
        judge(&answer)
    }
}
