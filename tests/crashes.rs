//! A small run of chaos: the real binaries, killed and frozen. `make chaos` sends as many webhooks as there is time for.

use tests::{
    chaos::{self, Queue},
    process::binary,
};

#[tokio::test]
async fn processes_that_are_killed_and_frozen_lose_nothing_and_tell_nothing_under_two_ids() {
    binary("receiver");
    let report = chaos::run(7, 300, Queue::Hasty).await;
    assert!(report.violations.is_empty(), "{}\n{:#?}", report.figures, report.violations);
    let (receivers, processors) = (report.figures.receivers, report.figures.processors);
    for (harm, times) in [
        ("killed receivers", receivers.kills[0]),
        ("frozen receivers", receivers.freezes[0]),
        ("killed processors", processors.kills[0]),
        ("frozen processors", processors.freezes[0]),
    ] {
        assert!(times > 0, "no {harm}:\n{}", report.figures);
    }
}
