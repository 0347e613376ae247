//! A short chaos run: the real binaries are killed and frozen. `make chaos` runs longer.

use tests::{
    chaos::{self, Redelivery},
    process::binary,
};

#[tokio::test]
async fn killed_and_frozen_processes_lose_nothing_and_keep_event_ids() {
    binary("receiver");
    let report = chaos::run(7, 300, Redelivery::Immediate).await;
    assert!(report.violations.is_empty(), "{}\n{:#?}", report.figures, report.violations);
    let (receivers, processors) = (report.figures.receivers, report.figures.processors);
    for (fault, times) in [
        ("killed receivers", receivers.kills[0]),
        ("frozen receivers", receivers.freezes[0]),
        ("killed processors", processors.kills[0]),
        ("frozen processors", processors.freezes[0]),
    ] {
        assert!(times > 0, "no {fault}:\n{}", report.figures);
    }
}
