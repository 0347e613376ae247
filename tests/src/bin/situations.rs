//! `make dashboard`: plays the situations of the simulator, and prints what CloudWatch has after each, one JSON object a line.

#![expect(clippy::print_stdout, reason = "another program reads the output")]

use tests::sim::Situation;

fn main() {
    for situation in Situation::ALL {
        println!("{}", situation.play());
    }
}
