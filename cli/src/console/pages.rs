//! Pages: the views as HTML.
//!
//! **Invariant:** everything that was received is text here, which maud escapes. No page has inline scripts or styles.

use std::collections::HashMap;

use maud::{DOCTYPE, Markup, html};

use super::{
    facts::{ChangedFact, Fact},
    fate::Fate,
    json::{Inside, Json, named, step},
    reading::{Reading, RecognisedBy},
    view::{Comparison, Details, List, Step, Story, Subject, Summary},
};
use crate::samples::Sample;

/// A body that is nested deeper is shown on one line from there.
const INDENT: &str = "  ";

/// Where a page belongs in the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Webhooks,
    Parked,
    Find,
    Send,
    None,
}

/// What a page shows, so that it is made again when that changes.
#[derive(Clone, Copy)]
pub(super) struct Live<'a> {
    /// The id of a delivery, or the key of a subject. Empty: everything.
    pub(super) about: &'a str,
    /// The revision of the store from which it was made.
    pub(super) after: u64,
}

/// A page around its content. `stack`: the name of the stack, if it is a deployed one.
pub(super) fn page(stack: Option<&str>, title: &str, tab: Tab, live: Option<Live<'_>>, main: &Markup) -> String {
    let link = |own: Tab, href: &str, label: &str| {
        html! { a href=(href) aria-current=[(tab == own).then_some("page")] { (label) } }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Xendit Hooks" }
                link rel="icon" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/console.js" defer {}
            }
            body data-about=[live.map(|live| live.about)] data-after=[live.map(|live| live.after)] {
                header.top {
                    a.name href="/" { "Xendit Hooks" }
                    @if let Some(stack) = stack { span.stack title="The stack" { (stack) } }
                    nav aria-label="Pages" {
                        (link(Tab::Webhooks, "/", "Webhooks"))
                        (link(Tab::Parked, "/parked", "Parked"))
                        (link(Tab::Find, "/find", "Find"))
                        (link(Tab::Send, "/send", "Send"))
                    }
                    @if live.is_some() { span.live #live role="status" { "connecting" } }
                    button.quiet #help-button type="button" aria-label="Keyboard shortcuts" { "?" }
                }
                main #main { (main) }
                (help())
            }
        }
    }
    .into_string()
}

fn help() -> Markup {
    let keys = [
        ("j  k", "next, previous"),
        ("enter", "open"),
        ("/", "search"),
        ("u", "up to the list"),
        ("r", "resend this webhook"),
        ("c", "copy it as curl"),
        ("t", "story of its payment"),
        ("w  p  f  s", "webhooks, parked, find, send"),
        ("esc", "leave a field"),
    ];
    html! {
        dialog #help aria-label="Keyboard shortcuts" {
            h2 { "Keyboard" }
            dl.keys {
                @for (key, what) in keys {
                    div { dt { @for key in key.split_whitespace() { kbd { (key) } " " } } dd { (what) } }
                }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// The list of deliveries, with its filters.
pub(super) fn list(list: &List, fate: &str, q: &str) -> Markup {
    let chip = |word: &str, label: &str, count: usize| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([("fate", word), ("q", q)].into_iter().filter(|(_, value)| !value.is_empty()));
        html! {
            a.chip href={ "/?" (query.finish()) } aria-current=[(fate == word).then_some("true")] {
                (label) " " span.count { (count) }
            }
        }
    };
    html! {
        h1.hidden { "Webhooks" }
        form.search role="search" action="/" {
            input #search type="search" name="q" value=(q) placeholder="Search bodies, ids, references"
                aria-label="Search" autocomplete="off" spellcheck="false";
            @if !fate.is_empty() { input type="hidden" name="fate" value=(fate); }
            kbd { "/" }
        }
        div data-swap {
        nav.chips aria-label="Filter by fate" {
            (chip("", "all", list.kept))
            @for fate in Fate::ALL { @if let Some(count) = list.fates.get(fate.word()) {
                (chip(fate.word(), &fate.label(), *count))
            } }
        }
        ol.rows { @for summary in &list.deliveries { (row(summary)) } }
        @if list.deliveries.is_empty() { p.empty { (nothing(list, fate, q)) } }
        @if list.more { @if let Some(last) = list.deliveries.last() {
            p.more { a href={ "/?" (older(last.number, fate, q)) } { "Older" } }
        } }
        @if list.forgotten > 0 { p.note { (list.forgotten) " older webhooks are not kept any more." } }
        @if let Some(note) = &list.note { p.note { (note) } }
        }
    }
}

fn nothing(list: &List, fate: &str, q: &str) -> &'static str {
    match (list.kept, fate, q) {
        (0, ..) => "No webhook has arrived yet.",
        (_, "", "") => "There are no older ones.",
        _ => "Nothing here matches.",
    }
}

fn older(number: u64, fate: &str, q: &str) -> String {
    let number = number.to_string();
    let mut query = form_urlencoded::Serializer::new(String::new());
    let pairs = [("fate", fate), ("q", q), ("before", &number)];
    query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty())).finish()
}

/// One line of the list.
pub(super) fn row(summary: &Summary) -> Markup {
    html! {
        li.row {
            a href=(href(summary)) {
                (time(summary))
                (fate(summary.fate))
                span.event { (summary.event) }
                span.about { (about(summary)) }
                span.amount { (amount(summary)) }
                span.outcome { (outcome(summary)) }
            }
        }
    }
}

fn href(summary: &Summary) -> String {
    format!("/deliveries/{}", summary.id)
}

fn time(summary: &Summary) -> Markup {
    html! {
        time datetime=(summary.received_at) title={ (summary.received_at) } {
            (summary.received_at.strftime("%H:%M:%S"))
        }
    }
}

fn fate(fate: Fate) -> Markup {
    html! { span class={ "fate " (fate.word()) } title=(fate.meaning()) { (fate.label()) } }
}

fn about(summary: &Summary) -> &str {
    summary.reference.as_deref().or(summary.subject.as_deref()).unwrap_or_default()
}

fn amount(summary: &Summary) -> Markup {
    html! {
        @if let (Some(currency), Some(amount)) = (&summary.currency, &summary.amount) {
            span.currency { (currency) } " " (amount)
        }
    }
}

/// What came of it, in short.
fn outcome(summary: &Summary) -> Markup {
    html! {
        @match &summary.reason {
            Some(reason) => (reason),
            None if summary.published.is_empty() && summary.event_count > 0 => {
                span.published { "→ " (summary.event_count) @if summary.event_count == 1 { " event" } @else { " events" } }
            },
            None => @for event in &summary.published { span.published { "→ " (event) } " " },
        }
    }
}

/// One delivery. `can_send`: whether it may be sent again.
pub(super) fn delivery(details: &Details, can_send: bool) -> Markup {
    let summary = &details.summary;
    let notes = notes(details.reading.as_ref());
    html! {
        article data-swap {
            p.path {
                a #up href="/" { "Webhooks" }
                span.turn {
                    @if let Some(id) = &details.newer { a #newer href={ "/deliveries/" (id) } { "newer" } }
                    @if let Some(id) = &details.older { a #older href={ "/deliveries/" (id) } { "older" } }
                }
            }
            header.title {
                h1 { (summary.event) }
                (fate(summary.fate))
                div.actions {
                    @if can_send && details.body.is_some() {
                        form method="post" action={ (href(summary)) "/resend" } { button #resend { "Resend" } }
                    }
                    @if details.curl.is_some() { button #copy type="button" { "Copy as curl" } }
                    @if let Some(key) = &summary.key { a.button #story href=(story_href(key)) { "Story" } }
                }
            }
            p.lead {
                (summary.fate.meaning())
                @if let Some(reason) = &summary.reason { " " strong { (sentence(reason)) } }
            }
            dl.line {
                div { dt { "Received" } dd { (summary.received_at.strftime("%Y-%m-%d %H:%M:%S%.3f")) " UTC" } }
                @if let Some(request) = &details.request {
                    div { dt { "Answered" } dd { (request.status) " in " (request.took_ms) " ms" } }
                    div { dt { "Sent to" } dd.mono { (request.method) " " (request.path) } }
                }
                @if let Some(subject) = summary.reference.as_ref().or(summary.subject.as_ref()) {
                    div { dt { "About" } dd.mono { (subject) } }
                }
                @if !details.token.is_empty() { div { dt { "Token" } dd { (details.token) } } }
                @if summary.amount.is_some() { div { dt { "Amount" } dd { (amount(summary)) } } }
                div { dt { "Delivery" } dd.mono { (summary.id) } }
            }
            div.columns {
                section.wide aria-labelledby="body" {
                    h2 #body { "Body" }
                    @match &details.body {
                        Some(text) => (body(text, &notes)),
                        None => p.none { (no_body(summary.fate)) },
                    }
                    @if details.hidden_bytes > 0 { p.note { (details.hidden_bytes) " more bytes are not shown." } }
                }
                div {
                    @if let Some(reading) = &details.reading { (recognised(reading)) }
                    section aria-labelledby="changed" {
                        h2 #changed { "What changed in the ledger" }
                        @if !details.changes.is_empty() { (changes(&details.changes)) }
                        @else if details.body.is_none() && is_change(summary.fate) { (reported(summary)) }
                        @else { p.none { "Nothing." } }
                    }
                    section aria-labelledby="published" {
                        h2 #published { "Events published" }
                        @if summary.event_count == 0 { p.none { "None." } }
                        @else if details.events.is_empty() { p { (outcome(summary)) } }
                        @for (event, name) in details.events.iter().zip(&summary.published) {
                            details { summary { (name) } (body(event.get(), &HashMap::new())) }
                        }
                    }
                    @if let Some(request) = &details.request {
                        section aria-labelledby="headers" {
                            h2 #headers { "Headers" }
                            dl.facts { @for (name, value) in &request.headers { div { dt { (name) } dd.mono { (value) } } } }
                            p.note { "The callback token is not shown." }
                        }
                        section aria-labelledby="answer" {
                            h2 #answer { "Answer" }
                            pre.json tabindex="0" { (request.status) "\n" (request.answer) }
                        }
                    }
                    @if !details.log.is_empty() {
                        section aria-labelledby="log" {
                            h2 #log { "What the functions logged" }
                            @for line in &details.log { (body(line, &HashMap::new())) }
                        }
                    }
                }
            }
            @if let Some(curl) = &details.curl {
                details.curl { summary { "As a curl command" } pre.json #curl tabindex="0" { (curl) } }
            }
        }
    }
}

fn is_change(fate: Fate) -> bool {
    matches!(fate, Fate::Applied | Fate::Conflict | Fate::Unknown)
}

/// What a webhook reported, where its body is not known.
fn reported(summary: &Summary) -> Markup {
    html! {
        p {
            "It reported " code { (summary.kind.unwrap_or_default()) "." (summary.phase.unwrap_or_default()) }
            @if summary.key.is_some() { ". The story shows what the ledger knows now." } @else { "." }
        }
    }
}

fn no_body(fate: Fate) -> &'static str {
    match fate {
        Fate::Parked => "Logs hold no bodies. The dead-letter queue has this one: open it from the page Parked.",
        Fate::Refused | Fate::NotStored => "Nothing was stored, and logs hold no bodies.",
        _ => "Logs hold no bodies, and the queue does not keep what was processed.",
    }
}

fn story_href(key: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("/story?{}", query.append_pair("key", key).finish())
}

/// A reason as a sentence.
fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// What each value of a body was read as, by its path.
fn notes(reading: Option<&Reading>) -> HashMap<&str, Vec<&'static str>> {
    let mut notes: HashMap<&str, Vec<&'static str>> = HashMap::new();
    for fact in reading.into_iter().flat_map(|reading| &reading.read) {
        for path in &fact.from {
            notes.entry(path).or_default().push(fact.name);
        }
    }
    notes
}

fn recognised(reading: &Reading) -> Markup {
    let keys =
        |keys: &[String]| html! { @for (i, key) in keys.iter().enumerate() { @if i > 0 { ", " } code { (key) } } };
    html! {
        section aria-labelledby="recognised" {
            h2 #recognised { "What it was recognised as, and why" }
            p {
                @match &reading.recognised_by {
                    RecognisedBy::Name => { "Its " code { "event" } " is " code { (reading.event) } },
                    RecognisedBy::Keys { needed } if needed.is_empty() => { "It names no event, and has the keys of " code { (reading.event) } },
                    RecognisedBy::Keys { needed } => { "It names no event. The keys " (keys(needed)) " are those of " code { (reading.event) } },
                    RecognisedBy::Topic { topic, needed } => {
                        "It names no event. Its URL has the topic " code { (topic) }
                        @if !needed.is_empty() { ", and it has the keys " (keys(needed)) }
                        ", which are those of " code { (reading.event) }
                    },
                    RecognisedBy::Nothing { reason, nearest } => {
                        "Not recognised: " (reason)
                        @if let Some(nearest) = nearest { ". Did you mean " code { (nearest) } "?" } @else { "." }
                    },
                }
                @if let Some(product) = reading.product { ". Product: " (product) "." }
            }
            @if reading.product.is_some() {
                p { "So it reports " code { (reading.stage) } "." (because(reading)) }
            }
            dl.facts { @for fact in &reading.read {
                div {
                    dt { (fact.name) }
                    dd {
                        span.mono { (fact.value) }
                        @if !fact.from.is_empty() { span.from { "from " (fact.from.join(", ")) } }
                    }
                }
            } }
            @if reading.too_large { p.note { "The body is too large to say what was read from which value." } }
            @for drift in &reading.drift { p.note { "Unexpected: " (drift) } }
        }
    }
}

/// What the status means.
fn because(reading: &Reading) -> Markup {
    html! {
        @if reading.statuses.len() > 1 {
            details.statuses {
                summary { "What each status means" }
                dl.facts { @for status in &reading.statuses {
                    div.this[status.is_this] { dt { (status.word) } dd.mono { (status.stage) } }
                } }
            }
        }
    }
}

fn changes(changes: &[ChangedFact]) -> Markup {
    html! {
        dl.facts { @for change in changes {
            div {
                dt { (change.name) }
                dd.mono {
                    @if let Some(before) = &change.before { del { (before) } " " }
                    @if let Some(after) = &change.after { ins { (after) } }
                }
            }
        } }
    }
}

/// A body, each value on its line, with its digits as they were sent.
fn body(text: &str, notes: &HashMap<&str, Vec<&'static str>>) -> Markup {
    html! {
        pre.json tabindex="0" {
            @match Json::parse(text) {
                Some(json) => (value(&json, "", "\n", notes)),
                None => (text),
            }
        }
    }
}

fn value(json: &Json<'_>, path: &str, line: &str, notes: &HashMap<&str, Vec<&'static str>>) -> Markup {
    let inner = format!("{line}{INDENT}");
    let note = |path: &str, json: &Json<'_>| {
        let names = notes.get(path).filter(|_| !json.has_inside());
        html! { @if let Some(names) = names { span.why { (names.join(", ")) } } }
    };
    html! {
        @match &json.inside {
            Inside::Object(entries) if !entries.is_empty() => {
                "{"
                @for (i, (key, item)) in named(entries).into_iter().enumerate() {
                    @let (path, comma) = (step(path, &key), if i + 1 < entries.len() { "," } else { "" });
                    (inner) span.key { (serde_json::to_string(&key).unwrap_or_default()) } ": "
                    (value(item, &path, &inner, notes)) (comma) (note(&path, item))
                }
                (line) "}"
            },
            Inside::List(items) if !items.is_empty() => {
                "["
                @for (i, item) in items.iter().enumerate() {
                    @let (path, comma) = (format!("{path}[{i}]"), if i + 1 < items.len() { "," } else { "" });
                    (inner) (value(item, &path, &inner, notes)) (comma) (note(&path, item))
                }
                (line) "]"
            },
            _ => span class=(class(json.text)) { (json.text) },
        }
    }
}

fn class(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "string",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => "word",
    }
}

/// The story of one subject.
pub(super) fn story(story: &Story) -> Markup {
    let title = story.facts.iter().find(|fact| fact.name == "reference").map_or(story.key.as_str(), |it| &it.value);
    let has_changes = story.steps.iter().any(|step| !step.changes.is_empty());
    let mut before: Option<&Step> = None;
    html! { article data-swap {
        p.path { a #up href="/" { "Webhooks" } }
        header.title { h1 { (title) } }
        p.lead.mono { (story.key) }
        div.columns {
            section.wide aria-labelledby="timeline" {
                h2 #timeline { "What happened" }
                @if !story.is_complete && has_changes {
                    p.note { "The console does not hold all webhooks of this story: a change may show too much as new." }
                }
                ol.timeline { @for step in &story.steps {
                    li class=(step.summary.fate.word()) {
                        p.when {
                            (time(&step.summary)) (fate(step.summary.fate))
                            @if step.is_kept { a.row-link href=(href(&step.summary)) { (step.summary.event) } }
                            @else { span { (step.summary.event) } }
                        }
                        @if step.changes.is_empty() { @if is_change(step.summary.fate) { (reported_stage(&step.summary)) } }
                        @else { (changes(&step.changes)) }
                        @if step.summary.reason.is_some() || step.summary.event_count > 0 { p { (outcome(&step.summary)) } }
                        @if let Some(before) = before.replace(step).filter(|before| before.has_body && step.has_body) {
                            p { a href={ "/compare?a=" (before.summary.id) "&b=" (step.summary.id) } { "Compare with the one before" } }
                        }
                    }
                } }
            }
            section aria-labelledby="known" {
                h2 #known { "What the ledger knows" }
                @if story.facts.is_empty() { p.none { "Nothing yet." } }
                (facts(&story.facts))
                @for event in &story.unpublished { p.note { "Not published yet: " (event) } }
            }
        }
    } }
}

fn reported_stage(summary: &Summary) -> Markup {
    html! { p.mono { (summary.kind.unwrap_or_default()) "." (summary.phase.unwrap_or_default()) } }
}

/// The subjects with a reference or an id.
pub(super) fn find(text: &str, subjects: &[Subject]) -> Markup {
    html! {
        header.title { h1 { "Find" } }
        p.lead { "The ledger's story of a payment, payout or refund, by your reference, by Xendit's id, or by a key." }
        form.choose role="search" action="/find" {
            input #reference type="search" name="reference" value=(text) placeholder="Reference, id or key"
                aria-label="Reference, id or key" autocomplete="off" spellcheck="false" autofocus;
            button.primary { "Find" }
        }
        ol.rows { @for subject in subjects {
            li.row { a.subject href=(story_href(&subject.key)) {
                span.event { (subject.stage) }
                span.about { (subject.reference.as_deref().unwrap_or_default()) }
                span.outcome { (subject.key) }
            } }
        } }
        @if subjects.is_empty() && !text.is_empty() { p.empty { "The ledger knows no such reference and no such id." } }
    }
}

fn facts(facts: &[Fact]) -> Markup {
    html! { dl.facts { @for fact in facts { div { dt { (fact.name) } dd.mono { (fact.value) } } } } }
}

/// What differs between two webhooks.
pub(super) fn comparison(comparison: &Comparison) -> Markup {
    let Comparison { a, b, differences, others } = comparison;
    let choice = |name: &str, label: &str, chosen: &Summary| {
        html! {
            label { (label) " "
                select name=(name) { @for other in others {
                    option value=(other.id) selected[other.id == chosen.id] {
                        (other.received_at.strftime("%H:%M:%S")) " " (other.event) " (" (other.fate.label()) ")"
                    }
                } }
            }
        }
    };
    html! {
        p.path { a #up href="/" { "Webhooks" } @if let Some(key) = &a.key { a href=(story_href(key)) { "Story" } } }
        header.title { h1 { "Difference" } }
        form.choose action="/compare" { (choice("a", "from", a)) (choice("b", "to", b)) button { "Compare" } }
        @match differences {
            None => p.none { "One of the bodies is not JSON, too large to compare, or not known here." },
            Some(differences) if differences.is_empty() => p.none { "The bodies hold the same values." },
            Some(differences) => {
                table.differences {
                    thead { tr {
                        th scope="col" { "value" }
                        th scope="col" { a href=(href(a)) { (a.event) } " " (time(a)) }
                        th scope="col" { a href=(href(b)) { (b.event) } " " (time(b)) }
                    } }
                    tbody { @for difference in differences { tr {
                        th scope="row" { (difference.path) }
                        td data-label="from" { @if let Some(before) = &difference.before { del { (before) } } }
                        td data-label="to" { @if let Some(after) = &difference.after { ins { (after) } } }
                    } } }
                }
            }
        }
    }
}

/// The parked webhooks, by reason.
pub(super) fn parked(parked: &[Summary], lead: &str) -> Markup {
    let mut reasons: Vec<(&str, Vec<&Summary>)> = Vec::new();
    for summary in parked {
        let reason = summary.reason.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, all)) => all.push(summary),
            None => reasons.push((reason, vec![summary])),
        }
    }
    html! { div data-swap {
        header.title { h1 { "Parked" } }
        p.lead { (lead) }
        @if reasons.is_empty() { p.empty { "Nothing is parked." } }
        @for (reason, all) in reasons {
            section.group {
                h2 { (sentence(reason)) " " span.count { (all.len()) } }
                ol.rows { @for summary in all { (row(summary)) } }
            }
        }
    } }
}

/// Why nothing can be sent.
pub(super) fn cannot_send(why: &str) -> Markup {
    html! { header.title { h1 { "Send" } } p.lead { (sentence(why)) } }
}

/// The form that sends a webhook.
pub(super) fn send(samples: &[Sample], chosen: Option<Sample>, text: &str, topic: &str) -> Markup {
    html! {
        header.title { h1 { "Send" } }
        p.lead { "A webhook to this stack, with the right token. A sample that is sent unchanged a second time is a duplicate." }
        form.choose action="/send" {
            label { "Sample "
                select #sample name="sample" { @for sample in samples {
                    option selected[chosen.is_some_and(|it| it.name == sample.name)] { (sample.name) }
                } }
            }
            button { "Show" }
        }
        form.send method="post" action="/send" {
            label for="send-body" { "Body" }
            textarea #send-body name="body" rows="24" spellcheck="false" { (text) }
            label for="send-topic" { "Topic in the URL: /webhook/…" }
            input #send-topic name="topic" value=(topic) autocomplete="off" spellcheck="false";
            button.primary { "Send" }
        }
    }
}

/// A page with one sentence.
pub(super) fn message(text: &str) -> Markup {
    html! { header.title { h1 { "Not here" } } p.lead { (sentence(text)) } p { a href="/" { "All webhooks" } } }
}
