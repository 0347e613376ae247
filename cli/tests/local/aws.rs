//! The emulated AWS of a local stack, as the tests fill it and look into it.

#![allow(dead_code, reason = "each test uses some of it")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_s3::types::NotificationConfiguration;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, QueueAttributeName};
use aws_smithy_http_client::Builder;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Stack, json};

/// The emulated AWS of a local stack.
pub(crate) struct Aws {
    pub(crate) runtime: Runtime,
    pub(crate) config: SdkConfig,
    pub(crate) sqs: aws_sdk_sqs::Client,
}

impl Aws {
    pub(crate) fn of(stack: &Stack) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "a test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(stack.text("region").to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(stack.text("aws_endpoint_url"))
            .http_client(Builder::new().build_http())
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, sqs: aws_sdk_sqs::Client::new(&config), config }
    }

    pub(crate) fn create_queue(&self, name: &str) -> String {
        let created = self.runtime.block_on(self.sqs.create_queue().queue_name(name).send()).unwrap();
        created.queue_url.unwrap()
    }

    /// A queue with a copy of each domain event that is published from now on.
    pub(crate) fn tap(&self, bus: &str) -> String {
        self.consumer(bus, "tap", &json!({ "source": ["xendit-hooks"] }))
    }

    /// A rule of a pattern, and the queue that it leads to, which have the same name.
    pub(crate) fn consumer(&self, bus: &str, name: &str, pattern: &Value) -> String {
        let events = aws_sdk_eventbridge::Client::new(&self.config);
        let url = self.create_queue(name);
        self.runtime.block_on(async {
            let call = self.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
            let arn = call.send().await.unwrap().attributes.unwrap().remove(&QueueAttributeName::QueueArn).unwrap();
            let call = events.put_rule().name(name).event_bus_name(bus).event_pattern(pattern.to_string());
            call.send().await.unwrap();
            let target = Target::builder().id("queue").arn(arn).build().unwrap();
            events.put_targets().rule(name).event_bus_name(bus).targets(target).send().await.unwrap();
        });
        url
    }

    /// The names of all rules of a bus.
    pub(crate) fn rules(&self, bus: &str) -> Vec<String> {
        let events = aws_sdk_eventbridge::Client::new(&self.config);
        let rules = self.runtime.block_on(events.list_rules().event_bus_name(bus).send()).unwrap();
        rules.rules().iter().map(|rule| rule.name().unwrap().to_owned()).collect()
    }

    /// Puts a message into a queue, as the processor puts it into the dead-letter queue.
    pub(crate) fn send(&self, url: &str, body: &str, reason: Option<&str>) -> String {
        let reason = reason.map(|reason| {
            let value = MessageAttributeValue::builder().data_type("String").string_value(reason);
            [("reason".to_owned(), value.build().unwrap())].into()
        });
        let call = self.sqs.send_message().queue_url(url).message_body(body).set_message_attributes(reason);
        self.runtime.block_on(call.send()).unwrap().message_id.unwrap()
    }

    /// The bucket of a stack, whose notifications are off from now on.
    pub(crate) fn without_notifications(&self, stack: &Stack) -> Bucket<'_> {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(true).build();
        let s3 = aws_sdk_s3::Client::from_conf(config);
        let name = stack.text("inbox").to_owned();
        let none = NotificationConfiguration::builder().build();
        let call = s3.put_bucket_notification_configuration().bucket(&name).notification_configuration(none);
        self.runtime.block_on(call.send()).unwrap();
        Bucket { aws: self, s3, name }
    }

    /// Receives and deletes all messages of a queue that are visible and fit.
    pub(crate) fn take(&self, url: &str, fits: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut taken = Vec::new();
        self.runtime.block_on(async {
            let mut others = Vec::new();
            loop {
                let call = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
                let messages = call.message_attribute_names("All").send().await.unwrap().messages.unwrap_or_default();
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    let receipt = message.receipt_handle().unwrap().to_owned();
                    if fits(&message) {
                        self.sqs.delete_message().queue_url(url).receipt_handle(receipt).send().await.unwrap();
                        taken.push(message);
                    } else {
                        others.push(receipt);
                    }
                }
            }
            for receipt in others {
                let call = self.sqs.change_message_visibility().queue_url(url).receipt_handle(receipt);
                call.visibility_timeout(0).send().await.unwrap();
            }
        });
        taken
    }

    /// How many messages of a queue are visible, and how many are hidden.
    pub(crate) fn counts(&self, url: &str) -> (usize, usize) {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let call = self.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
        let counts = self.runtime.block_on(call.send()).unwrap().attributes.unwrap();
        let [visible, hidden] = names.map(|name| counts[&name].parse().unwrap());
        (visible, hidden)
    }
}

/// The bucket of a stack.
pub(crate) struct Bucket<'a> {
    aws: &'a Aws,
    s3: aws_sdk_s3::Client,
    pub(crate) name: String,
}

impl Bucket<'_> {
    /// Stores an object as the receiver does, and returns its key.
    pub(crate) fn put(&self, delivery: &str, content: &str) -> String {
        let key = format!("webhooks/2026-01-02/{delivery}");
        let call = self.s3.put_object().bucket(&self.name).key(&key).body(content.as_bytes().to_vec().into());
        self.aws.runtime.block_on(call.send()).unwrap();
        key
    }

    pub(crate) fn delete(&self, key: &str) {
        self.aws.runtime.block_on(self.s3.delete_object().bucket(&self.name).key(key).send()).unwrap();
    }

    /// What S3 would have sent.
    pub(crate) fn notification(&self, key: &str) -> String {
        json!({ "Records": [{ "s3": { "bucket": { "name": self.name }, "object": { "key": key } } }] }).to_string()
    }
}

/// A message about a paid invoice, as the receiver writes it. Its id, reference and delivery end with `name`.
pub(crate) fn envelope(name: &str) -> String {
    let body = format!(
        "{{\"id\":\"invoice-{name}\",\n \"external_id\": \"order-{name}\", \"user_id\":\"u\", \"status\":\"PAID\",
            \"merchant_name\":\"Toko \u{e9}\u{1F4B8}\", \"amount\":10000.10,\"paid_amount\":10000.10, \"currency\":\"IDR\",
            \"paid_at\":\"2026-01-02T03:00:00Z\", \"created\":\"2026-01-02T02:00:00Z\"}}"
    );
    json!({
        "v": 1, "id": format!("delivery-{name}"), "received_at": "2026-01-02T03:04:05Z", "environment": "test",
        "token": "local", "content_type": "application/json", "body": body,
    })
    .to_string()
}

/// The ids of the subjects about which events were published, one for each event.
pub(crate) fn published(aws: &Aws, tap: &str) -> Vec<String> {
    let events = aws.take(tap, |_| true);
    let read = |message: &Message| {
        let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
        assert_eq!(event["detail-type"], "invoice.paid", "{event}");
        event["detail"]["subject"]["id"].as_str().unwrap().to_owned()
    };
    events.iter().map(read).collect()
}

/// Each invoice is in the ledger, and changed once.
pub(crate) fn is_applied_once<'a>(stack: &Stack, names: impl IntoIterator<Item = &'a String>) {
    for name in names {
        let reference = format!("order-{name}");
        let wait = stack.run(&["wait", "--reference", &reference, "--phase", "paid"]);
        assert!(wait.status.success(), "{wait:?}");
        let story = json(&stack.run(&["payment", &reference, "--json"]));
        let history = story["history"].as_array().unwrap();
        assert_eq!((history.len(), &history[0]["delivery"]), (1, &json!(format!("delivery-{name}"))), "{story}");
        assert_eq!(history[0]["token"], "local");
    }
}
