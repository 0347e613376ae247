//! Chart: CPU by the size of the body and by the size of the batch, as one SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::measure::{BATCHES, BODIES, Figures};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws both diagrams side by side.
#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
pub fn draw(figures: &Figures, file: &Path) -> Result<()> {
    let area = SVGBackend::new(file, (1_000, 380)).into_drawing_area();
    let drawn = || -> Result<()> {
        area.fill(&WHITE).map_err(problem)?;
        let (left, right) = area.split_horizontally(500);
        let bodies = |of: &str| -> Result<Vec<(f64, f64)>> {
            let point = |size: &usize| Ok((*size as f64, figures.median(&format!("cpu µs at {size} B"), of)?));
            BODIES.iter().map(point).collect()
        };
        let batches = |of: &str| -> Result<Vec<(f64, f64)>> {
            let point = |size: &u64| Ok((*size as f64, figures.median(&format!("cpu µs per message at {size}"), of)?));
            BATCHES.iter().map(point).collect()
        };
        panel(
            &left,
            "CPU per webhook, µs, by bytes of the body",
            &[("receiver", bodies("receiver")?), ("processor", bodies("processor")?)],
        )?;
        panel(
            &right,
            "CPU per message, µs, by messages in a batch",
            &[("processor", batches("processor")?), ("Powertools", batches("powertools")?)],
        )
    };
    drawn()?;
    area.present().map_err(problem)
}

/// One diagram, with logarithmic axes.
fn panel(area: &Area<'_>, title: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let range = |of: fn((f64, f64)) -> f64| {
        points().map(of).fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x, y) = (range(|point| point.0), range(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0 / 2.0..y.1 * 2.0).log_scale())
        .map_err(problem)?;
    chart.configure_mesh().light_line_style(TRANSPARENT).draw().map_err(problem)?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))
            .map_err(problem)?
            .label(*name)
            .legend(move |(x, y)| Circle::new((x + 10, y), 4, Palette99::pick(index).filled()));
    }
    chart.configure_series_labels().border_style(BLACK).draw().map_err(problem)
}

fn problem(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the chart cannot be drawn: {error}")
}
