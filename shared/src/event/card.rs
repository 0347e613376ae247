//! Cards: their authentication and their tokenization. The legacy charges themselves are answered at once and send no
//! webhook.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::CardPhase,
    observation::{Drift, Observation, Unknown},
};

const STATUSES: &[(&str, CardPhase)] =
    &[("IN_REVIEW", CardPhase::InReview), ("VERIFIED", CardPhase::Verified), ("FAILED", CardPhase::Failed)];

/// A check of a card.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Check {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Check {
    type Phase = CardPhase;

    const PRODUCT: Product<CardPhase> = Product {
        name: "Cards (authentication, tokenization)",
        url: Url::Dashboard("credit_card"),
        form: Form::ENVELOPED,
        events: &[
            Named::by_status("credit_card.authentication", STATUSES),
            Named::by_status("credit_card.tokenization", STATUSES),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}
