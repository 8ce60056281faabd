//! Charts as inline SVG: lines over an axis of time or of percentiles.

use std::fmt::Write;

/// Pixels of a chart.
const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// One line of a chart.
pub(super) struct Series<'a> {
    /// What the legend says.
    pub name: &'a str,
    /// A colour of the page's style.
    pub class: &'a str,
    /// Places between 0 and 1 from the left, and values.
    pub points: Vec<(f64, f64)>,
}

/// A chart with marks at places of the lower axis.
pub(super) fn chart(title: &str, series: &[Series<'_>], marks: &[(f64, String)], unit: &str) -> String {
    let top = series.iter().flat_map(|one| &one.points).map(|point| point.1).fold(0.0, f64::max);
    let top = if top > 0.0 { nice(top) } else { 1.0 };
    let x = |place: f64| LEFT + place * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut out = format!("<figure><figcaption>{title}<span class=legend>");
    for one in series {
        let _ = write!(out, " <b class=\"{}\">&#9632;</b> {}", one.class, one.name);
    }
    let _ = write!(out, "</span></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img>");
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let at = y(value);
        let _ = write!(
            out,
            "<line class=grid x1={LEFT} x2={} y1={at:.1} y2={at:.1} /><text class=axis x={} y={:.1} text-anchor=end>{}{unit}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(value)
        );
    }
    for (place, label) in marks {
        let at = x(*place);
        let _ = write!(
            out,
            "<line class=grid x1={at:.1} x2={at:.1} y1={TOP} y2={} /><text class=axis x={at:.1} y={} text-anchor=middle>{label}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for one in series.iter().filter(|one| !one.points.is_empty()) {
        let points: Vec<String> =
            one.points.iter().map(|(place, value)| format!("{:.1},{:.1}", x(*place), y(*value))).collect();
        let _ = write!(out, "<polyline class=\"{}\" points=\"{}\" />", one.class, points.join(" "));
        if let [(place, value)] = one.points.as_slice() {
            let _ =
                write!(out, "<circle class=\"{}\" cx={:.1} cy={:.1} r=3 />", one.class, x(*place), y(*value));
        }
    }
    out.push_str("</svg></figure>");
    out
}

/// Where a quantile stands on an axis that gives each nine its own room: P90 a fifth from the left, P99 two fifths, ...
pub(super) fn quantile_place(quantile: f64) -> f64 {
    (-(1.0 - quantile).max(1e-5).log10() / 5.0).clamp(0.0, 1.0)
}

/// The next round number.
fn nice(value: f64) -> f64 {
    let scale = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * scale).find(|round| *round >= value).unwrap_or(value)
}

/// Few digits.
pub(super) fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
