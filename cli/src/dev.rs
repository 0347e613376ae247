//! `dev`: the whole system on one machine. The functions are the real binaries; AWS is moto, made from template.yaml.
//!
//! ```text
//! curl ─▶ gateway ─▶ receiver ─▶ queue ─▶ poller ─▶ processor ─▶ ledger, bus
//!         (plays API Gateway)    (moto)   (plays Lambda's SQS trigger)
//! ```
//!
//! `run` is the story; each part of the machinery has a file. A webhook is reported when it has been seen through:
//! answered, taken off the queue, and found in the ledger or in the dead-letter queue.

mod children;
mod gateway;
mod local_aws;
pub(crate) mod poller;
mod progress;
mod report;

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use receiver::verify::Digest;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use self::{
    children::Children,
    gateway::Gateway,
    local_aws::LocalAws,
    poller::Poller,
    progress::Progress,
    report::{Report, Row},
};
use crate::project::{Project, Running};

/// The token of the local stack. It opens nothing but this machine's own.
const LOCAL_TOKEN: &str = "xendit-hooks-local-token-0123456789";

/// The port that is tried first, so that the URL stays the same from run to run.
const USUAL_PORT: u16 = 8787;

/// How long a bundled webhook may take to be seen through before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Args)]
pub(crate) struct Options {
    /// The port that webhooks are sent to. Default: 8787, or a free one when that is taken.
    #[arg(long)]
    port: Option<u16>,
    /// Send every bundled webhook, report, and stop. The exit code says whether anything was lost.
    #[arg(long)]
    once: bool,
    /// One JSON object a line, for machines: first how to reach everything, then each webhook.
    #[arg(long)]
    json: bool,
    /// Where the emulated AWS listens. A container of `sam local invoke` reaches it at 0.0.0.0:5000.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    aws: SocketAddr,
}

/// Everything an outside tool needs to drive the stack.
#[derive(Serialize)]
struct Ready<'a> {
    url: &'a str,
    topic_url: &'a str,
    token: &'a str,
    aws_endpoint_url: &'a str,
    region: &'a str,
    queue_url: &'a str,
    dlq_url: &'a str,
    table: &'a str,
    bus: &'a str,
    log_dir: &'a Path,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    // Blocking calls to children that are gone must not hold up the end.
    let result = runtime.block_on(stack(options));
    runtime.shutdown_background();
    result
}

async fn stack(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let progress = Progress::new();
    progress.step("installing the tools into .venv", children::install(&project)).await?;
    let binaries = progress.step("building the functions", children::build(&project)).await?;
    let mut children = Children::new(&project)?;
    let aws = progress.step("starting the local AWS", LocalAws::start(&project, &mut children, options.aws)).await?;
    let functions =
        progress.step("starting the functions", children.start_functions(&project, &binaries, &aws)).await?;
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let (settled, mut settlements) = mpsc::unbounded_channel();
    let gateway = Gateway::open(options.port, functions.clone(), arrived).await?;
    let poller = tokio::spawn(Poller::new(aws.clone(), functions, settled).run());

    let running = Running { url: format!("{}/webhook", gateway.url), token: LOCAL_TOKEN.to_owned() };
    std::fs::write(project.running_file(), serde_json::to_vec(&running)?)?;
    let mut report = Report::new(options.json);
    report.ready(&Ready {
        url: &running.url,
        topic_url: &format!("{}/{{topic}}", running.url),
        token: LOCAL_TOKEN,
        aws_endpoint_url: &aws.endpoint,
        region: local_aws::REGION,
        queue_url: &aws.names.queue_url,
        dlq_url: &aws.names.dlq_url,
        table: &aws.names.table,
        bus: &aws.names.bus,
        log_dir: &children.logs,
    })?;

    let samples = project.webhooks()?;
    let mut expected = samples.len();
    let sending = tokio::task::spawn_blocking({
        let url = running.url.clone();
        move || gateway::send_all(&samples, &url, LOCAL_TOKEN)
    });
    let mut give_up = Box::pin(tokio::time::sleep(PATIENCE));
    let mut terminated = signal(SignalKind::terminate())?;
    let mut open: Vec<Row> = Vec::new();
    let mut serving = false;
    let end = loop {
        tokio::select! {
            Some(arrival) = arrivals.recv() => {
                give_up.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                let row = Row::of(arrival);
                if row.delivery.is_some() { open.push(row) } else { expected -= report.add(row)? }
            }
            Some(delivery) = settlements.recv() => {
                if let Some(at) = open.iter().position(|row| row.delivery.as_ref() == Some(&delivery)) {
                    let mut row = open.swap_remove(at);
                    row.see_through(&aws).await?;
                    expected -= report.add(row)?;
                }
            }
            ended = children.ended() => break Err(ended),
            () = &mut give_up, if expected > 0 => break Ok(()),
            _ = tokio::signal::ctrl_c() => break Ok(()),
            _ = terminated.recv() => break Ok(()),
        }
        if expected == 0 && !serving {
            report.sum_up(0);
            if options.once {
                break Ok(());
            }
            serving = true;
            report.invite();
        }
    };
    let _ = std::fs::remove_file(project.running_file());
    poller.abort();
    sending.abort();
    drop(gateway);
    children.stop().await;
    if !serving && expected > 0 {
        report.sum_up(expected);
    }
    let unwell = expected + report.unwell();
    match end {
        Err(ended) => Err(ended.context(format!("{unwell} of the bundled webhooks were not seen through"))),
        Ok(()) if unwell > 0 && !serving => {
            bail!("{unwell} of the bundled webhooks were not seen through; the logs are in {}", children.logs.display())
        }
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn digest_of_local_token() -> String {
    format!("local={}", Digest::of(LOCAL_TOKEN.as_bytes()))
}
