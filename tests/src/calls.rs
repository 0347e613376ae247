//! Calls: the requests to AWS that reach a stub, as an IAM policy names them.

use serde_json::Value;

use crate::stub::Message;

/// A call to AWS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The action, such as `sqs:SendMessage`.
    pub action: String,
    /// The name of the resource as it was sent: the URL of a queue, the name of a table or a bus, or a bucket with a key.
    pub resource: String,
    /// The sources of published events.
    pub sources: Vec<String>,
}

impl Call {
    /// Recognises a request of the AWS SDK.
    pub(crate) fn of(request: &Message) -> Self {
        let Some(target) = request.header("x-amz-target") else { return Self::to_s3(request) };
        let (service, action) = target.split_once('.').unwrap();
        let body: Value = serde_json::from_str(&request.text()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (prefix, resource, sources) = match service {
            "AmazonSQS" => ("sqs", text(&body["QueueUrl"]), Vec::new()),
            "DynamoDB_20120810" => ("dynamodb", text(&body["TableName"]), Vec::new()),
            "AWSEvents" => {
                let entries = body["Entries"].as_array().unwrap();
                let bus = text(&entries[0]["EventBusName"]);
                assert!(entries.iter().all(|entry| entry["EventBusName"] == *bus), "{body}");
                ("events", bus, entries.iter().map(|entry| text(&entry["Source"])).collect())
            }
            other => panic!("a call to an unexpected service: {other}"),
        };
        Self { action: format!("{prefix}:{action}"), resource, sources }
    }

    /// S3's requests name the action by their method.
    fn to_s3(request: &Message) -> Self {
        let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
        let action = match (request.method(), query) {
            ("PUT", "" | "x-id=PutObject") => "s3:PutObject",
            ("GET", "" | "x-id=GetObject") => "s3:GetObject",
            other => panic!("an unexpected call to S3: {other:?}"),
        };
        Self { action: action.to_owned(), resource: path.trim_start_matches('/').to_owned(), sources: Vec::new() }
    }
}
