//! `dev`: runs the whole system on this machine. The functions are the real binaries. moto emulates AWS, with the resources
//! of template.yaml.
//!
//! ```text
//! curl ─▶ gateway ─▶ receiver ─▶ queue ─▶ poller ─▶ processor ─▶ ledger, bus
//!         (in place of           (moto)   (in place of           (moto)
//!         API Gateway)                    Lambda's SQS trigger)
//! ```
//!
//! `run_stack` starts the parts, which have one file each. The gateway and the poller tell the tracker what they did. The
//! tracker puts everything that happens on one broadcast channel, as a `Happening`: each request with its answer, each
//! request's result, and each domain event. Whatever shows or forwards these subscribes to the channel, as the report does.
//! The result of an acknowledged webhook waits until its message is deleted from the queue, and says whether the webhook is
//! in the ledger or in the dead-letter queue.

mod access_log;
mod children;
mod functions;
mod gateway;
mod happening;
mod local_aws;
mod poller;
mod progress;
mod report;
mod runtime_api;
mod tracker;
mod tunnel;
mod xendit_api;

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use shared::envelope::Environment;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc},
};

use self::{
    access_log::AccessLog,
    children::Children,
    functions::Functions,
    gateway::Gateway,
    local_aws::LocalAws,
    poller::Poller,
    progress::{Note, Progress},
    report::Report,
    tracker::Tracker,
    tunnel::Tunnel,
    xendit_api::XenditApi,
};
pub(crate) use self::{
    functions::TOKEN,
    happening::{Event, Happening, Request, Row},
    report::{line, printable, why_refused},
};
use crate::{
    console::Console,
    forward::App,
    listen::{Listener, Output},
    project::Project,
    samples,
    stack::{Registration, Stack},
    token,
};

/// If no webhook arrives for this long, the bundled webhooks without a result count as lost.
const ARRIVAL_TIMEOUT: Duration = Duration::from_mins(1);

/// How many happenings a slow subscriber may be behind. It misses the oldest ones beyond that.
const HAPPENINGS: usize = 16 * 1024;

#[derive(Args)]
pub(crate) struct Options {
    /// The port that receives webhooks. Default: 8787, or a free port if 8787 is in use.
    #[arg(long)]
    port: Option<u16>,
    /// Send every bundled webhook once, print the report and exit. The exit code is 1 if a webhook was refused or lost.
    #[arg(long)]
    once: bool,
    /// Print one JSON object per line: first the addresses of the local stack, then one object per webhook.
    #[arg(long)]
    json: bool,
    /// The address of the emulated AWS. Use 0.0.0.0:5000 for `make invoke`, whose container cannot reach the default.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    aws: SocketAddr,
    /// POST each domain event to this URL, such as `http://localhost:3000/events`, and show what the app answers. The body
    /// is the whole event as EventBridge delivers it. Until the app answers 2xx, the event is sent again.
    #[arg(long, value_name = "URL", conflicts_with = "once")]
    forward_to: Option<App>,
    /// Print each domain event, except those of the bundled webhooks. With --json: the whole event, under `event`.
    #[arg(long, conflicts_with = "once")]
    show_events: bool,
    /// Open a tunnel with this program, so that Xendit's test mode can send webhooks to this machine, and print the URLs for
    /// Xendit's dashboard. Needs --token or --digest. The local token is then a random one.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "once")]
    tunnel: Option<Tunnel>,
    /// Use this Xendit API, with the test key in `XENDIT_API_KEY`, in place of a fake one.
    #[arg(long, value_name = "URL")]
    xendit_api_url: Option<String>,
    #[command(flatten)]
    accepted: token::Accepted,
}

impl Options {
    /// The callback token of this run, and an error if the tunnel cannot be opened: not after the build.
    fn own_token(&self) -> Result<String> {
        let Some(tunnel) = self.tunnel else { return Ok(TOKEN.to_owned()) };
        ensure!(!self.accepted.is_empty(), "--tunnel needs --token or --digest, or Xendit's webhooks would be refused");
        tunnel.ensure_installed()?;
        token::new()
    }

    /// Where the domain events go, if they are to be shown or forwarded.
    fn output(&self) -> Option<Output> {
        let app = self.forward_to.clone();
        (app.is_some() || self.show_events).then(|| Output { app, filter: Vec::new(), json: self.json })
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let result = runtime.block_on(run_stack(options));
    // Do not wait for blocking HTTP calls to processes that have exited.
    runtime.shutdown_background();
    result
}

async fn run_stack(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let own_token = options.own_token()?;
    let tokens = options.accepted.with_local(&own_token)?;
    xendit_api::check(options.xendit_api_url.as_deref())?;
    let listener = Gateway::listen(options.port).await?;
    local_aws::check_port(options.aws)?;
    let mut children = Children::new(&project)?;
    let (binaries, aws) = prepare(&project, &mut children, options.aws).await?;
    let functions = Functions::start(&mut children, &binaries, &aws, &tokens).await?;
    let (news_sender, news) = mpsc::unbounded_channel();
    let access_log = AccessLog::create(&children.logs)?;
    let gateway = Gateway::open(listener, functions.receiver, access_log, news_sender.clone())?;
    let poller = tokio::spawn(Poller::new(aws.clone(), functions.processor, news_sender).run());

    let console = Console::bind().await?;

    let public = match options.tunnel {
        Some(tunnel) => Some(tunnel.open(&mut children, gateway.port).await?),
        None => None,
    };
    let xendit = XenditApi::open(options.xendit_api_url.clone(), &gateway.url, &own_token).await?;
    let stack = describe(&gateway, public.as_deref(), console.url(), own_token, &aws, &xendit, &children);
    let _registration: Registration = stack.register()?;
    let samples = samples::all();
    let mut report = Report::new(options.json, samples.len());
    report.ready(&stack)?;

    // To show or to forward what happens, subscribe here, before the first webhook is sent.
    let (happenings, mut to_report) = broadcast::channel(HAPPENINGS);
    let console = tokio::spawn(console.serve(stack.clone(), happenings.subscribe()));
    let tracker = tokio::spawn(Tracker::new(aws.clone(), happenings.clone()).run(news));

    let sending = tokio::task::spawn_blocking({
        let (url, token) = (stack.url.clone(), stack.token.clone().unwrap_or_default());
        move || gateway::send_all(&samples, &url, &token)
    });
    let mut timeout = Box::pin(tokio::time::sleep(ARRIVAL_TIMEOUT));
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut serving = false;
    let end = loop {
        tokio::select! {
            happening = to_report.recv() => {
                timeout.as_mut().reset(tokio::time::Instant::now() + ARRIVAL_TIMEOUT);
                if let Ok(happening) = happening {
                    // The bundled webhooks are about nobody's orders, so apps get the events of later ones only.
                    if report.missing() == 1 && happening.is_result_of_a_sample() {
                        aws.forget_events().await?;
                    }
                    report.add(happening)?;
                }
            }
            exited = children.exited() => break Err(exited),
            () = &mut timeout, if report.missing() > 0 => break Ok(()),
            _ = interrupted.recv() => break Ok(()),
            _ = terminated.recv() => break Ok(()),
        }
        if report.missing() == 0 && !serving {
            report.print_summary();
            if options.once {
                break Ok(());
            }
            serving = true;
            report.print_instructions();
            if let Some(public) = public.as_ref().filter(|_| !options.json) {
                anstream::println!("\n{}", tunnel::instructions(public));
            }
            if let Some(output) = options.output() {
                let mut listener = Listener::new(&stack.aws().await, aws.names.forwarded_url.clone(), output);
                tokio::spawn(async move { listener.run(None).await });
            }
        }
    };
    poller.abort();
    sending.abort();
    tracker.abort();
    console.abort();
    drop(gateway);
    children.stop().await;
    if report.missing() > 0 {
        report.print_summary();
    }
    let failures = report.failures();
    match end {
        Err(exited) if failures == 0 => Err(exited),
        Err(exited) => Err(exited.context(format!("{failures} of the bundled webhooks were not processed"))),
        Ok(()) if failures > 0 && !serving => {
            bail!("{failures} of the bundled webhooks were not processed; see the logs in {}", children.logs.display())
        }
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Builds the functions, while it installs the tools and starts the emulated AWS.
async fn prepare(
    project: &Project,
    children: &mut Children,
    listen: SocketAddr,
) -> Result<(HashMap<String, PathBuf>, LocalAws)> {
    let (progress, note) = (Progress::new(), Note::default());
    let build = functions::build(project, note.clone());
    let build = progress.step("building the functions (the first time takes minutes)", note, build);
    let aws = async {
        let install = project.install_tools();
        progress.step("preparing the tools in .venv", Note::default(), install).await?;
        progress.step("starting the local AWS", Note::default(), LocalAws::start(project, children, listen)).await
    };
    tokio::try_join!(build, aws)
}

/// Where the running stack is.
fn describe(
    gateway: &Gateway,
    public: Option<&str>,
    console_url: String,
    token: String,
    aws: &LocalAws,
    xendit: &XenditApi,
    children: &Children,
) -> Stack {
    let (url, names) = (format!("{}/webhook", gateway.url), &aws.names);
    Stack {
        topic_url: format!("{url}/{{topic}}"),
        url,
        public_url: public.map(|public| format!("{public}/webhook")),
        token: Some(token),
        aws_endpoint_url: Some(names.endpoint.clone()),
        region: local_aws::REGION.to_owned(),
        environment: Environment::Test,
        queue_url: names.queue_url.clone(),
        dlq_url: names.dlq_url.clone(),
        inbox: names.inbox.clone(),
        table: names.table.clone(),
        bus: names.bus.clone(),
        tap_queue_url: Some(names.tap_queue_url.clone()),
        xendit_api_url: Some(xendit.url().to_owned()),
        xendit_api_key: xendit.shown_key(),
        replay_queue_url: Some(names.replay_queue_url.clone()),
        archive: Some(names.archive.clone()),
        console_url: Some(console_url),
        log_dir: Some(children.logs.clone()),
        deployed: None,
    }
}
