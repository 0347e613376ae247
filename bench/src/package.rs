//! Package: the size of each binary, and of the zip that Lambda gets.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{measure::Figures, subjects::Places};

/// Notes the sizes of both functions.
pub fn note(figures: &mut Figures, places: &Places) -> Result<()> {
    for name in ["receiver", "processor"] {
        let directory = places.functions.join(name);
        figures.note("binary MB", name, megabytes(&directory.join("bootstrap"))?);
        figures.note("zip MB", name, megabytes(&directory.join("bootstrap.zip"))?);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "no file here has 2^52 bytes")]
fn megabytes(path: &Path) -> Result<f64> {
    let size = fs::metadata(path).with_context(|| format!("{} is not there", path.display()))?.len();
    Ok(size as f64 / 1e6)
}
