//! Schemas: the files in `docs/schemas/` match the types, published events match the schemas, and the schemas only change
//! compatibly.
//!
//! `make docs` writes the files by running this test with `WRITE_DOCS` set.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: an unexpected value must fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use jsonschema::{Registry, Validator};
use serde_json::{Value, json};
use shared::{
    domain_event::{self, SCHEMA_VERSION},
    lifecycle::Stage,
    webhook::catalogue,
};
use tests::{
    fixture,
    story::{Published, Story},
};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of every detail. The other files narrow it down for one type.
const DETAIL: &str = "detail.json";

/// The folder of the current version.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schemas/v{SCHEMA_VERSION}"))
}

/// The committed schemas by file name.
fn committed() -> BTreeMap<String, Value> {
    let Ok(entries) = fs::read_dir(folder()) else { return BTreeMap::new() };
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    };
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

/// The schemas of the types, with published events as examples.
async fn schemas() -> BTreeMap<String, Value> {
    let examples = examples().await;
    let of_type = |(name, constraints): (String, Value)| {
        let mut schema = json!({
            "$schema": DRAFT,
            "title": name,
            "allOf": [{ "$ref": DETAIL }, constraints],
        });
        if let Some(example) = examples.get(&name) {
            schema["examples"] = json!([example]);
        }
        (format!("{name}.json"), schema)
    };
    let detail = (DETAIL.to_owned(), domain_event::schema());
    types().into_iter().map(of_type).chain([detail]).collect()
}

/// Every type of domain event, with the constraints on its detail.
fn types() -> BTreeMap<String, Value> {
    let at = |kind: &str, phase: &str| json!({ "properties": { "phase": { "const": phase }, "subject": { "properties": { "kind": { "const": kind } } } } });
    let stages: BTreeSet<Stage> = catalogue().flat_map(|entry| entry.stages).collect();
    let mut types: BTreeMap<_, _> =
        stages.iter().map(|stage| (stage.to_string(), at(stage.kind().as_str(), stage.phase()))).collect();
    let mut unknown = at("unknown", "received");
    unknown["required"] = json!(["unknown_reason"]);
    types.insert("webhook.unknown".to_owned(), unknown);
    let conflict = json!({ "properties": { "conflicting_amounts": { "minItems": 2 } } });
    types.insert("webhook.conflict".to_owned(), conflict);
    types
}

/// The events that a sequence of bodies publishes.
async fn publish(bodies: &[impl AsRef<str>]) -> Vec<Published> {
    let story = Story::new();
    for body in bodies {
        story.post(body.as_ref()).await;
        story.drain().await;
    }
    story.published()
}

/// The events of each bundled body alone, with the body's name, of a conflict, and of an unknown webhook.
async fn published() -> Vec<(String, Published)> {
    let mut published = Vec::new();
    for (name, body) in fixture::webhooks() {
        published.extend(publish(&[&body]).await.into_iter().map(|event| (name.clone(), event)));
    }
    let paid = fixture::webhook("ewallet.capture");
    let other = paid.replace("\"capture_amount\": 20000", "\"capture_amount\": 19999");
    assert_ne!(paid, other);
    for bodies in [vec![paid, other], vec![r#"{"event":"gift_card.redeemed","data":{"id":"gc-1"}}"#.to_owned()]] {
        published.extend(publish(&bodies).await.into_iter().map(|event| (String::new(), event)));
    }
    published
}

/// One event of each published type. The body of the same name is preferred.
async fn examples() -> BTreeMap<String, Value> {
    let mut published = published().await;
    published.sort_by_key(|(body, event)| *body != event.detail_type);
    let mut examples = BTreeMap::new();
    for (_, event) in published {
        examples.entry(event.detail_type).or_insert(event.detail);
    }
    examples
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

#[tokio::test(start_paused = true)]
async fn the_schemas_are_up_to_date() {
    let (committed, schemas) = (committed(), schemas().await);
    if env::var_os("WRITE_DOCS").is_some() {
        for (name, old) in &committed {
            let kept = schemas.get(name).is_some_and(|new| only_gains(old, new));
            assert!(kept, "{name} breaks its readers, which needs a new SCHEMA_VERSION");
        }
        fs::create_dir_all(folder()).unwrap();
        for (name, schema) in &schemas {
            fs::write(folder().join(name), text(schema)).unwrap();
        }
        return;
    }
    let names = |files: &BTreeMap<String, Value>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&schemas), "run `make docs`");
    for (name, schema) in &schemas {
        let written = fs::read_to_string(folder().join(name)).unwrap();
        assert!(written == text(schema), "docs/schemas/v{SCHEMA_VERSION}/{name} is out of date; run `make docs`");
    }
}

/// Whether a new schema is compatible with the old one: it may gain optional properties and definitions, and change its
/// documentation.
fn only_gains(old: &Value, new: &Value) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return old == new };
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).filter(|key| !DOCUMENTATION.contains(&key.as_str())).collect();
    keys.into_iter().all(|key| match (old.get(key), new.get(key)) {
        (Some(Value::Object(old)), Some(Value::Object(new))) if key == "properties" || key == "$defs" => {
            old.iter().all(|(name, old)| new.get(name).is_some_and(|new| only_gains(old, new)))
        }
        (Some(old), Some(new)) => only_gains(old, new),
        (None, Some(_)) => key == "$defs",
        _ => false,
    })
}

/// The keys of a schema's documentation.
const DOCUMENTATION: [&str; 3] = ["title", "description", "examples"];

#[test]
fn a_schema_may_gain_an_optional_property_and_nothing_else() {
    let old = domain_event::schema();
    let changed = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        assert_ne!(new, old);
        only_gains(&old, &new)
    };
    assert!(changed(|new| new["properties"]["fee"] = json!({ "$ref": "#/$defs/Money" })));
    assert!(changed(|new| new["$defs"]["Money"]["properties"]["rounded"] = json!({ "type": "boolean" })));
    assert!(changed(|new| new["properties"]["paid_late"]["description"] = json!("In other words.")));
    assert!(!changed(|new| new["required"].as_array_mut().unwrap().push(json!("fee"))));
    assert!(!changed(|new| drop(new["required"].as_array_mut().unwrap().pop())));
    assert!(!changed(|new| drop(new["properties"].as_object_mut().unwrap().remove("paid_late"))));
    assert!(!changed(|new| new["properties"]["paid_late"]["type"] = json!("string")));
    assert!(!changed(|new| new["$defs"]["Money"]["additionalProperties"] = json!(false)));
}

/// The committed schemas as validators.
struct Committed {
    registry: Registry<'static>,
}

impl Committed {
    fn read() -> Self {
        let detail = committed().remove(DETAIL).unwrap();
        let registry = Registry::new().add("json-schema:///detail.json", detail).unwrap().prepare().unwrap();
        Self { registry }
    }

    fn of(&self, detail_type: &str) -> Validator {
        let schema = &committed()[&format!("{detail_type}.json")];
        let options = jsonschema::draft202012::options().with_registry(&self.registry);
        options.with_base_uri("json-schema:///type.json").should_validate_formats(true).build(schema).unwrap()
    }

    fn errors(&self, detail_type: &str, detail: &Value) -> Vec<String> {
        self.of(detail_type).iter_errors(detail).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_published_event_matches_its_schema() {
    let schemas = Committed::read();
    let bodies: Vec<_> = fixture::webhooks().into_iter().map(|(_, body)| body).collect();
    // Also all in one ledger, so that some events have a previous phase.
    let together = publish(&bodies).await.into_iter().map(|event| ("together".to_owned(), event));
    for (body, event) in published().await.into_iter().chain(together) {
        let errors = schemas.errors(&event.detail_type, &event.detail);
        assert!(errors.is_empty(), "{} of {body}: {errors:?}", event.detail_type);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_detail_does_not_match_its_schema() {
    let schemas = Committed::read();
    let detail = examples().await.remove("invoice.paid").unwrap();
    assert!(schemas.errors("invoice.paid", &detail).is_empty());
    for (path, wrong) in [
        ("/schema_version", json!(SCHEMA_VERSION + 1)),
        ("/environment", json!("production")),
        ("/subject/kind", json!("payment")),
        ("/phase", json!("expired")),
        ("/paid/amount", json!(510_000)),
        ("/paid/amount", json!("5.1e5")),
        ("/paid/currency", json!("rupiah")),
        ("/received_at", json!("yesterday")),
        ("/version", json!("1")),
        ("/body", json!("{}")),
    ] {
        let mut detail = detail.clone();
        *detail.pointer_mut(path).unwrap() = wrong.clone();
        assert!(!schemas.errors("invoice.paid", &detail).is_empty(), "{path} {wrong}");
    }
    let is_optional = |key: &&String| {
        let mut detail = detail.clone();
        detail.as_object_mut().unwrap().remove(*key);
        schemas.errors("invoice.paid", &detail).is_empty()
    };
    let optional: Vec<_> = detail.as_object().unwrap().keys().filter(is_optional).collect();
    assert_eq!(optional, ["account", "body", "channel", "occurred_at", "paid", "reference", "requested", "status"]);
}
