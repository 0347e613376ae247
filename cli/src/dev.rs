//! `dev`: the whole system on one machine. The functions are the real binaries; AWS is moto with the resources of
//! template.yaml.
//!
//! ```text
//! curl ─▶ gateway ─▶ receiver ─▶ queue ─▶ poller ─▶ processor ─▶ ledger, bus
//!         (plays API Gateway)    (moto)   (plays Lambda's SQS trigger)
//! ```
//!
//! `stack` tells the story; each part has a file. A webhook is reported once its result is known: answered, removed from
//! the queue, and found in the ledger or in the dead-letter queue.

mod children;
mod functions;
mod gateway;
mod local_aws;
mod poller;
mod progress;
mod report;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use self::{
    children::Children,
    functions::{Functions, TOKEN},
    gateway::Gateway,
    local_aws::LocalAws,
    poller::Poller,
    progress::Progress,
    report::{Ready, Report, Row},
};
use crate::project::{Project, Running};

/// How long to wait for the next bundled webhook before the missing ones count as lost.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Args)]
pub(crate) struct Options {
    /// Port that receives webhooks. Default: 8787, or a free port if 8787 is in use.
    #[arg(long)]
    port: Option<u16>,
    /// Send every bundled webhook, print the report and exit. The exit code is non-zero if a webhook was refused or lost.
    #[arg(long)]
    once: bool,
    /// Print one JSON object per line: first the addresses of the stack, then each webhook.
    #[arg(long)]
    json: bool,
    /// Address of the emulated AWS. With 0.0.0.0:5000 a container of `sam local invoke` can reach it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    aws: SocketAddr,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    // Do not wait for blocking calls to children that are gone.
    let result = runtime.block_on(stack(options));
    runtime.shutdown_background();
    result
}

async fn stack(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let progress = Progress::new();
    progress.step("installing the tools into .venv", project.install_tools()).await?;
    let binaries = progress.step("building the functions", functions::build(&project)).await?;
    let mut children = Children::new(&project)?;
    let aws = progress.step("starting the local AWS", LocalAws::start(&project, &mut children, options.aws)).await?;
    let functions = Functions::start(&project, &mut children, &binaries, &aws);
    let functions = progress.step("starting the functions", functions).await?;
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let (finished, mut deliveries) = mpsc::unbounded_channel();
    let gateway = Gateway::open(options.port, functions.clone(), arrived).await?;
    let poller = tokio::spawn(Poller::new(aws.clone(), functions, finished).run());

    let running = Running { url: format!("{}/webhook", gateway.url), token: TOKEN.to_owned() };
    std::fs::write(project.running_file(), serde_json::to_vec(&running)?)?;
    let mut report = Report::new(options.json);
    report.ready(&Ready {
        url: &running.url,
        topic_url: &format!("{}/{{topic}}", running.url),
        token: TOKEN,
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
        move || gateway::send_all(&samples, &url, TOKEN)
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
            Some(delivery) = deliveries.recv() => {
                if let Some(at) = open.iter().position(|row| row.delivery.as_ref() == Some(&delivery.id)) {
                    let mut row = open.swap_remove(at);
                    row.complete(delivery, &aws).await?;
                    expected -= report.add(row)?;
                }
            }
            exited = children.exited() => break Err(exited),
            () = &mut give_up, if expected > 0 => break Ok(()),
            _ = tokio::signal::ctrl_c() => break Ok(()),
            _ = terminated.recv() => break Ok(()),
        }
        if expected == 0 && !serving {
            report.summarize(0);
            if options.once {
                break Ok(());
            }
            serving = true;
            report.print_instructions();
        }
    };
    let _ = std::fs::remove_file(project.running_file());
    poller.abort();
    sending.abort();
    drop(gateway);
    children.stop().await;
    if !serving && expected > 0 {
        report.summarize(expected);
    }
    let failures = expected + report.failures();
    match end {
        Err(exited) => Err(exited.context(format!("{failures} of the bundled webhooks were not processed"))),
        Ok(()) if failures > 0 && !serving => {
            bail!("{failures} of the bundled webhooks were not processed; the logs are in {}", children.logs.display())
        }
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}
