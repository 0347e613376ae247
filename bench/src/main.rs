//! The bench: measures the functions as they are packaged, beside rivals, and guards what was reached.
//!
//! `measure` runs everything and prints one table; `gate` compares instructions, calls and billed units with a committed
//! baseline; `cost` and `chart` generate documents from the figures. The Makefile has a verb for each.
//!
//! **Invariant:** wall time and CPU time are reported, never gated: they depend on the machine as much as on the code.

mod chart;
mod cloud;
mod cost;
mod dynamo;
mod events;
mod function;
mod gate;
mod http;
mod item;
mod measure;
mod package;
mod subjects;
mod table;
mod targets;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{
    cloud::Cloud,
    cost::Prices,
    events::Events,
    measure::{Effort, Figures, Pair},
    subjects::Places,
};

const USAGE: &str = "usage: bench measure [--quick] | gate [--accept] | cost | chart
                 [--functions DIR] [--rivals DIR] [--python FILE] [--json FILE]";

/// A few minutes on two cores.
const THOROUGH: Effort =
    Effort { rounds: 15, requests: 1_000, endurance: 20_000, journeys: 100, cold_journeys: 60, drains: 3 };

/// A minute or two.
const QUICK: Effort = Effort { rounds: 3, requests: 200, endurance: 2_000, journeys: 30, cold_journeys: 5, drains: 1 };

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace, which would hide the differences that the gate has printed.
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let bench = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let project = bench.parent().context("the bench lies in the project")?.to_owned();
    let mut places = Places {
        functions: project.join("target/lambda"),
        rivals: bench.join("target/release"),
        python: bench.join(".venv/bin/python"),
        bench: bench.clone(),
    };
    let (mut json, mut quick, mut accept) = (bench.join("results.json"), false, false);
    let mut arguments = env::args().skip(1);
    let verb = arguments.next().context(USAGE)?;
    while let Some(argument) = arguments.next() {
        let mut path = || arguments.next().map(PathBuf::from).context(USAGE);
        match &*argument {
            "--quick" => quick = true,
            "--accept" => accept = true,
            "--functions" => places.functions = path()?,
            "--rivals" => places.rivals = path()?,
            "--python" => places.python = path()?,
            "--json" => json = path()?,
            _ => bail!(USAGE),
        }
    }
    let prices = || Prices::read(&bench.join("prices.json"));
    match &*verb {
        "measure" => {
            let figures = measure(&places, &project, if quick { QUICK } else { THOROUGH })?;
            fs::write(&json, serde_json::to_string_pretty(&figures)? + "\n")?;
            print!("{}", table::render(&figures, &prices()?));
        }
        "gate" => gate::run(&places, &project, &bench.join("baseline.json"), accept)?,
        "cost" => {
            let template = fs::read_to_string(project.join("template.yaml"))?;
            fs::write(project.join("docs/cost.md"), cost::render(&read(&json)?, &prices()?, &template)?)?;
        }
        "chart" => {
            let figures = read(&json)?;
            chart::draw(&figures, &project.join("docs/performance.svg"))?;
            fs::write(project.join("docs/performance.md"), table::page(&figures, &prices()?)?)?;
        }
        _ => bail!(USAGE),
    }
    Ok(())
}

fn read(json: &Path) -> Result<Figures> {
    let text = fs::read_to_string(json).with_context(|| format!("{}: run `make bench` first", json.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn measure(places: &Places, project: &Path, effort: Effort) -> Result<Figures> {
    let cloud = cloud(project)?;
    let events = Events::read(project)?;
    let (receiver, processor) = (subjects::receiver(places, &cloud)?, subjects::processor(places, &cloud)?);
    let rivals = subjects::rust_rivals(places, &cloud)?;
    let python = subjects::python_receiver(places, &cloud)?;
    let powertools = subjects::python_processor(places, &cloud)?;

    let mut figures = Figures::default();
    package::note(&mut figures, places)?;
    let rust: Vec<_> = [receiver.clone()].into_iter().chain(rivals).collect();
    let all: Vec<_> = rust.iter().cloned().chain([python.clone()]).collect();
    measure::receivers(&mut figures, &all, &events, effort)?;
    for subject in &rust {
        measure::receiver_instructions(&mut figures, subject, &events)?;
    }
    measure::endurance(&mut figures, &receiver, &events, effort)?;
    measure::receiver_calls(&mut figures, &receiver, &cloud, &events)?;
    let both = [processor.clone(), powertools.clone()];
    measure::processors(&mut figures, &both, &cloud, &events, effort)?;
    measure::processor_calls(&mut figures, &processor, &cloud, &events)?;
    measure::rival_units(&mut figures, &powertools, &cloud, &events)?;
    measure::processor_instructions(&mut figures, &processor, &cloud, &events)?;
    measure::processor_wall(&mut figures, &processor, &cloud, &events)?;
    measure::body_curves(&mut figures, &receiver, &processor, &events, effort)?;
    measure::drain(&mut figures, &processor, &cloud, &events, effort)?;
    let pairs = [
        Pair { name: "xendit-hooks", receiver, processor },
        Pair { name: "python and powertools", receiver: python, processor: powertools },
    ];
    measure::journeys(&mut figures, &pairs, &cloud, &events, effort)?;
    Ok(figures)
}

/// The stub, with its certificates where nothing else is.
fn cloud(project: &Path) -> Result<Cloud> {
    let run = env::temp_dir().join(format!("xendit-hooks-bench-{}", std::process::id()));
    fs::create_dir_all(&run)?;
    Cloud::start(&run, &project.join("functions/runtime/src/amazon_trust_services.pem"))
}
