//! Clocks a packet against the size of the table: this run's, and what others were measured at, as an SVG.

use crate::report::{Report, Row};
use std::fmt::Write as _;

/// What others take, clocks a packet all in, at these many connections. Not of this run: measured on a machine of the same kind (2.6 GHz, shared,
/// so give or take 15 % at 1k and 25 % at 1M), each over its own driver, 60-byte UDP packets. The goals' table says which.
const SIZES: [f64; 3] = [1e3, 1e5, 1e6];
const OTHERS: [(&str, [f64; 3]); 6] = [
    ("nftables DNAT", [2713.0, 3281.0, 5060.0]),
    ("DPVS NAT", [390.0, 1220.0, 2060.0]),
    ("DPVS DR", [290.0, 1110.0, 1960.0]),
    ("Katran", [288.0, 766.0, 979.0]),
    ("VPP nat44-ed", [191.0, 740.0, 931.0]),
    ("VPP lb NAT4", [124.0, 327.0, 335.0]),
];
/// Of ours, of others.
const INKS: [&str; 6] = [
    "#c0392b", "#1f618d", "#1e8449", "#af601a", "#6c3483", "#117a65",
];
const GREYS: [&str; 6] = ["#444", "#666", "#777", "#888", "#999", "#aaa"];

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Decades: connections, clocks.
const X: (f64, f64) = (3.0, 7.7);
const Y: (f64, f64) = (1.5, 4.0);

fn x(connections: f64) -> f64 {
    LEFT + (connections.log10() - X.0) / (X.1 - X.0) * (WIDTH - LEFT - RIGHT)
}

fn y(clocks: f64) -> f64 {
    let share = (clocks.log10() - Y.0) / (Y.1 - Y.0);
    HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
}

/// The drawing.
pub fn draw(report: &Report) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let machine = &report.machine;
    text(
        &mut svg,
        (LEFT, 20.0),
        "start",
        "#000",
        "Clocks a packet, all in, of one worker; packets uniform over the table",
    );
    let whose = format!(
        "coloured: this run, {} ({}, {:.2} GHz); dashed: others, measured earlier on such a machine",
        machine.date, machine.cpu, machine.tsc_ghz
    );
    text(&mut svg, (LEFT, 36.0), "start", "#555", &whose);
    axes(&mut svg);
    let mut labels = Vec::new();
    for ((name, clocks), ink) in OTHERS.iter().zip(GREYS) {
        let points: Vec<_> = SIZES.into_iter().zip(*clocks).collect();
        line(&mut svg, &points, ink, "5 4");
        labels.extend(points.last().map(|p| (*p, (*name).to_owned(), ink)));
    }
    for (curve, ink) in curves(report).into_iter().zip(INKS) {
        line(&mut svg, &curve.points, ink, "none");
        labels.extend(curve.points.last().map(|p| (*p, curve.name.clone(), ink)));
    }
    label(&mut svg, labels);
    svg + "</svg>\n"
}

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// This run's, and macswap, which all of it is to be held against.
fn curves(report: &Report) -> Vec<Curve> {
    let mut all = Vec::new();
    for family in [4, 6] {
        for path in ["nat", "dr"] {
            let points = points(report, path, family, |row| row.clocks);
            if !points.is_empty() {
                let name = format!("Tarpon {path}, IPv{family}");
                all.push(Curve { name, points });
            }
        }
    }
    let points = points(report, "nat", 4, |row| row.macswap_clocks);
    if !points.is_empty() {
        let name = "macswap".to_owned();
        all.push(Curve { name, points });
    }
    all
}

fn points(report: &Report, path: &str, family: u8, of: fn(&Row) -> f64) -> Vec<(f64, f64)> {
    let mut sizes: Vec<u32> = report.rows.iter().map(|row| row.connections).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let rows = sizes
        .into_iter()
        .filter_map(|s| report.row(path, family, s, 1));
    rows.map(|row| (row.connections.into(), of(row))).collect()
}

fn axes(svg: &mut String) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (count, name) in [
        (1e3, "1k"),
        (1e4, "10k"),
        (1e5, "100k"),
        (1e6, "1M"),
        (1e7, "10M"),
        (4e7, "40M"),
    ] {
        let at = x(count);
        rule(svg, (at, TOP), (at, bottom));
        text(svg, (at, bottom + 18.0), "middle", "#000", name);
    }
    for clocks in [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0] {
        let at = y(clocks);
        rule(svg, (LEFT, at), (right, at));
        text(
            svg,
            (LEFT - 6.0, at + 4.0),
            "end",
            "#000",
            &clocks.to_string(),
        );
    }
    let middle = (LEFT + right) / 2.0;
    text(
        svg,
        (middle, HEIGHT - 16.0),
        "middle",
        "#000",
        "connections in the table",
    );
}

/// Names at the curves' ends, none over another.
fn label(svg: &mut String, mut labels: Vec<((f64, f64), String, &str)>) {
    labels.sort_by(|(a, ..), (b, ..)| b.1.total_cmp(&a.1));
    let mut lowest = TOP - 20.0;
    for ((connections, clocks), name, ink) in labels {
        let at = y(clocks).max(lowest + 14.0);
        lowest = at;
        let side = WIDTH - RIGHT + 8.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}L{side:.1} {at:.1}\" stroke=\"{ink}\" stroke-width=\"0.4\"/>",
            x(connections),
            y(clocks)
        );
        let name = format!("{name} {clocks:.0}");
        text(svg, (side + 4.0, at + 4.0), "start", ink, &name);
    }
}

fn line(svg: &mut String, points: &[(f64, f64)], ink: &str, dashes: &str) {
    let places: Vec<_> = points
        .iter()
        .map(|(connections, clocks)| format!("{:.1},{:.1}", x(*connections), y(*clocks)))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
        places.join(" ")
    );
    for place in places {
        if let Some((x, y)) = place.split_once(',') {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{ink}\"/>"
            );
        }
    }
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, ink: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{ink}\">{text}</text>",
        at.0, at.1
    );
}
