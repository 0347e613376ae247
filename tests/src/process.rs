//! Process: the functions' real binaries, and what Lambda gives them.

use std::{
    env,
    io::Read,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// The digest of the local token.
pub const TOKENS: &str = "local=6b6f7ba2da608e751eb7e8a572d296b42956650139724808744fb32fa76f2709";

/// What Lambda gives every function, on this machine.
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
    ]
}

/// A binary of this workspace, built as it is.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        // A program lies in `<target>/<profile>`, a test in a folder `deps` of that.
        let program = env::current_exe().unwrap();
        let profile = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
        let mut build = Command::new(env!("CARGO"));
        // With this package, so that its features are on and nothing has to be built a second time without them.
        build.args(["build", "--quiet", "--package=tests", "--package=receiver", "--package=processor"]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        let name = profile.file_name().and_then(|name| name.to_str()).unwrap();
        build.args(["--profile", if name == "debug" { "dev" } else { name }]);
        // What cargo tells a test of its package would make build scripts run again, and half of everything with them.
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

/// A function's process, which ends with the test.
pub struct Function {
    process: Child,
}

impl Function {
    /// Starts a binary with these variables and no others.
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary(name));
        command.env_clear().envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { process: command.spawn().unwrap() }
    }

    /// Waits for it to end by itself. Its status and all that it wrote.
    pub fn end(mut self, within: Duration) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < within, "it is still running: {}", self.written());
            thread::sleep(Duration::from_millis(10));
        };
        (status, self.written())
    }

    /// All that it has written, after it was ended.
    pub fn written(&mut self) -> String {
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
