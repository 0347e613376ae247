//! What each known body is recognised as: one line for each file in `events/webhooks`, and no file without a line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bodies;

use std::collections::BTreeMap;

use bodies::bodies;
use serde_json::Value;
use shared::{
    lifecycle::{Kind, Stage},
    money::Money,
    observation::{Drift, Observation},
    topic::Topic,
    webhook::{Webhook, catalogue},
};

/// File, event, stage, subject, paid, requested, account, reference, time, mark, channel. A capture is written with its id.
const TABLE: &str = r#"
account.activated | account.activated | account.activated | 5cafeb170a2b18519b1b8761 | - | - | 5cafeb170a2b18519b1b8761 | - | 2021-01-01T10:00:00Z | - | -
account.cleared | account.cleared | account.cleared | 5cafeb17b1aa6a2a651860b8 | - | - | 5cafeb17b1aa6a2a651860b8 | - | 2021-01-01T10:00:00Z | At(2021-01-01T10:00:00Z) | -
account.created | account.created | account.created | 5cafeb1719e96015f7693162 | - | - | 5cafeb1719e96015f7693162 | - | 2021-01-01T10:00:00Z | At(2021-01-01T10:00:00Z) | -
account.registered | account.registered | account.registered | 5cafeb17b74e266b8c385930 | - | - | 5cafeb17b74e266b8c385930 | - | 2021-01-01T10:00:00Z | - | -
account.suspected | account.suspected | account.suspected | 5cafeb172febaf7e0dda79b2 | - | - | 5cafeb172febaf7e0dda79b2 | - | 2021-01-01T10:00:00Z | At(2021-01-01T10:00:00Z) | -
account.suspended | account.suspended | account.suspended | 5cafeb179e7315bae5cf687a | - | - | 5cafeb179e7315bae5cf687a | - | 2021-01-01T10:00:00Z | At(2021-01-01T10:00:00Z) | -
account.verification | account.verification | account_verification.passed | 57fb4e076fa3fa296b7f5a97 | - | - | 57fb4e076fa3fa296b7f5a97 | - | 2021-01-01T10:00:00Z | At(2021-01-01T10:00:00Z) | -
account_holder.capabilities.status | account_holder.capabilities.status | capabilities.updated | 57fb4e076fa3fa296b7f5a97 | - | - | 62440e322008e87fb29c1fd0 | - | 2021-01-01T10:00:00Z | Text("6bf8105dc72643a40c598cba81520b52") | -
account_holder.kyc.status | account_holder.kyc.status | account_holder.passed | 57fb4e076fa3fa296b7f5a97 | - | - | 62440e322008e87fb29c1fd0 | - | 2021-01-01T10:00:00Z | At(2021-01-01T10:00:00Z) | -
batch_disbursement.completed | batch_disbursement | payout_batch.completed | 588ff5600bb30e4b4cdf5d1e | IDR 150000 | IDR 350000 | 62440e322008e87fb29c1fd0 | batch-payroll-feb | 2021-02-01T03:31:11Z | - | -
bill_payment.failed | bill_payment.failed | bill_payment.failed | 3dd4ebd4-f6cf-4042-bc65-dd847adcfb78 | - | IDR 53200 | 62440e322008e87fb29c1fd0 | PLN-20250801174603-5TV46 | 2025-08-01T10:46:03Z | - | -
bill_payment.succeeded | bill_payment.succeeded | bill_payment.succeeded | 3dd4ebd4-f6cf-4042-bc65-dd847adcfb77 | IDR 53200 | - | 62440e322008e87fb29c1fd0 | PLN-20250801174603-5TV45 | 2025-08-01T10:46:03Z | - | -
capture.failed | capture.failed | capture.failed | cptr-0d0e6f0a-49a1-4c4e-8e39-0b0a75f6b512 | - | IDR 150000 | 62440e322008e87fb29c1fd0 | order-v2-auth-01 | 2023-05-24T03:10:01.903Z | - | CARD
capture.succeeded | capture.succeeded | payment.succeeded | card-7e3e3e40-6a1e-42ac-8e50-0e7d385d2eeb | cptr-2578ee60-5c5b-4621-8ebd-5ab59bb67149 IDR 120000 | IDR 150000 | 62440e322008e87fb29c1fd0 | order-v2-auth-02 | 2023-05-24T03:10:01.903Z | - | CARD
cardless_credit.settlement | cardless_credit | payment.succeeded | 7bb3a7e2-tx | IDR 2000000 | - | - | cardless-credit-ci-test | - | - | KREDIVO
credit_card.authentication | credit_card.authentication | card.verified | 5824128aa6f9f2e648be9d76 | - | - | 62440e322008e87fb29c1fd0 | order-12345 | - | - | -
credit_card.tokenization | credit_card.tokenization | card.verified | 63897bac0d7847001af64acf | - | - | 62440e322008e87fb29c1fd0 | tokenization-callback-test | - | - | -
direct_debit.payment | direct_debit.payment | payment.succeeded | ddpy-65da263a-0796-4da1-86a8-5ac0d8e52a9d | IDR 300000 | - | - | dd-order-0001 | 2020-03-25T21:44:26Z | - | DC_BRI
direct_debit.payment.failed | direct_debit.payment | payment.failed | ddpy-0f6f24c7-8f6b-4a0b-b0ff-0b6a4b5f1e90 | - | IDR 300000 | - | dd-order-0002 | 2020-03-25T21:44:26Z | - | DC_BRI
disbursement.completed | disbursement | payout.succeeded | 57e214ba82b034c325e84d6e | IDR 150000 | - | 62440e322008e87fb29c1fd0 | disbursement_123124123 | 2021-07-10T08:15:33.404Z | - | BCA
disbursement.failed | disbursement | payout.failed | 57e214ba82b034c325e84d6f | - | IDR 150000 | 62440e322008e87fb29c1fd0 | disbursement_123124124 | 2021-07-10T08:15:33.404Z | - | BCA
dispute.action_required | dispute.action_required | dispute.action_required | mi-dspt-f44d259f-fd9d-4de9-80de-1eef3f1506b7 | - | USD 1000.00 | - | ref-123456 | 2026-03-01T19:50:51.724Z | At(2026-03-01T19:50:51.724Z) | CARDS
dispute.due_date_approaching | dispute.due_date_approaching | dispute.due_date_approaching | mi-dspt-26cb8179-f787-47a8-8f18-b190e9cbcf81 | - | USD 1000.00 | - | ref-123457 | 2026-03-13T08:00:00Z | At(2026-03-13T08:00:00Z) | CARDS
dispute.lost | dispute.lost | dispute.lost | mi-dspt-d57c22c7-4eee-4a79-8b6e-d75246b23f82 | - | USD 1000.00 | - | ref-123458 | 2026-03-20T14:00:00Z | AtBecause(2026-03-20T14:00:00Z, "EXCEEDED_DEADLINE") | CARDS
dispute.under_review | dispute.under_review | dispute.under_review | mi-dspt-1c341be2-1c1e-46ed-8438-7e8b378ff3ad | - | USD 1000.00 | - | ref-123459 | 2026-03-05T10:30:00Z | At(2026-03-05T10:30:00Z) | CARDS
dispute.won | dispute.won | dispute.won | mi-dspt-e2599814-89cc-4690-8c61-5fe72f2e09f0 | - | USD 1000.00 | - | ref-123460 | 2026-03-20T14:00:00Z | AtBecause(2026-03-20T14:00:00Z, "CHALLENGED") | CARDS
ewallet.capture | ewallet.capture | payment.succeeded | ewc_95d47d3a-db03-4b4b-9b6c-71077157cbc8 | IDR 20000 | IDR 20000 | 62440e322008e87fb29c1fd0 | test-payload | 2020-10-21T13:57:43.730483Z | - | ID_SHOPEEPAY
ewallet.capture.failed | ewallet.capture | payment.failed | ewc_6d0b7a0e-2f0b-4b53-9a55-7b1a6d0f1c22 | - | IDR 35000 | 62440e322008e87fb29c1fd0 | order-ew-1002 | 2024-05-02T03:04:11.904112Z | - | ID_DANA
ewallet.payment | ewallet.payment | payment.succeeded | a962e7ab-9bb6-4e39-aa67-e43c565d7a7d | IDR 1 | - | 62440e322008e87fb29c1fd0 | ovo-ewallet | 2020-02-01T01:02:03.456Z | - | OVO
ewallet.refund | ewallet.refund | refund.succeeded | ewr_1c0f6a53-7c0c-4f6a-9f1c-3c1b7a3f5b10 | IDR 35000 | - | 62440e322008e87fb29c1fd0 | order-ew-1004 | 2024-05-03T01:10:10.9Z | - | ID_DANA
ewallet.void | ewallet.void | payment.voided | ewc_eda8bf30-7ef9-413b-9d8d-c716600d89ee | IDR 35000 | IDR 35000 | 62440e322008e87fb29c1fd0 | order-ew-1003 | 2024-05-02T09:15:00Z | - | ID_DANA
ewallet_legacy.dana.paid | ewallet_2019 | payment.succeeded | dana-ewallet@DANA | IDR 1001 | - | 62440e322008e87fb29c1fd0 | dana-ewallet | 2019-04-07T01:35:46.658Z | - | DANA
ewallet_legacy.linkaja.success | ewallet_2019 | payment.succeeded | linkaja-ewallet@LINKAJA | IDR 300000 | - | - | linkaja-ewallet | - | - | LINKAJA
fva.created | fva_status | virtual_account.active | 58a435201b6ce2a355f46070 | - | - | 62440e322008e87fb29c1fd0 | fixed-va-1487156410 | 2017-02-15T11:01:52.896Z | At(2017-02-15T11:01:52.896Z) | MANDIRI
fva.paid | fva_paid | payment.succeeded | 1487156512722@58a434ba39cc9e4a230d5a2b | IDR 80000 | - | 62440e322008e87fb29c1fd0 | fixed-va-1487156410 | 2017-02-15T11:01:52.722Z | - | MANDIRI
fva.updated.closed | fva_status | virtual_account.inactive | 59e0b1c2d3e4f5061728394a | - | IDR 250000 | 62440e322008e87fb29c1fd0 | va-order-77120 | 2024-06-01T10:00:01.204Z | At(2024-06-01T10:00:01.204Z) | BNI
invoice.expired | invoice | invoice.expired | 621887f17d9cdaa199d6e787 | - | IDR 1000 | 62440e322008e87fb29c1fd0 | yumin-invoice-1645774832 | 2022-02-25T07:42:43.872Z | - | -
invoice.paid | invoice | invoice.paid | 6748105a77f16ebe0cc583a7 | IDR 510000 | IDR 510000 | 62440e322008e87fb29c1fd0 | payment-link-example | 2024-11-28T06:41:29.776Z | - | DANA
invoice.paid.php_decimal | invoice | invoice.paid | 65f1a2b3c4d5e6f708192a3b | PHP 1234.56 | PHP 1234.56 | 62440e322008e87fb29c1fd0 | order-2024-000917 | 2024-03-13T02:12:31Z | - | GCASH
invoice.paid.retail_outlet | invoice | invoice.paid | 593f4ed1c3d3bb7f39733d83 | IDR 2000000 | IDR 2000000 | 62440e322008e87fb29c1fd0 | testing-invoice | 2020-01-14T02:32:50.912Z | - | ALFAMART
linked_account_token.successful | linked_account_token.successful | linked_account.linked | lat-d6876bf1-9722-47e3-8757-f74c7d7772b5 | - | - | - | - | 2021-05-21T12:28:49.019Z | - | PH_GRABPAY
paylater.payment | paylater.payment | payment.succeeded | plc_7eb15231-a2e1-4652-b667-0481f6d74f71 | PHP 1234.56 | - | 62440e322008e87fb29c1fd0 | order_id_123 | 2020-11-11T16:23:52Z | - | PH_BILLEASE
payment.authorization | payment.authorization | payment.authorized | py-1fdaf346-dd2e-4b6c-b938-124c7167a822 | - | PHP 10000 | 62440e322008e87fb29c1fd0 | example_reference_id | 2021-12-02T14:52:21.566Z | - | CARDS
payment.awaiting_capture | payment.awaiting_capture | payment.authorized | card-2b0b5c1f-93b7-4f0a-8f3d-2e0b4a1d6c55 | - | IDR 150000 | 62440e322008e87fb29c1fd0 | order-v2-auth-01 | 2022-08-12T13:30:58.729373Z | - | CARD
payment.capture | payment.capture | payment.succeeded | py-1402feb0-bb79-47ae-9d1e-e69394d3949c | cap-1502feb0-bb79-47ae-9d1e-e69394d3949c PHP 10000.01 | PHP 10000.01 | 62440e322008e87fb29c1fd0 | 90392f42-d98a-49ef-a7f3-abcezas123 | 2029-12-31T23:59:59Z | - | GCASH
payment.capture.va_reusable | payment.capture | payment.succeeded | py-4e0209e9-67a2-449a-9748-57df6a8bddad | cptr-fa2abf5c-b5e4-4cd5-95df-f2c949eba332 IDR 10000 | IDR 10000 | 62440e322008e87fb29c1fd0 | test-1739083782 | 2025-02-09T06:50:18Z | - | BNI_VIRTUAL_ACCOUNT
payment.expiry | payment.expiry | payment.expired | py-7c9e2f60-5b2e-4f5e-9f9a-2d1e9c7a6b10 | - | IDR 250000 | 62440e322008e87fb29c1fd0 | order-v3-auth-77 | 2025-03-08T01:00:00Z | - | CARDS
payment.failed | payment.failed | payment.failed | ddpy-7a1c33f0-95ad-4b3a-8a53-0bdc26a4d1f7 | - | PHP 1000 | 62440e322008e87fb29c1fd0 | order-v2-failed-01 | 2022-08-12T13:30:58.729373Z | - | BPI
payment.failure | payment.failure | payment.failed | py-421589b3-fbe2-4439-b4f0-a42a3169e12d | - | THB 10000 | 62440e322008e87fb29c1fd0 | example_reference_id_2 | 2021-12-02T14:52:21.566Z | - | CARDS
payment.pending | payment.pending | payment.pending | ddpy-1d1f9a5e-13f8-4b17-9a3e-1f3a4f6f7b20 | - | PHP 1000 | 62440e322008e87fb29c1fd0 | order-v2-pending-01 | 2022-08-12T13:30:58.729373Z | - | BPI
payment.succeeded | payment.succeeded | payment.succeeded | ddpy-3cd658ae-25b9-4659-aa36-596ae41a809f | PHP 1000 | - | 62440e322008e87fb29c1fd0 | 25cfd0f9-baee-44ca-9a12-6debe03f3c22 | 2022-08-12T13:30:58.729373Z | - | BPI
payment.verified | payment.verified | card.verified | pr-9d2b7a10-4c1f-4a39-8f76-0c2f8b1a9e33 | - | - | 62440e322008e87fb29c1fd0 | verify-card-001 | 2026-05-01T02:00:09Z | - | CARDS
payment_code.payment | payment_code.payment | payment.succeeded | pymt-af548f2c-bf9f-4f4c-8d24-996e53744fe4 | PHP 500.25 | - | 62440e322008e87fb29c1fd0 | order-7eleven-0001 | 2021-12-10T06:09:10.135001333Z | - | 7ELEVEN
payment_method.activated | payment_method.activated | payment_method.active | pm-6ff0b6f2-f5de-457f-b08f-bc98fbae485a | - | - | 62440e322008e87fb29c1fd0 | 620b9df4-fe69-4bfd-b9d4-5cba6861db8a | 2022-08-12T13:30:58.908220358Z | - | BPI
payment_method.expired | payment_method.expired | payment_method.expired | pm-b1a7f8d0-0c8b-4c61-9a70-9f0a5a4b2b11 | - | - | 62440e322008e87fb29c1fd0 | 25d00a6d-93bb-48ca-b91e-3e142116b432 | 2022-08-12T13:30:58.908220358Z | - | QRIS
payment_method.expiry.expired | payment_method.expiry.expired | payment_method.expired | pm-c30d4800-afe4-4e58-ad5f-cc006d169139 | - | - | 62440e322008e87fb29c1fd0 | - | 2024-06-24T00:00:00Z | - | -
payment_method.expiry.expiring | payment_method.expiry.expiring | payment_method.expiring | pm-79dbfb2e-fa6e-48ee-afc7-f45e7870e051 | - | - | 62440e322008e87fb29c1fd0 | - | 2024-06-24T00:00:00Z | - | -
payment_method.failed | payment_method.failed | payment_method.failed | pm-3a55e0c1-5c3b-4e18-b7b7-1c2c8f1e7a90 | - | - | 62440e322008e87fb29c1fd0 | 485f356a-2bd4-4232-b667-5a812d90de14 | 2022-08-12T13:30:58.908220358Z | - | BPI
payment_request.expiry | payment_request.expiry | payment_request.expired | pr-5d0f3f6b-37b8-4a4c-8f0a-88f0b6cf0a11 | - | IDR 75000 | 62440e322008e87fb29c1fd0 | order-v3-expired-01 | 2025-03-01T01:30:00Z | - | QRIS
payment_session.completed | payment_session.completed | payment_session.completed | ps-661f87c614802d6c402cd82d | - | PHP 10000 | 62440e322008e87fb29c1fd0 | order_12345_PAY | 2026-12-31T23:59:59Z | - | -
payment_session.completed.subscription | payment_session.completed | payment_session.completed | ps-661f87c68f264a8d85bb1b47 | - | PHP 50000 | 62440e322008e87fb29c1fd0 | subscription_12345 | 2026-12-31T23:59:59Z | - | -
payment_session.expired | payment_session.expired | payment_session.expired | ps-661f87c6c83327a1ec5c9a9a | - | PHP 10000 | 62440e322008e87fb29c1fd0 | order_12346_PAY | 2021-12-31T23:59:59Z | - | -
payment_token.activation | payment_token.activation | payment_token.active | pt-1402feb0-bb79-47ae-9d1e-e69394d3949c | - | - | 62440e322008e87fb29c1fd0 | 90392f42-d98a-49ef-a7f3-abcezas124 | 2029-12-31T23:59:59Z | - | OVO
payment_token.expiry | payment_token.expiry | payment_token.expired | pt-f18bc207-be24-4d25-9d40-2e6b97ae239b | - | - | 62440e322008e87fb29c1fd0 | 90392f42-d98a-49ef-a7f3-abcezas125 | 2029-12-31T23:59:59Z | - | OVO
payment_token.failure | payment_token.failure | payment_token.failed | pt-bad9be5a-d898-4a02-9acd-851d5aa35322 | - | - | 62440e322008e87fb29c1fd0 | 90392f42-d98a-49ef-a7f3-abcezas126 | 2029-12-31T23:59:59Z | - | OVO
payout.failed | payout.failed | payout.failed | disb-571f3644d2b4edf0745e9704 | - | PHP 1250.75 | 62440e322008e87fb29c1fd0 | myref-1482928195 | 2024-12-31T23:53:59Z | - | PH_GCASH
payout.reversed | payout.reversed | payout.reversed | disb-571f3644d2b4edf0745e9705 | IDR 10000 | - | 62440e322008e87fb29c1fd0 | myref-1482928196 | 2025-01-02T03:10:00Z | - | ID_BCA
payout.succeeded | payout.succeeded | payout.succeeded | disb-571f3644d2b4edf0745e9703 | IDR 10000 | - | 62440e322008e87fb29c1fd0 | myref-1482928194 | 2024-12-31T23:53:59Z | - | ID_BCA
payout_link.completed | payout_link | payout.succeeded | 67f1b30c-0262-4955-8777-95aa0478c2fc | IDR 23000 | - | - | demo_2392329329 | 2019-12-09T06:13:20.363Z | - | BCA
ph_disbursement.completed | ph_disbursement | payout.succeeded | disb-6a49375d-fc0b-4992-b46c-e04cede8388e | PHP 1500.5 | - | - | loan-disb-0001 | 2022-12-21T06:28:12.271Z | - | PH_GCASH
qr.payment | qr.payment | payment.succeeded | qrpy_8182837te-87st-49ing-8696-1239bd4d759c | IDR 1500 | - | 62440e322008e87fb29c1fd0 | testing_id_123 | 2020-01-08T18:18:18.857Z | - | ID_DANA
qr.payment.legacy | qr.payment | payment.succeeded | qrpy_8182837te-87st-49ing-8697-2340ce5e860d | IDR 1500 | - | - | testing_id_124 | 2020-01-08T18:18:18.857Z | - | -
recurring.cycle.created | recurring.cycle.created | recurring_cycle.scheduled | recy_4e66b458-00b7-4ddd-9859-cce153dda097 | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-01 | 2026-05-10T02:00:08Z | Count(0) | -
recurring.cycle.failed | recurring.cycle.failed | recurring_cycle.failed | recy_4d5fb7ac-e7e3-4244-9978-61b0f164bd93 | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-01 | 2026-05-10T02:00:08Z | Count(2) | -
recurring.cycle.force_attempt_failed | recurring.cycle.force_attempt_failed | recurring_cycle.retrying | recy_a3da0b35-fcfd-4d0a-9ede-c553d67acbcd | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-01 | 2026-05-10T02:00:08Z | Count(2) | -
recurring.cycle.retrying | recurring.cycle.retrying | recurring_cycle.retrying | recy_9c285b01-0595-4a46-9184-786c04076f3c | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-01 | 2026-05-10T02:00:08Z | Count(1) | -
recurring.cycle.succeeded | recurring.cycle.succeeded | recurring_cycle.succeeded | recy_7dc262ee-26e0-4a73-977b-0f2af2319f00 | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-01 | 2026-05-10T02:00:08Z | Count(1) | -
recurring.cycle.succeeded.legacy | recurring.cycle.succeeded | recurring_cycle.succeeded | recy_9ab1ef6b-90a5-4d9c-9a4e-7a37f2b7b6c1 | - | IDR 150000 | 62440e322008e87fb29c1fd0 | legacy-plan-0007 | 2025-06-01T02:00:08Z | Count(1) | -
recurring.plan.activated | recurring.plan.activated | recurring_plan.active | repl_4e66b458-00b7-4ddd-9859-cce153dda097 | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-01 | 2026-04-10T02:00:02Z | At(2026-04-10T02:00:02Z) | -
recurring.plan.activated.legacy | recurring.plan.activated | recurring_plan.active | repl_e1a7c8d4-5f3d-4f57-8a5a-2f0a7e9a5b31 | - | IDR 150000 | 62440e322008e87fb29c1fd0 | legacy-plan-0007 | 2025-05-01T02:00:02Z | At(2025-05-01T02:00:02Z) | -
recurring.plan.inactivated | recurring.plan.inactivated | recurring_plan.inactive | repl_eeebcd49-b873-487d-9620-9f453ea25bb4 | - | IDR 99000 | 62440e322008e87fb29c1fd0 | my-plan-02 | 2026-04-10T02:00:02Z | At(2026-04-10T02:00:02Z) | -
refund.failed | refund.failed | refund.failed | rfd-fca8d8bc-497c-42a5-b16f-97825323502a | - | PHP 10000 | 62440e322008e87fb29c1fd0 | b2756a1e-e6cd-4352-9a68-0483aa2b6a3 | 2020-08-30T09:12:33.001Z | - | BPI
refund.succeeded | refund.succeeded | refund.succeeded | rfd-6f4a377d-a201-437f-9119-f8b00cbbe857 | PHP 10000 | - | 62440e322008e87fb29c1fd0 | b2756a1e-e6cd-4352-9a68-0483aa2b6a2 | 2020-08-30T09:12:33.001Z | - | BPI
remittance_payout.compliance_rejected | remittance_payout.compliance_rejected | payout.rejected | rpo_ceb60e56-c122-4645-961c-a09adf938cff | - | IDR 1000000 | 62440e322008e87fb29c1fd0 | myref-1482928201 | 2024-12-13T08:30:00Z | - | -
remittance_payout.expired | remittance_payout.expired | payout.expired | rpo_f5d17738-10d8-40e0-9d10-09900575798c | - | IDR 1000000 | 62440e322008e87fb29c1fd0 | myref-1482928202 | 2024-12-13T08:30:00Z | - | -
remittance_payout.failed | remittance_payout.failed | payout.failed | rpo_8335a634-0e2e-472f-9970-cf00561a1516 | - | IDR 1000000 | 62440e322008e87fb29c1fd0 | myref-1482928203 | 2024-12-13T08:30:00Z | - | -
remittance_payout.locked | remittance_payout.locked | payout.locked | rpo_a7916167-be24-4621-9e1a-e9cf293ec506 | - | IDR 1000000 | 62440e322008e87fb29c1fd0 | myref-1482928204 | 2024-12-13T08:30:00Z | - | -
remittance_payout.pending_compliance_assessment | remittance_payout.pending_compliance_assessment | payout.pending | rpo_7778dfb8-3642-45c4-94de-beacac664a0a | - | IDR 1000000 | 62440e322008e87fb29c1fd0 | myref-1482928205 | 2024-12-13T07:51:10.832Z | - | -
remittance_payout.ready | remittance_payout.ready | payout.ready | rpo_c650cd34-5840-4702-9e5e-067a8f00e2b5 | - | IDR 1000000 | 62440e322008e87fb29c1fd0 | myref-1482928206 | 2024-12-13T08:30:00Z | - | -
remittance_payout.reversed | remittance_payout.reversed | payout.reversed | rpo_97e5b9bd-9f95-4d5b-9162-49a22bd36d9c | IDR 1000000 | - | 62440e322008e87fb29c1fd0 | myref-1482928207 | 2024-12-15T08:30:00Z | - | -
remittance_payout.succeeded | remittance_payout.succeeded | payout.succeeded | rpo_288250b4-124b-4be5-93a1-1cd50dd4ad02 | IDR 1000000 | - | 62440e322008e87fb29c1fd0 | myref-1482928208 | 2024-12-13T08:30:00Z | - | -
report.completed | report | report.completed | report_068581fd-ff7c-447f-8b16-a2ac00ebf98c | - | - | 62440e322008e87fb29c1fd0 | - | 2025-07-02T13:22:01.63Z | - | -
report.failed | report | report.failed | report_5c1b34a2-6ceb-4c24-aba9-c836bac82b28 | - | - | 62440e322008e87fb29c1fd0 | - | 2021-06-24T04:01:55.57Z | - | -
retail_outlet.paid | ro_fpc_paid | payment.succeeded | 61c53c4fdc1b825d9a58ff54 | IDR 2500000 | - | 62440e322008e87fb29c1fd0 | FPC-1640315959 | 2021-12-24T03:19:43.26Z | - | ALFAMART
split.payment.completed | split.payment | split.completed | 57fb4e076fa3fa296b7f5a97 | PHP 150.45 | - | 62440e322008e87fb29c1fd0 | my_unique_payment_reference_12345 | - | - | -
split.payment.failed | split.payment | split.failed | 57fb4e0766bc6e08473344cc | - | PHP 150.45 | 62440e322008e87fb29c1fd0 | my_unique_payment_reference_12346 | - | - | -
v3_payout.failed | v3_payout.failed | payout.failed | po-b2c3d4e5-f6a7-8901-bcde-f23456789012 | - | PHP 500.00 | 62440e322008e87fb29c1fd0 | payout-ref-002 | 2025-06-11T08:01:30Z | - | -
v3_payout.pending_compliance | v3_payout.pending_compliance | payout.pending | po-d4e5f6a7-b8c9-0123-defa-456789012345 | - | PHP 500.00 | 62440e322008e87fb29c1fd0 | payout-ref-004 | 2025-06-11T08:01:30Z | - | -
v3_payout.rejected | v3_payout.rejected | payout.rejected | po-c3d4e5f6-a7b8-9012-cdef-345678901234 | - | PHP 500.00 | 62440e322008e87fb29c1fd0 | payout-ref-003 | 2025-06-11T08:01:30Z | - | -
v3_payout.reversed | v3_payout.reversed | payout.reversed | po-f7fd798e-2933-7e14-ad70-fa3d6dc0014f | USD 0.63 | - | 62440e322008e87fb29c1fd0 | payout-ref-005 | 2025-06-12T01:00:00Z | - | -
v3_payout.succeeded | v3_payout.succeeded | payout.succeeded | po-a1b2c3d4-e5f6-7890-abcd-ef1234567890 | USD 0.63 | - | 62440e322008e87fb29c1fd0 | payout-ref-001 | 2025-06-10T11:45:00Z | - | -
"#;

#[test]
fn every_body_is_recognised_as_what_it_is() {
    let observed: Vec<String> = bodies().iter().map(|(name, body)| line(name, body)).collect();
    let expected: Vec<String> = TABLE.trim().lines().map(str::to_owned).collect();
    let without = |lines: &[String], others: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    assert_eq!(without(&observed, &expected), without(&expected, &observed), "observed, and in the table");
    assert_eq!(observed.len(), expected.len(), "a line stands in the table twice");
}

fn line(name: &str, body: &[u8]) -> String {
    let seen = Webhook::parse(body, None).unwrap().observe();
    let doubtful =
        |drift: &Drift| drift.found.starts_with("doubtful minor units") || drift.found == "missing beside an amount";
    assert!(seen.drift.iter().all(doubtful), "{name}: {:?}", seen.drift);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let money = |money: Option<Money>| or_dash(money.map(|money| money.to_string()));
    let captures = seen.captures.iter().map(|(id, money)| format!("{id} {money}")).reduce(|a, b| a + ", " + &b);
    [
        name.to_owned(),
        seen.event,
        seen.stage.to_string(),
        seen.scope.into_iter().fold(seen.id, |id, within| format!("{id}@{within}")),
        captures.unwrap_or_else(|| money(seen.paid)),
        money(seen.requested),
        or_dash(seen.account),
        or_dash(seen.reference),
        or_dash(seen.occurred_at.map(|time| time.to_string())),
        or_dash(seen.mark.map(|mark| format!("{mark:?}"))),
        or_dash(seen.channel),
    ]
    .join(" | ")
}

/// Names from tutorials and from others' code. None of them is Xendit's.
const NOT_EVENTS: &[&str] = &[
    "invoice.paid",
    "invoice.expired",
    "invoice.pending",
    "invoice.cancelled",
    "virtual_account.paid",
    "fixed_payment_code.paid",
    "retail_outlet.paid",
    "qr_code.paid",
    "qr.refund.succeeded",
    "payment_session.failed",
    "payment_session.paid",
    "payment_request.created",
    "payment_request.pending",
    "payment_request.failed",
    "payment_request.completed",
    "payment_request.succeeded",
    "payment_token.deactivation",
    "recurring.payment.created",
    "recurring.payment.succeeded",
    "recurring.payment.failed",
    "recurring.plan.requires_action",
    "recurring.plan.stopped",
    "disbursement.completed",
    "account_holder.kyc.status:passed",
    "linked_account_token.account_selected",
    // Known, but for the case or for what stands around it.
    "Payment.Capture",
    " payment.capture",
    "payment.capture.",
    "payment",
    // Ours, for bodies without a name.
    "invoice",
    "fva_paid",
    "disbursement",
    "ewallet_2019",
];

#[test]
fn a_name_that_is_not_xendits_is_unknown_whatever_the_body_holds() {
    for (file, body) in bodies() {
        let text = String::from_utf8(body).unwrap();
        let known = observe(&text).event;
        for name in NOT_EVENTS {
            let body = if text.contains("\"event\": \"") {
                text.replace(&format!("\"event\": \"{known}\""), &format!("\"event\": \"{name}\""))
            } else {
                text.replacen('{', &format!("{{\"event\": \"{name}\","), 1)
            };
            assert_eq!(observe(&body).kind(), Kind::Unknown, "{file} as {name}");
        }
    }
}

#[test]
fn the_old_form_with_an_event_type_is_unknown() {
    let body = r#"{"event_type":"account.registered","external_id":"a","user_id":"b","merchant_name":"c"}"#;
    assert!(observe(body).unknown.unwrap().to_string().starts_with("`event_type` instead of `event`"));
}

#[test]
fn the_topic_decides_only_where_the_keys_do_not_and_the_body_has_what_it_takes() {
    let topic: Topic = "invoice".parse().unwrap();
    let by_topic = |body: &str| Webhook::parse(body.as_bytes(), Some(&topic)).unwrap().observe().stage.to_string();
    let invoice = r#"{"id":"i","external_id":"e","user_id":"u","amount":1,"status":"PAID"}"#;
    assert_eq!(by_topic(invoice), "invoice.paid");
    assert_eq!(observe(invoice).kind(), Kind::Unknown);
    assert_eq!(by_topic(r#"{"id":"i","external_id":"e","status":"PAID"}"#), "unknown.received");
    // An Indonesian disbursement at the wrong URL: COMPLETED would be an invoice's PAID.
    let disbursement = r#"{"id":"d","external_id":"e","user_id":"u","amount":1,"status":"COMPLETED","bank_code":"BCA",
        "account_holder_name":"n","disbursement_description":"x"}"#;
    assert_eq!(by_topic(disbursement), "payout.succeeded");
}

#[test]
fn an_invoice_may_carry_what_other_products_are_known_by() {
    let body = r#"{"id":"i","external_id":"e","user_id":"u","merchant_name":"m","status":"COMPLETED","amount":1,
        "bank_code":"BCA","account_holder_name":"n","ewallet_type":"OVO","items":[],"fees":[],"payment_id":"p"}"#;
    assert_eq!(observe(body).stage.as_str(), "invoice.paid");
}

#[test]
fn a_session_of_the_dashboards_tests_is_known_by_id() {
    let body = r#"{"event":"payment_session.completed","data":{"id":"ps-1","status":"COMPLETED"}}"#;
    assert_eq!(observe(body).id, "ps-1");
}

/// Bodies with an amount, by the currency that they imply once none is named.
const IMPLIED: &str = "\
IDR: batch_disbursement.completed bill_payment.failed bill_payment.succeeded cardless_credit.settlement \
    disbursement.completed disbursement.failed ewallet.capture ewallet.capture.failed ewallet.payment \
    ewallet.refund ewallet.void ewallet_legacy.dana.paid ewallet_legacy.linkaja.success fva.paid \
    fva.updated.closed invoice.paid invoice.paid.retail_outlet payment.capture.va_reusable \
    payment_request.expiry payout.reversed payout.succeeded payout_link.completed qr.payment qr.payment.legacy \
    retail_outlet.paid
PHP: invoice.paid.php_decimal paylater.payment payment.capture payment.failed payment.pending \
    payment.succeeded payment_code.payment payout.failed ph_disbursement.completed refund.failed \
    refund.succeeded
none: capture.failed capture.succeeded direct_debit.payment direct_debit.payment.failed \
    dispute.action_required dispute.due_date_approaching dispute.lost dispute.under_review dispute.won \
    invoice.expired payment.authorization payment.awaiting_capture payment.expiry payment.failure \
    payment_session.completed payment_session.completed.subscription payment_session.expired \
    recurring.cycle.created recurring.cycle.failed recurring.cycle.force_attempt_failed recurring.cycle.retrying \
    recurring.cycle.succeeded recurring.cycle.succeeded.legacy recurring.plan.activated \
    recurring.plan.activated.legacy recurring.plan.inactivated remittance_payout.compliance_rejected \
    remittance_payout.expired remittance_payout.failed remittance_payout.locked \
    remittance_payout.pending_compliance_assessment remittance_payout.ready remittance_payout.reversed \
    remittance_payout.succeeded split.payment.completed split.payment.failed v3_payout.failed \
    v3_payout.pending_compliance v3_payout.rejected v3_payout.reversed v3_payout.succeeded
";

#[test]
fn a_body_that_names_no_currency_implies_one_only_where_there_is_no_other() {
    let mut implied: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, body) in bodies() {
        let before = Webhook::parse(&body, None).unwrap().observe();
        let mut json = serde_json::from_slice(&body).unwrap();
        remove_currency(&mut json);
        let body = json.to_string();
        let seen = observe(&body);
        assert_eq!((seen.stage, &seen.id), (before.stage, &before.id), "{name}");
        let currency = |seen: &Observation| {
            let amounts = seen.paid.iter().chain(&seen.requested).chain(seen.captures.values());
            amounts.map(|money| money.currency.to_string()).next()
        };
        if currency(&before).is_some() {
            implied.entry(currency(&seen).unwrap_or_else(|| "none".to_owned())).or_default().push(name);
        }
    }
    let lines: Vec<_> = implied.iter().map(|(currency, names)| format!("{currency}: {}\n", names.join(" "))).collect();
    assert_eq!(lines.concat(), IMPLIED);
}

fn remove_currency(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            keys.retain(|name, _| !name.contains("currency"));
            keys.values_mut().for_each(remove_currency);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_currency),
        _ => {}
    }
}

#[test]
fn the_catalogue_lists_what_the_bodies_are_observed_as() {
    let catalogue: Vec<_> = catalogue().collect();
    for (file, body) in bodies() {
        let webhook = Webhook::parse(&body, None).unwrap();
        let (entry, seen) = (webhook.entry().unwrap(), webhook.observe());
        assert!(
            catalogue.contains(&entry) && entry.event == seen.event && entry.stages.contains(&seen.stage),
            "{file}"
        );
    }
    for entry in &catalogue {
        assert!(!entry.stages.is_empty(), "{}", entry.event);
        assert!(entry.topic().parse::<Topic>().is_ok(), "{}", entry.event);
        assert!(entry.callback_type().is_none_or(|callback_type| callback_type == entry.topic()), "{}", entry.event);
    }
    let succeeded = catalogue.iter().find(|entry| entry.event == "payment.succeeded").unwrap();
    assert_eq!(succeeded.callback_type().as_deref(), Some("payment_succeeded"));
    assert_eq!(succeeded.stages, ["payment.succeeded".parse::<Stage>().unwrap()]);
    assert_eq!(succeeded.without_status, Some(succeeded.stages[0]));
    assert_eq!(succeeded.statuses, Some(vec![("SUCCEEDED", succeeded.stages[0])]));
    for key in ["id", "amount", "payment_method", "status", "reference_id", "business_id", "currency", "failure_code"] {
        assert!(succeeded.keys.contains(&key), "{key}");
    }
}

fn observe(body: &str) -> Observation {
    Webhook::parse(body.as_bytes(), None).unwrap().observe()
}
