//! Dashboard: in each situation of the simulator exactly the alarms ring that are meant to, and the pictures in docs/dashboard
//! are up to date. tests/dashboard.py evaluates the alarms and draws.
//!
//! `make dashboard` writes the pictures.

use std::{
    env, fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use tests::sim::Situation;

#[test]
fn each_situation_rings_its_alarms_and_looks_as_in_the_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let drawn = env::temp_dir().join(format!("xendit-hooks-dashboard-{}", std::process::id()));
    fs::create_dir_all(&drawn).unwrap();
    let mut python = Command::new(root.join(".venv/bin/python"))
        .args(["-B", "tests/dashboard.py", "template.yaml"])
        .arg(&drawn)
        .env("AWS_DEFAULT_REGION", "ap-southeast-1")
        .current_dir(&root)
        .stdin(Stdio::piped())
        .spawn()
        .expect("run `make setup` first");
    let mut input = python.stdin.take().unwrap();
    for situation in Situation::ALL {
        // Where it ends early, it says why.
        if writeln!(input, "{}", situation.play()).is_err() {
            break;
        }
    }
    drop(input);
    assert!(python.wait().unwrap().success());
    for situation in Situation::ALL {
        let name = format!("{}.svg", situation.name());
        let (new, committed) = (fs::read(drawn.join(&name)).unwrap(), root.join("docs/dashboard").join(&name));
        if env::var_os("WRITE_DOCS").is_some() {
            fs::write(committed, new).unwrap();
        } else {
            assert!(fs::read(committed).is_ok_and(|old| old == new), "{name} is not up to date: run `make dashboard`");
        }
    }
    fs::remove_dir_all(drawn).unwrap();
}
