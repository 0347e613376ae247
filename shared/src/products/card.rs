//! Cards: their authentication and their tokenization. Legacy charges are answered synchronously and send no webhook.

use super::prelude::*;
use CardPhase::{Failed, InReview, Verified};

/// A check of a card.
const CARD_CHECKS: Resource = Resource {
    statuses: &[("IN_REVIEW", Card(InReview)), ("VERIFIED", Card(Verified)), ("FAILED", Card(Failed))],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const CHECK: Product = Product {
    name: "Cards (authentication, tokenization)",
    url: Url::Dashboard("credit_card"),
    form: Form::Enveloped,
    resource: &CARD_CHECKS,
    events: &[Event::by_status("credit_card.authentication"), Event::by_status("credit_card.tokenization")],
};
