//! What is particular about single products, beyond what `tests/recognition.rs` says about every bundled body.

use super::*;
use crate::observation::Mark;

fn observe(body: &str) -> Observation {
    Webhook::parse(body.as_bytes(), None).unwrap().observe()
}

fn enveloped(event: &str, data: &str) -> Observation {
    observe(&format!(r#"{{"event":"{event}","business_id":"b","data":{data}}}"#))
}

fn paid(seen: &Observation) -> Option<String> {
    seen.paid.as_ref().map(ToString::to_string)
}

fn requested(seen: &Observation) -> Option<String> {
    seen.requested.as_ref().map(ToString::to_string)
}

fn drift(seen: &Observation) -> Vec<String> {
    seen.drift.iter().map(ToString::to_string).collect()
}

fn reason(seen: &Observation) -> String {
    seen.unknown.map(|reason| reason.to_string()).unwrap_or_default()
}

// --- Currencies ---

fn invoice(rest: &str) -> Observation {
    observe(&format!(
        r#"{{"id":"i","external_id":"e","user_id":"u","merchant_name":"m","status":"PAID","paid_amount":1000{rest}}}"#
    ))
}

#[test]
fn an_invoice_without_a_currency_is_in_its_channels_or_in_none() {
    assert_eq!(paid(&invoice(r#","currency":"PHP","payment_channel":"BCA""#)).as_deref(), Some("PHP 1000"));
    assert_eq!(paid(&invoice(r#","payment_channel":"PH_GCASH""#)).as_deref(), Some("PHP 1000"));
    assert_eq!(paid(&invoice(r#","payment_channel":"BCA""#)).as_deref(), Some("IDR 1000"));
    assert_eq!(paid(&invoice(r#","retail_outlet_name":"ALFAMART""#)).as_deref(), Some("IDR 1000"));
    for unclear in ["", r#","payment_channel":"SHOPEEPAY""#, r#","payment_channel":"CREDIT_CARD","country":"PH""#] {
        let seen = invoice(unclear);
        assert_eq!(
            (paid(&seen), drift(&seen)),
            (None, vec!["currency: missing beside an amount".to_owned()]),
            "{unclear}"
        );
    }
    let odd = invoice(r#","currency":"pesos","payment_channel":"BCA""#);
    assert_eq!((paid(&odd), odd.drift.len()), (None, 1), "a currency that cannot be read is not one that is missing");
}

#[test]
fn a_payment_without_a_currency_is_in_that_of_its_country_unless_it_is_by_card() {
    let payment = |method: &str, country: &str| {
        enveloped(
            "payment.succeeded",
            &format!(r#"{{"id":"p","status":"SUCCEEDED","amount":1000,{country}"payment_method":{method}}}"#),
        )
    };
    let bank = r#"{"type":"DIRECT_DEBIT","direct_debit":{"channel_code":"BPI"}}"#;
    let shopeepay = r#"{"type":"EWALLET","ewallet":{"channel_code":"SHOPEEPAY"}}"#;
    assert_eq!(paid(&payment(bank, "")).as_deref(), Some("PHP 1000"));
    assert_eq!(paid(&payment(shopeepay, r#""country":"TH","#)).as_deref(), Some("THB 1000"));
    for (method, country) in
        [(shopeepay, ""), (r#"{"type":"CARD"}"#, r#""country":"PH","#), ("null", r#""country":"PH","#)]
    {
        let seen = payment(method, country);
        assert_eq!((paid(&seen), drift(&seen).len()), (None, 1), "{method} {country}");
    }
}

#[test]
fn what_is_sold_in_one_country_is_in_its_currency_unless_another_is_named() {
    let ovo = |rest: &str| {
        observe(&format!(r#"{{"event":"ewallet.payment","id":"o","status":"COMPLETED","amount":1{rest}}}"#))
    };
    assert_eq!(paid(&ovo("")).as_deref(), Some("IDR 1"));
    assert_eq!(paid(&ovo(r#","currency":"PHP""#)).as_deref(), Some("PHP 1"));
    let outlet = observe(r#"{"event":"payment_code.payment","id":"p","status":"COMPLETED","amount":1}"#);
    assert_eq!(paid(&outlet).as_deref(), Some("PHP 1"));
}

#[test]
fn a_card_check_moves_no_money() {
    let seen =
        enveloped("credit_card.authentication", r#"{"id":"c","status":"VERIFIED","amount":75000,"currency":"IDR"}"#);
    assert_eq!((paid(&seen), requested(&seen).as_deref()), (None, Some("IDR 75000")));
}

#[test]
fn a_negative_amount_is_ignored() {
    let seen = observe(
        r#"{"id":"i","external_id":"e","user_id":"u","merchant_name":"m","status":"PAID","currency":"IDR",
            "amount":-5,"paid_amount":-1000}"#,
    );
    assert_eq!((paid(&seen), requested(&seen)), (None, None));
    assert_eq!(drift(&seen), ["amount: a negative amount", "paid_amount: a negative amount"]);
}

// --- Identity ---

#[test]
fn an_invoice_without_an_id_is_unknown() {
    let body = |id: &str| {
        format!(r#"{{{id}"payment_id":"p","external_id":"e","user_id":"u","merchant_name":"m","status":"PAID"}}"#)
    };
    assert_eq!(observe(&body(r#""id":"i","#)).id, "i");
    for id in ["", r#""id":null,"#, r#""id":{},"#] {
        assert_eq!(reason(&observe(&body(id))), "missing or malformed id", "{id}");
    }
}

#[test]
fn a_payment_into_a_virtual_account_is_identified_within_the_account() {
    let body = |account: &str| {
        format!(r#"{{"callback_virtual_account_id":{account},"payment_id":"1","amount":1,"bank_code":"BCA"}}"#)
    };
    let seen = observe(&body(r#""va-1""#));
    assert_eq!((seen.id.as_str(), seen.scope.as_deref()), ("1", Some("va-1")));
    assert_eq!(reason(&observe(&body("{}"))), "missing or malformed callback_virtual_account_id");
}

#[test]
fn the_wallets_of_2019_are_identified_by_wallet_and_reference() {
    let body = r#"{"callback_authentication_token":"x","ewallet_type":"DANA","external_id":"o","payment_status":"PAID",
        "amount":1001}"#;
    let seen = observe(body);
    assert_eq!((seen.id.as_str(), seen.scope.as_deref()), ("o", Some("DANA")));
}

#[test]
fn one_account_is_one_subject_whichever_account_the_wrapper_names() {
    let registered = observe(
        r#"{"event":"account.registered","created":"2021-01-01T10:00:00Z","business_id":"master",
            "data":{"user_id":"sub"}}"#,
    );
    let suspended = observe(
        r#"{"event":"account.suspended","data":{"id":"sub","status":"SUSPENDED","updated":"2021-01-02T00:00:00Z"}}"#,
    );
    assert_eq!((&registered.id, &registered.account), (&suspended.id, &suspended.account));
}

#[test]
fn an_activation_is_no_older_than_the_registration_before_it() {
    let registered =
        observe(r#"{"event":"account.registered","created":"2021-01-01T10:00:05Z","data":{"user_id":"sub"}}"#);
    let activated = observe(
        r#"{"event":"account.activated","created":"2021-01-02T00:00:00Z",
            "data":{"user_id":"sub","created":"2021-01-01T10:00:00Z"}}"#,
    );
    assert!(activated.occurred_at > registered.occurred_at);
}

#[test]
fn where_times_decide_a_webhook_without_its_own_time_is_unknown() {
    let plan =
        |times: &str| enveloped("recurring.plan.inactivated", &format!(r#"{{"id":"p","status":"INACTIVE"{times}}}"#));
    assert_eq!(plan(r#","updated":"2026-01-02T00:00:00Z","created":"2025-01-01T00:00:00Z""#).unknown, None);
    for times in ["", r#","created":"2026-01-02T00:00:00Z""#, r#","updated":null"#, r#","updated":"soon""#] {
        assert_eq!(reason(&plan(times)), "missing or malformed updated", "{times}");
    }
}

#[test]
fn a_settled_invoice_says_when_it_was_paid() {
    let seen = |rest: &str| {
        observe(&format!(
            r#"{{"id":"i","external_id":"e","user_id":"u","merchant_name":"m","updated":"2026-01-03T00:00:00Z"{rest}}}"#
        ))
    };
    let times = |rest: &str| {
        let seen = seen(rest);
        [seen.occurred_at, seen.money_at]
            .map(|time| time.map_or_else(String::new, |time| time.strftime("%d").to_string()))
    };
    assert_eq!(times(r#","status":"PAID","paid_at":"2026-01-02T00:00:00Z""#), ["02", "02"]);
    assert_eq!(times(r#","status":"PAID""#), ["03", "03"]);
    assert_eq!(times(r#","status":"SETTLED","paid_at":"2026-01-02T00:00:00Z""#), ["03", "02"]);
    assert_eq!(times(r#","status":"SETTLED""#), ["03", ""]);
    assert_eq!(times(r#","status":"EXPIRED","paid_at":"2026-01-02T00:00:00Z""#), ["03", ""]);
}

#[test]
fn a_creation_is_neither_when_money_came_nor_when_an_invoice_expired() {
    let seen = |status: &str| {
        observe(&format!(
            r#"{{"id":"i","external_id":"e","user_id":"u","merchant_name":"m","status":"{status}","created":"2026-01-02T00:00:00Z"}}"#
        ))
    };
    for status in ["PAID", "EXPIRED"] {
        let seen = seen(status);
        assert_eq!((seen.occurred_at.is_some(), seen.changed_at, seen.money_at), (true, None, None), "{status}");
    }
}

#[test]
fn a_batch_that_is_not_completed_has_come_to_nothing_yet() {
    let paid = |status: &str, amount: &str| {
        observe(&format!(
            r#"{{"id":"b","reference":"r","user_id":"u","status":"{status}","total_uploaded_count":2,"total_uploaded_amount":3,
                "total_disbursed_count":1,"total_disbursed_amount":{amount},"total_error_count":0,"total_error_amount":0,"disbursements":[]}}"#
        ))
        .paid
    };
    assert_eq!(paid("PENDING", "0"), None);
    assert_eq!(paid("COMPLETED", "2").map(|paid| paid.amount.to_string()).as_deref(), Some("2"));
}

#[test]
fn the_topic_does_not_make_a_disbursement_an_invoice_or_an_invoice_a_disbursement() {
    let kind = |topic: &str, rest: &str| {
        let body = format!(r#"{{"id":"x","external_id":"e","user_id":"u","amount":1,"status":"COMPLETED"{rest}}}"#);
        let topic = topic.parse().unwrap();
        Webhook::parse(body.as_bytes(), Some(&topic)).unwrap().observe().kind().as_str()
    };
    assert_eq!(kind("invoice", ""), "invoice");
    assert_eq!(kind("invoice", r#","paid_amount":1,"bank_code":"BCA""#), "invoice");
    assert_eq!(kind("invoice", r#","bank_code":"BCA""#), "unknown");
    assert_eq!(kind("disbursement", r#","bank_code":"BCA""#), "payout");
    assert_eq!(kind("disbursement", r#","paid_amount":1,"bank_code":"BCA""#), "unknown");
}

// --- Names, statuses and forms ---

#[test]
fn a_status_that_contradicts_the_name_makes_an_event_unknown() {
    for (event, status) in [
        ("payout.succeeded", "FAILED"),
        ("payment.capture", "AUTHORIZED"),
        ("account.suspended", "CLEARED"),
        ("recurring.cycle.force_attempt_failed", "SUCCEEDED"),
    ] {
        let seen = enveloped(event, &format!(r#"{{"id":"x","payment_id":"x","status":"{status}"}}"#));
        assert_eq!(reason(&seen), "unknown value of status", "{event}");
        assert_eq!(drift(&seen), ["status: a value that contradicts the event's name"], "{event}");
    }
    let seen = enveloped("payout.succeeded", r#"{"id":"x","status":"SOMETHING_NEW"}"#);
    assert_eq!(
        (reason(&seen).as_str(), drift(&seen)),
        ("unknown value of status", vec!["status: an unknown value".to_owned()])
    );
}

#[test]
fn a_name_that_stands_for_a_stage_needs_no_status_and_a_status_that_decides_is_needed() {
    assert_eq!(enveloped("payout.reversed", r#"{"id":"x"}"#).stage.as_str(), "payout.reversed");
    assert_eq!(reason(&enveloped("ewallet.capture", r#"{"id":"x"}"#)), "missing or malformed status");
    assert_eq!(reason(&enveloped("payout.reversed", r#"{"id":"x","status":{}}"#)), "missing or malformed status");
}

#[test]
fn the_status_of_an_account_that_was_created_does_not_matter() {
    let created =
        enveloped("account.created", r#"{"id":"sub","status":"SOMETHING_NEW","updated":"2026-01-02T00:00:00Z"}"#);
    assert_eq!(created.stage.as_str(), "account.created");
}

#[test]
fn only_a_confirmed_void_counts() {
    let voided = |rest: &str| enveloped("ewallet.void", &format!(r#"{{"id":"ewc","currency":"IDR"{rest}}}"#));
    assert_eq!(voided(r#","status":"SUCCEEDED","void_status":"SUCCEEDED""#).stage.as_str(), "payment.voided");
    assert_eq!(voided(r#","status":"VOIDED""#).stage.as_str(), "payment.voided");
    for rest in ["", r#","status":"SUCCEEDED""#, r#","status":"VOIDED","void_status":"FAILED""#] {
        assert_eq!(voided(rest).stage.as_str(), "unknown.received", "{rest}");
    }
    let at =
        voided(r#","void_status":"SUCCEEDED","voided_at":"2026-01-02T00:00:00Z","updated":"2026-01-03T00:00:00Z""#);
    assert_eq!(at.occurred_at.unwrap().to_string(), "2026-01-02T00:00:00Z");
}

#[test]
fn a_reminder_of_a_dispute_that_is_decided_is_unknown() {
    let reminder = |status: &str| {
        observe(&format!(
            r#"{{"event":"dispute.due_date_approaching","id":"d","updated_at":"2026-01-02T00:00:00Z"{status}}}"#
        ))
    };
    for status in ["", r#","status":"ACTION_REQUIRED""#] {
        assert_eq!(reminder(status).stage.as_str(), "dispute.due_date_approaching");
    }
    for status in [r#","status":"WON""#, r#","status":{}"#, r#","status":"NEW""#] {
        assert_eq!(reminder(status).stage.as_str(), "unknown.received", "{status}");
    }
}

#[test]
fn the_two_forms_of_a_qr_payment_are_distinguished_by_where_the_payment_is() {
    let newer = enveloped("qr.payment", r#"{"id":"qrpy_1","status":"SUCCEEDED","amount":1,"currency":"THB"}"#);
    let older = observe(
        r#"{"event":"qr.payment","id":"qrpy_1","status":"COMPLETED","amount":1,"qr_code":{"external_id":"o"}}"#,
    );
    assert_eq!((paid(&newer).as_deref(), paid(&older).as_deref()), (Some("THB 1"), Some("IDR 1")));
    assert_eq!(older.reference.as_deref(), Some("o"));
    let neither = observe(r#"{"event":"qr.payment","id":"qrpy_1","status":"COMPLETED","amount":1}"#);
    assert_eq!(reason(&neither), "missing or malformed qr_code");
}

#[test]
fn a_refund_is_found_under_one_data_and_under_two() {
    let refund = r#"{"id":"rfd-1","status":"SUCCEEDED","amount":1,"currency":"PHP"}"#;
    let seen = enveloped("refund.succeeded", refund);
    assert_eq!(seen.id, "rfd-1");
    assert_eq!(seen, enveloped("refund.succeeded", &format!(r#"{{"data":{refund}}}"#)));
}

#[test]
fn a_bill_payment_is_found_wherever_it_is() {
    let payment = r#"{"payment_id":"p","status":"SUCCEEDED","total_amount":53200}"#;
    for (event, data) in [
        ("bill_payment.succeeded", format!(r#"{{"business_id":"b","data":{payment}}}"#)),
        ("bill_payments.succeeded", format!(r#"{{"properties":{payment}}}"#)),
        ("bill_payments.succeeded", payment.to_owned()),
        // The guide's: the id beside the properties.
        (
            "bill_payments.succeeded",
            r#"{"id":"p","type":"t","properties":{"status":"SUCCEEDED","total_amount":53200,"reference_id":"r"}}"#
                .to_owned(),
        ),
    ] {
        let seen = enveloped(event, &data);
        assert_eq!((seen.stage.as_str(), &*seen.id), ("bill_payment.succeeded", "p"), "{data}");
        assert_eq!(paid(&seen).as_deref(), Some("IDR 53200"), "{data}");
    }
}

// --- Amounts, captures, marks ---

fn captured(captures: &str) -> Observation {
    enveloped("payment.capture", &format!(r#"{{"payment_id":"py-1","currency":"PHP","captures":{captures}}}"#))
}

#[test]
fn every_capture_is_kept() {
    let two = r#"[{"capture_id":"a","capture_amount":1.10},{"capture_id":"b","capture_amount":"2"}]"#;
    let captures = captured(two).captures;
    assert_eq!(captures.values().map(ToString::to_string).collect::<Vec<_>>(), ["PHP 1.10", "PHP 2"]);
}

#[test]
fn a_capture_that_cannot_be_read_is_kept_without_its_amount() {
    for (second, read, unread) in [
        (r#"{"capture_id":"b"}"#, 1, Some("b")),
        (r#"{"capture_amount":2}"#, 1, Some("?")),
        (r#"{"capture_id":"a","capture_amount":2}"#, 1, Some("?")),
        (r#"{"capture_id":"a","capture_amount":1.00}"#, 1, None),
        (r#"{"capture_id":"b","capture_amount":-2}"#, 1, Some("b")),
        (r#"{"capture_id":"b","capture_id":"c","capture_amount":2}"#, 0, Some("?")),
        ("7", 0, Some("?")),
    ] {
        let seen = captured(&format!(r#"[{{"capture_id":"a","capture_amount":1}},{second}]"#));
        assert_eq!(seen.stage.as_str(), "payment.succeeded");
        assert_eq!((seen.captures.len(), seen.drift.is_empty()), (read, unread.is_none()), "{second}");
        assert_eq!(seen.unread_captures.first().map(String::as_str), unread, "{second}");
    }
    let no_currency = r#"{"payment_id":"py-1","captures":[{"capture_id":"a","capture_amount":1}]}"#;
    assert_eq!(enveloped("payment.capture", no_currency).unread_captures, ["a".to_owned()].into());
    for none in ["[]", "null"] {
        assert!(captured(none).unread_captures.is_empty() && captured(none).drift.is_empty(), "{none}");
    }
}

#[test]
fn a_capture_is_news_about_its_payment_unless_it_failed() {
    let capture = enveloped(
        "capture.succeeded",
        r#"{"id":"cptr-1","payment_id":"card-1","status":"SUCCEEDED","currency":"IDR","captured_amount":120000,
            "authorized_amount":150000}"#,
    );
    let payment =
        enveloped("payment.succeeded", r#"{"id":"card-1","status":"SUCCEEDED","currency":"IDR","amount":150000}"#);
    assert_eq!((capture.stage, &capture.id), (payment.stage, &payment.id));
    assert_eq!(capture.captures["cptr-1"].to_string(), "IDR 120000");
    assert_eq!((paid(&capture), requested(&capture).as_deref()), (None, Some("IDR 150000")));
    let failed = enveloped("capture.failed", r#"{"id":"cptr-1","payment_id":"card-1","status":"FAILED"}"#);
    assert_eq!((failed.stage.as_str(), &*failed.id), ("capture.failed", "cptr-1"));
    let nameless = enveloped("capture.succeeded", r#"{"payment_id":"card-1","status":"SUCCEEDED"}"#);
    assert_eq!(reason(&nameless), "missing or malformed id");
}

#[test]
fn what_was_only_reserved_was_not_paid() {
    let payment = enveloped(
        "payment.awaiting_capture",
        r#"{"id":"card-1","status":"AWAITING_CAPTURE","currency":"IDR","amount":150000}"#,
    );
    assert_eq!((paid(&payment), requested(&payment).as_deref()), (None, Some("IDR 150000")));
}

fn payout_v3(amount: &str, currency: &str) -> Observation {
    enveloped(
        "v3_payout.succeeded",
        &format!(r#"{{"payout_id":"po-1","destination_amount":{amount},"destination_currency":"{currency}"}}"#),
    )
}

#[test]
fn amounts_of_payouts_v3_are_minor_units_and_doubtful_where_that_matters() {
    for (amount, currency, expected, doubtful) in
        [("50000", "PHP", "PHP 500.00", 1), ("10", "IDR", "IDR 10", 0), ("10", "VND", "VND 10", 0)]
    {
        let seen = payout_v3(amount, currency);
        assert_eq!((paid(&seen).as_deref(), seen.drift.len()), (Some(expected), doubtful), "{currency}");
    }
    for (amount, currency) in [("10", "QQQ"), ("10.5", "PHP"), ("10", "peso")] {
        let seen = payout_v3(amount, currency);
        assert_eq!((paid(&seen), seen.drift.len()), (None, 1), "{amount} {currency}");
    }
}

fn cycle(event: &str, status: &str, attempts: &str) -> Observation {
    enveloped(event, &format!(r#"{{"id":"recy_1","status":"{status}","amount":9,"currency":"IDR",{attempts}}}"#))
}

#[test]
fn a_forced_attempt_is_news_in_the_same_stage_and_an_implausible_count_is_not() {
    let retrying = cycle("recurring.cycle.retrying", "RETRYING", r#""attempt_count":1,"forced_attempt_count":0"#);
    let forced =
        cycle("recurring.cycle.force_attempt_failed", "RETRYING", r#""attempt_count":"1","forced_attempt_count":1"#);
    assert_eq!(retrying.stage, forced.stage);
    assert_eq!((retrying.mark, forced.mark), (Some(Mark::Count(1)), Some(Mark::Count(2))));
    let leaping = cycle("recurring.cycle.retrying", "RETRYING", r#""attempt_count":18446744073709551615"#);
    assert_eq!((leaping.mark, leaping.drift.len()), (None, 1));
}

#[test]
fn a_cycle_that_collected_its_money_does_not_count_it_a_second_time() {
    let succeeded = cycle("recurring.cycle.succeeded", "SUCCEEDED", r#""attempt_count":1"#);
    assert_eq!((paid(&succeeded), requested(&succeeded).as_deref()), (None, Some("IDR 9")));
}

fn action_required(rest: &str) -> Observation {
    observe(&format!(
        r#"{{"event":"dispute.action_required","id":"mi-dspt-1","status":"ACTION_REQUIRED","currency":"USD"{rest}}}"#
    ))
}

#[test]
fn a_second_request_for_evidence_is_news() {
    let first = action_required(r#","updated_at":"2026-03-01T19:50:51Z""#);
    let again = action_required(r#","updated_at":"2026-03-02T00:00:00Z","status_reason":"NEED_MORE_INFORMATION""#);
    assert_eq!(first.stage, again.stage);
    assert!(again.mark > first.mark && again.occurred_at > first.occurred_at);
    let because = action_required(r#","updated_at":"2026-03-01T19:50:51Z","status_reason":"ARBITRATION""#);
    assert_ne!(because.mark, first.mark);
}

#[test]
fn what_was_disputed_and_what_it_came_to_are_kept_apart() {
    let dispute =
        action_required(r#","updated_at":"2026-03-02T00:00:00Z","amount":{"initial":"1000.00","terminal":"10.50"}"#);
    assert_eq!((paid(&dispute).as_deref(), requested(&dispute).as_deref()), (Some("USD 10.50"), Some("USD 1000.00")));
}

#[test]
fn a_list_of_capabilities_is_marked_by_its_content_and_one_without_a_list_says_nothing() {
    let listed = |list: &str| {
        enveloped(
            "account_holder.capabilities.status",
            &format!(r#"{{"id":"a","updated":"2026-01-02T00:00:00Z"{list}}}"#),
        )
    };
    let (one, other) = (listed(r#","capabilities":[1]"#), listed(r#","capabilities":[2]"#));
    assert!(one.mark.is_some() && one.mark != other.mark);
    assert_eq!(reason(&listed("")), "missing or malformed capabilities");
}

#[test]
fn an_offset_without_a_colon_is_a_time_and_the_text_null_is_nothing() {
    let seen = observe(
        r#"{"event":"direct_debit.payment","timestamp":"2020-03-26T05:44:26+0800","id":"ddpy-1","status":"COMPLETED",
            "failure_code":"null","currency":"PHP","amount":"1.50"}"#,
    );
    assert_eq!(seen.occurred_at.unwrap().to_string(), "2020-03-25T21:44:26Z");
    assert_eq!((seen.failure_code, seen.drift), (None, vec![]));
}

#[test]
fn the_channel_of_a_payment_method_is_the_one_that_its_type_names() {
    let method = r#"{"id":"pm-1","type":"EWALLET","ewallet":{"channel_code":"OVO"},"qr_code":null,
        "updated":"2026-01-02T00:00:00Z"}"#;
    let payment = format!(r#"{{"id":"p","status":"SUCCEEDED","channel_code":"X","payment_method":{method}}}"#);
    assert_eq!(enveloped("payment.succeeded", &payment).channel.as_deref(), Some("OVO"));
    assert_eq!(enveloped("payment_method.activated", method).channel.as_deref(), Some("OVO"));
    assert_eq!(
        enveloped("payment_method.activated", r#"{"id":"pm-1","type":"CARD","updated":"2026-01-02T00:00:00Z"}"#)
            .channel
            .as_deref(),
        Some("CARD")
    );
}

#[test]
fn the_wrappers_account_counts_before_the_objects() {
    let seen = enveloped("payout.succeeded", r#"{"id":"x","business_id":"inner"}"#);
    assert_eq!(seen.account.as_deref(), Some("b"));
    let seen = observe(r#"{"event":"payout.succeeded","business_id":null,"data":{"id":"x","business_id":"inner"}}"#);
    assert_eq!(seen.account.as_deref(), Some("inner"));
}
