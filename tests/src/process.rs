//! Process: starts the functions' real binaries, with Lambda's environment variables.

use std::{
    env,
    io::Read,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// The message of the log line that a panic leaves.
pub const PANIC_MESSAGE: &str = "panic: a bug in this program";

/// The environment variables that every function has.
pub fn lambda<'a>(runtime: &'a str, aws: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("AWS_LAMBDA_RUNTIME_API", runtime),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
        ("AWS_REGION", "ap-southeast-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret-key"),
        ("AWS_ENDPOINT_URL", aws),
        ("LOG_LEVEL", "trace"),
        ("ENVIRONMENT", "test"),
        ("TOKEN_ACCOUNTS", ""),
    ]
}

/// The path of a binary of this workspace, freshly built.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        // A program is in `<target>/<profile>`, a test in its folder `deps`.
        let program = env::current_exe().unwrap();
        let profile = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
        let mut build = Command::new(env!("CARGO"));
        // With this package, so that the same features are on and nothing is built twice.
        build.args(["build", "--quiet", "--package=tests", "--package=receiver", "--package=processor"]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        let name = profile.file_name().and_then(|name| name.to_str()).unwrap();
        build.args(["--profile", if name == "debug" { "dev" } else { name }]);
        // The variables that cargo sets for a test would rerun build scripts, and rebuild half of the crates.
        let of_this_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for name in env::vars().map(|(name, _)| name).filter(|name| of_this_package(name)) {
            build.env_remove(name);
        }
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(status.success(), "the functions do not build");
        profile.to_owned()
    });
    folder.join(name)
}

/// A function's process. It is killed when dropped.
pub struct Function {
    process: Child,
}

impl Function {
    /// Starts a binary with only these environment variables.
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary(name));
        command.env_clear().envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { process: command.spawn().unwrap() }
    }

    /// Waits until it exits by itself. Returns its status and output.
    pub fn wait(mut self, within: Duration) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < within, "it is still running: {}", self.kill());
            thread::sleep(Duration::from_millis(10));
        };
        (status, self.kill())
    }

    /// Kills it, and returns its output.
    pub fn kill(&mut self) -> String {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let mut text = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
