//! Plots of searches: rates tried, what was lost, and how long frames took.

use anyhow::{Context, Result};
use plotters::prelude::*;
use serde::Serialize;
use std::path::Path;

/// A trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Frames or connections a second that were sent.
    pub rate: f64,
    /// Part lost: 0 to 1.
    pub loss: f64,
    /// Median, microseconds; none if nothing came back.
    pub latency_us: Option<f64>,
}

/// Width and height, pixels.
const SIZE: (u32, u32) = (960, 640);
/// Of the series, one after the other.
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
];

/// Draws series of trials by rate: above what was lost, percent; below the median latency.
///
/// # Errors
/// When the file cannot be written.
pub fn loss(path: &Path, title: &str, series: &[(String, Vec<Point>)]) -> Result<()> {
    let named = || format!("--plot {}", path.display());
    let svg = draw(title, series).with_context(named)?;
    std::fs::write(path, svg).with_context(named)
}

fn draw(title: &str, series: &[(String, Vec<Point>)]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let root = root.titled(title, ("sans-serif", 22))?;
        let (above, below) = root.split_vertically(SIZE.1 / 2);
        let lost = |point: &Point| Some(point.loss * 100.0);
        panel(&above, series, "lost, %", lost)?;
        panel(&below, series, "latency p50, µs", |point| point.latency_us)?;
        root.present()?;
    }
    Ok(svg)
}

/// One quantity of all series.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    series: &[(String, Vec<Point>)],
    name: &str,
    value: impl Fn(&Point) -> Option<f64>,
) -> Result<()> {
    let line = |points: &[Point]| -> Vec<(f64, f64)> {
        let mut line: Vec<(f64, f64)> = points
            .iter()
            .filter_map(|point| Some((point.rate, value(point)?)))
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .collect();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        line
    };
    let all: Vec<(f64, f64)> = series.iter().flat_map(|(_, points)| line(points)).collect();
    let most = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).fold(0.0, f64::max) * 1.05;
    // Room for something where there is nothing.
    let (width, height) = (most(|p| p.0).max(1.0), most(|p| p.1).max(1e-3));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..width, 0.0..height)?;
    chart
        .configure_mesh()
        .x_desc("sent a second")
        .y_desc(name)
        .x_label_formatter(&|x| crate::report::si(*x))
        .draw()?;
    for ((label, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let line = line(points);
        let dots = line.iter().map(|at| Circle::new(*at, 3, colour.filled()));
        chart.draw_series(dots)?;
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(line, colour))?
            .label(label.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_is_a_dot() {
        let point = |rate, loss, latency_us| Point {
            rate,
            loss,
            latency_us,
        };
        let series = vec![
            (
                "size 64".to_owned(),
                vec![
                    point(1e6, 0.5, Some(90.0)),
                    point(5e5, 0.0, Some(10.0)),
                    point(7e5, 1.0, None),
                ],
            ),
            ("size <1518>".to_owned(), vec![point(8e4, 0.0, Some(20.0))]),
        ];
        let svg = draw("a title", &series).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        // Of what is lost four; of latency three, as nothing came back once.
        assert_eq!(svg.matches("<circle").count(), 7);
        for text in [
            "a title",
            "size 64",
            "size &lt;1518&gt;",
            "lost, %",
            "latency p50",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        // Nothing measured is no reason to fail.
        assert!(draw("t", &[("x".to_owned(), vec![])]).is_ok() && draw("t", &[]).is_ok());
    }
}
