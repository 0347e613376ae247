//! Cards: their authentication and their tokenization. The legacy charges themselves are answered at once and send no
//! webhook.

use crate::{
    lifecycle::{
        CardPhase::{Failed, InReview, Verified},
        Stage::Card,
    },
    resource::{COMMON, Resource, Role},
    webhook::{Event, Form, Product, Url},
};

/// A check of a card.
const CHECKS: Resource = Resource {
    statuses: &[("IN_REVIEW", Card(InReview)), ("VERIFIED", Card(Verified)), ("FAILED", Card(Failed))],
    amounts: &[(Role::Only, "amount")],
    ..COMMON
};

pub(super) const CHECK: Product = Product {
    name: "Cards (authentication, tokenization)",
    url: Url::Dashboard("credit_card"),
    form: Form::Enveloped,
    resource: &CHECKS,
    events: &[Event::by_status("credit_card.authentication"), Event::by_status("credit_card.tokenization")],
    adjust: None,
};
