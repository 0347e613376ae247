//! Tunnel: gives the gateway a public URL, with a program that is installed on this machine.
//!
//! ```text
//! Xendit ─▶ the program's provider ─▶ the program ─▶ gateway
//! ```
//!
//! The provider sees each request with its callback token. So the tunnel is for test mode, and the local stack's own token,
//! which everybody can read in this repository, is replaced by a random one while a tunnel is open.

use std::{env, path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use shared::webhook::catalogue;
use tokio::process::Command;

use super::children::Children;

/// How long a program may take to open its tunnel. The provider has to answer.
const OPENING_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a program, and ends it when standard input ends: `dev` holds its other end. A tunnel that outlives its `dev` would lead
/// into the next one at that port.
const WHILE_DEV_RUNS: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{ cat <&3; kill "$program"; } >/dev/null 2>&1 &
exec 3<&-
wait "$program""#;

/// A program that opens a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Tunnel {
    /// Cloudflare's. It needs no account.
    Cloudflared,
    /// ngrok's. It needs an account.
    Ngrok,
}

impl Tunnel {
    const fn program(self) -> &'static str {
        match self {
            Self::Cloudflared => "cloudflared",
            Self::Ngrok => "ngrok",
        }
    }

    const fn how_to_install(self) -> &'static str {
        match self {
            Self::Cloudflared => {
                "`brew install cloudflared`, or see \
                 https://developers.cloudflare.com/cloudflare-one/connections/connect-networks/downloads"
            }
            Self::Ngrok => {
                "`brew install ngrok`, or see https://ngrok.com/download; then `ngrok config add-authtoken` once"
            }
        }
    }

    /// Without this, the missing program would show only after the build.
    pub(super) fn ensure_installed(self) -> Result<()> {
        let program = self.program();
        let folders = env::var_os("PATH").unwrap_or_default();
        ensure!(
            env::split_paths(&folders).any(|folder| folder.join(program).is_file()),
            "{program} is not installed; install it with {}",
            self.how_to_install()
        );
        Ok(())
    }

    /// Starts the program in front of a port, and returns the public URL.
    pub(super) async fn open(self, children: &mut Children, port: u16) -> Result<String> {
        let target = format!("http://127.0.0.1:{port}");
        let mut command = Command::new("sh");
        command.args(["-c", WHILE_DEV_RUNS, "sh", self.program()]);
        match self {
            Self::Cloudflared => command.args(["tunnel", "--no-autoupdate", "--url", &target]),
            // Its own page would show each request with the token.
            Self::Ngrok => command.args(["http", "--inspect=false", "--log=stdout", "--log-format=json", &target]),
        };
        children.start(self.program(), &mut command)?;
        let log = children.logs.join(format!("{}.log", self.program()));
        tokio::select! {
            url = self.url(&log) => Ok(url),
            exited = children.exited() => Err(exited.context(last_line(&log))),
            () = tokio::time::sleep(OPENING_TIMEOUT) => {
                bail!("{} has no public URL after {OPENING_TIMEOUT:?}; see its log {}", self.program(), log.display())
            }
        }
    }

    /// Waits until the log has the URL.
    async fn url(self, log: &Path) -> String {
        loop {
            let text = tokio::fs::read_to_string(log).await.unwrap_or_default();
            if let Some(url) = text.lines().find_map(|line| self.url_in(line)) {
                return url;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The public URL, if a line of the program's log has it.
    fn url_in(self, line: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Line {
            msg: String,
            url: String,
        }

        match self {
            // `INF |  https://four-random-words-here.trycloudflare.com  |`, in a box. Errors name the provider's own URLs.
            Self::Cloudflared => {
                let url = line.split_once("INF |")?.1.trim_matches([' ', '|']);
                (url.starts_with("https://") && url.ends_with(".trycloudflare.com")).then(|| url.to_owned())
            }
            Self::Ngrok => {
                let Line { msg, url } = serde_json::from_str(line).ok()?;
                (msg == "started tunnel").then_some(url)
            }
        }
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// What to do at Xendit with a public URL.
pub(super) fn instructions(public: &str) -> String {
    let own: Vec<_> =
        unnamed().map(|(product, topic)| format!("  {product}\n    {public}/webhook/{topic}\n")).collect();
    format!(
        "At Xendit (test mode), paste this URL under Settings > Developers > Webhooks:\n  {public}/webhook\n\
         These products name no event in their webhooks; give each its own URL:\n{}\
         The tunnel's provider sees the test token.\nChange the token at Xendit when you are done.",
        own.concat()
    )
}

/// The products whose URL can be set in the dashboard, and whose bodies have no event name: the topic helps to recognise them.
fn unnamed() -> impl Iterator<Item = (&'static str, String)> {
    let entries = catalogue().filter(|entry| !entry.is_named && !entry.is_set_by_request());
    entries.map(|entry| (entry.product, entry.topic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_read_from_what_cloudflared_prints() {
        let url = |line| Tunnel::Cloudflared.url_in(line);
        let in_a_box =
            "2026-01-20T09:56:36Z INF |  https://disciplinary-tennis-breaking-under.trycloudflare.com           |";
        assert_eq!(url(in_a_box).unwrap(), "https://disciplinary-tennis-breaking-under.trycloudflare.com");
        for other in [
            "2026-01-20T09:56:33Z INF Thank you for trying Cloudflare Tunnel. Doing so, without a Cloudflare account, is a quick \
             way to experiment. See https://developers.cloudflare.com/cloudflare-one/connections/connect-apps",
            "2026-01-20T09:56:33Z INF Requesting new quick Tunnel on trycloudflare.com...",
            "2026-01-20T09:56:36Z INF |  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |",
            r#"failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": dial tcp: no such host"#,
        ] {
            assert_eq!(url(other), None, "{other}");
        }
    }

    #[test]
    fn the_url_is_read_from_what_ngrok_prints() {
        let url = |line| Tunnel::Ngrok.url_in(line);
        let started = r#"{"addr":"http://127.0.0.1:8787","lvl":"info","msg":"started tunnel","name":"command_line","obj":"tunnels","t":"2026-11-24T06:00:00Z","url":"https://ab12-203-0-113-7.ngrok-free.app"}"#;
        assert_eq!(url(started).unwrap(), "https://ab12-203-0-113-7.ngrok-free.app");
        for other in [
            r#"{"lvl":"info","msg":"update available","url":"https://ngrok.com"}"#,
            r#"{"lvl":"info","msg":"starting web service","addr":"127.0.0.1:4040"}"#,
            "ERROR: authentication failed",
        ] {
            assert_eq!(url(other), None, "{other}");
        }
    }

    #[test]
    fn each_product_without_an_event_name_has_a_url_of_its_own() {
        let text = instructions("https://a.test");
        assert!(text.contains("Fixed virtual accounts (paid)\n    https://a.test/webhook/fva_paid\n"), "{text}");
        assert!(!text.contains("ewallet_2019"), "its URL is set by each request: {text}");
        assert!(!text.contains("/webhook/refund"), "its webhooks name their event: {text}");
    }
}
