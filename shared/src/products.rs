//! Products: one table for each of Xendit's products that sends webhooks. What a table cannot express is in
//! a few functions beside it.

mod account;
mod account_holder;
mod bill_payment;
mod card;
mod direct_debit;
mod disbursement;
mod dispute;
mod ewallet;
mod ewallet_2019;
mod invoice;
mod paylater;
mod payment;
mod payment_method;
mod payment_request;
mod payment_session;
mod payment_token;
mod payment_v2;
mod payout;
mod payout_v3;
mod qr;
mod recurring;
mod refund;
mod remittance_payout;
mod report;
mod retail_outlet;
mod split;
mod virtual_account;

use crate::product::Product;

/// All products. Where two share an event's name, the first whose layout fits is used.
pub(crate) const ALL: &[&Product] = &[
    &invoice::INVOICE,
    &virtual_account::PAID,
    &virtual_account::STATUS,
    &retail_outlet::INDONESIA,
    &retail_outlet::PHILIPPINES,
    &ewallet::CHARGE,
    &ewallet::REFUND,
    &ewallet_2019::CHARGE,
    &ewallet_2019::OVO,
    &qr::PAYMENT,
    &qr::LEGACY_PAYMENT,
    &direct_debit::PAYMENT,
    &direct_debit::EXPIRY,
    &direct_debit::LINKED_ACCOUNT,
    &paylater::PAYMENT,
    &paylater::CARDLESS_CREDIT,
    &card::CHECK,
    &payment_v2::PAYMENT,
    &payment_v2::CAPTURE,
    &payment_v2::FAILED_CAPTURE,
    &payment_method::PAYMENT_METHOD,
    &payment::PAYMENT,
    &payment::VERIFICATION,
    &payment_request::PAYMENT_REQUEST,
    &payment_token::PAYMENT_TOKEN,
    &payment_session::PAYMENT_SESSION,
    &refund::REFUND,
    &recurring::PLAN,
    &recurring::CYCLE,
    &disbursement::INDONESIA,
    &disbursement::PHILIPPINES,
    &disbursement::BATCH,
    &payout::PAYOUT,
    &payout::LINK,
    &payout_v3::PAYOUT,
    &remittance_payout::PAYOUT,
    &report::REPORT,
    &account::ACCOUNT,
    &account::VERIFICATION,
    &account_holder::VERIFICATION,
    &account_holder::CAPABILITIES,
    &split::SPLIT,
    &dispute::DISPUTE,
    &bill_payment::BILL_PAYMENT,
];

/// What the tables are made of.
mod prelude {
    pub(super) use crate::{
        lifecycle::{
            AccountHolderPhase, AccountPhase, AccountVerificationPhase, BillPaymentPhase, CapabilitiesPhase,
            CapturePhase, CardPhase, DisputePhase, InvoicePhase, LinkedAccountPhase, PaymentMethodPhase, PaymentPhase,
            PaymentRequestPhase, PaymentSessionPhase, PaymentTokenPhase, PayoutBatchPhase, PayoutPhase,
            RecurringCyclePhase, RecurringPlanPhase, RefundPhase, ReportPhase, SplitPhase,
            Stage::{
                self, Account, AccountHolder, AccountVerification, BillPayment, Capabilities, Capture, Card, Dispute,
                Invoice, LinkedAccount, Payment, PaymentMethod, PaymentRequest, PaymentSession, PaymentToken, Payout,
                PayoutBatch, RecurringCycle, RecurringPlan, Refund, Report, Split, VirtualAccount,
            },
            VirtualAccountPhase,
        },
        object::Fields,
        observation::Unknown,
        product::{Event, Form, Place, Product, Url},
        resource::{COMMON, Captures, MarkedBy, Resource, Role},
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::catalogue;

    #[test]
    fn every_event_of_a_product_is_about_one_kind() {
        for entry in catalogue() {
            let kinds: std::collections::BTreeSet<_> = entry.stages.iter().map(|stage| stage.kind()).collect();
            assert_eq!(kinds.len(), 1, "{}", entry.event);
        }
        for product in ALL {
            let kinds: std::collections::BTreeSet<_> =
                product.resource.statuses.iter().map(|(_, stage)| stage.kind()).collect();
            assert!(kinds.len() <= 1, "{}", product.name);
        }
    }
}
