//! Simulate: payments in Xendit's test mode, created and paid without a payer. A webhook follows each payment.

use serde::Deserialize;
use serde_json::json;
use shared::money::Money;

use crate::{
    client::{Call, Client},
    error::Error,
    objects::{PAYMENTS_VERSION, segment},
};

/// The version of the QR codes whose webhooks go to the account's URL. It belongs on both calls.
const QR_VERSION: &str = "2022-07-31";

/// What can be created and paid with two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simulation {
    /// A fixed virtual account. Webhooks: `fva_status`, `fva_paid`.
    VirtualAccount,
    /// A QR code. Webhook: `qr.payment`.
    QrCode,
    /// A payment request by QRIS. Webhook: `payment.capture`.
    PaymentRequest,
}

/// What was created, and can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    simulation: Simulation,
    /// Its id at Xendit.
    pub id: String,
    /// The merchant's reference.
    pub reference: String,
    money: Money,
}

#[derive(Deserialize)]
struct WithId {
    #[serde(alias = "payment_request_id")]
    id: String,
}

impl Client {
    /// Creates something that asks for money.
    pub async fn create(&self, simulation: Simulation, reference: &str, money: Money) -> Result<Created, Error> {
        let amount = serde_json::from_str::<serde_json::Value>(&money.amount.to_string()).unwrap_or_default();
        let call = match simulation {
            Simulation::VirtualAccount => {
                let body = json!({ "external_id": reference, "bank_code": "BNI", "name": "Xendit Hooks",
                    "expected_amount": amount, "is_closed": true, "is_single_use": true });
                Call::post("/callback_virtual_accounts", "/callback_virtual_accounts".to_owned(), None, &body)
            }
            Simulation::QrCode => {
                let body = json!({ "reference_id": reference, "type": "DYNAMIC", "currency": money.currency,
                    "amount": amount });
                Call::post("/qr_codes", "/qr_codes".to_owned(), Some(QR_VERSION), &body)
            }
            Simulation::PaymentRequest => {
                let body = json!({ "reference_id": reference, "type": "PAY", "country": "ID",
                    "currency": money.currency, "request_amount": amount, "channel_code": "QRIS",
                    "channel_properties": {} });
                Call::post("/v3/payment_requests", "/v3/payment_requests".to_owned(), Some(PAYMENTS_VERSION), &body)
            }
        };
        let WithId { id } = self.json(&call).await?;
        Ok(Created { simulation, id, reference: reference.to_owned(), money })
    }

    /// Pays it. Soon after its creation, Xendit may not know it yet: `Error::NotFound`.
    pub async fn pay(&self, created: &Created) -> Result<(), Error> {
        let Created { simulation, id, reference, money } = created;
        let amount = serde_json::from_str::<serde_json::Value>(&money.amount.to_string()).unwrap_or_default();
        let body = json!({ "amount": amount });
        let call = match simulation {
            Simulation::VirtualAccount => Call::post(
                "/callback_virtual_accounts/external_id={external_id}/simulate_payment",
                format!("/callback_virtual_accounts/external_id={}/simulate_payment", segment(reference)),
                None,
                &body,
            ),
            Simulation::QrCode => Call::post(
                "/qr_codes/{qr_id}/payments/simulate",
                format!("/qr_codes/{}/payments/simulate", segment(id)),
                Some(QR_VERSION),
                &body,
            ),
            Simulation::PaymentRequest => Call::post(
                "/v3/payment_requests/{id}/simulate",
                format!("/v3/payment_requests/{}/simulate", segment(id)),
                Some(PAYMENTS_VERSION),
                &body,
            ),
        };
        self.call(&call).await.map(drop)
    }
}
