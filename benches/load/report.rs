//! What a run prints: one JSON line for the generator, Markdown tables for comparisons. A table's cells are medians over the
//! rounds; its ratios are medians of each round's own ratio, because two subjects measured within the same seconds share what
//! else the machine was doing.

use std::fmt::Write;

use crate::generate::Outcome;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// torana with one thread.
    Torana,
    /// HAProxy in TCP mode with one thread.
    Haproxy,
    /// No proxy.
    Direct,
}

/// All of them, in the order of a table's columns.
pub const KINDS: [Kind; 3] = [Kind::Torana, Kind::Haproxy, Kind::Direct];

struct Row {
    name: String,
    /// One value a round, for each column.
    values: Vec<Vec<f64>>,
}

/// A table that is filled round by round: a row for each figure, a column for each subject, and ratios of two columns.
pub struct Grid {
    title: String,
    columns: &'static [&'static str],
    ratios: &'static [(usize, usize)],
    rows: Vec<Row>,
}

impl Grid {
    /// An empty table with `columns`, and behind them the ratios of those columns to each other.
    pub fn new(
        title: impl Into<String>,
        columns: &'static [&'static str],
        ratios: &'static [(usize, usize)],
    ) -> Grid {
        Grid { title: title.into(), columns, ratios, rows: Vec::new() }
    }

    /// Adds one round's value in the row called `name`.
    pub fn record(&mut self, name: &str, column: usize, value: f64) {
        let index = match self.rows.iter().position(|row| row.name == name) {
            Some(index) => index,
            None => {
                self.rows.push(Row { name: name.to_owned(), values: vec![Vec::new(); self.columns.len()] });
                self.rows.len() - 1
            }
        };
        self.rows[index].values[column].push(value);
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let ratio_of =
            |(above, below): &(usize, usize)| format!("{} / {}", self.columns[*above], self.columns[*below]);
        let heads =
            self.columns.iter().map(|column| (*column).to_owned()).chain(self.ratios.iter().map(ratio_of));
        let heads: Vec<String> = heads.collect();
        let mut text = format!("| {} | {} |\n", self.title, heads.join(" | "));
        text.push_str(&format!("|{}\n", "---|".repeat(heads.len() + 1)));
        for Row { name, values } in &self.rows {
            let cells = values.iter().map(|values| median(values).map_or("-".into(), short));
            let ratios = self.ratios.iter().map(|(above, below)| ratio(&values[*above], &values[*below]));
            let ratios = ratios.map(|ratio| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")));
            let _ = writeln!(text, "| {name} | {} |", cells.chain(ratios).collect::<Vec<_>>().join(" | "));
        }
        text
    }
}

/// A comparison of [`KINDS`].
pub struct Table(Grid);

impl Table {
    /// An empty table.
    pub fn new(title: impl Into<String>) -> Table {
        Table(Grid::new(title, &["torana", "HAProxy", "direct"], &[(0, 1), (0, 2)]))
    }

    /// Adds one round's value of `kind` in the row called `name`.
    pub fn record(&mut self, name: &str, kind: Kind, value: f64) {
        self.0.record(name, kind as usize, value);
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        self.0.markdown()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let lower = if sorted.len().is_multiple_of(2) { sorted[middle - 1] } else { upper };
    Some((lower + upper) / 2.0)
}

/// Median of the rounds' ratios; nothing if a round's denominator is 0 or one side is missing.
fn ratio(above: &[f64], below: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = above.iter().zip(below).map(|(above, below)| above / below).collect();
    median(&ratios).filter(|ratio| ratio.is_finite())
}

/// Three significant digits, or whole numbers with thousands apart.
fn short(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => thousands(value.round() as u64),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The generator's outcome as one line of JSON.
pub fn json(op: &str, clients: usize, outcome: &Outcome) -> String {
    let watched: Vec<String> = outcome
        .watched
        .iter()
        .enumerate()
        .map(|(index, usage)| {
            format!(
                "{{\"pid\":{},\"cpu_us\":{},\"cpu_us_per_op\":{:.3},\"rss_kib\":{},\"threads\":{}}}",
                usage.pid,
                usage.cpu.as_micros(),
                outcome.cpu_micros(index).unwrap_or_default(),
                usage.resident_kib,
                usage.threads
            )
        })
        .collect();
    let error = outcome.first_error.as_ref().map_or("null".to_owned(), |error| format!("{error:?}"));
    format!(
        "{{\"op\":\"{op}\",\"clients\":{clients},\"seconds\":{:.3},\"ops\":{},\"ops_total\":{},\"per_second\":{:.1},\
         \"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"max_us\":{:.1},\"errors\":{},\"first_error\":{error},\
         \"watched\":[{}]}}",
        outcome.elapsed.as_secs_f64(),
        outcome.ops,
        outcome.ops_total,
        outcome.per_second(),
        outcome.micros(0.5),
        outcome.micros(0.9),
        outcome.micros(0.99),
        outcome.micros(1.0),
        outcome.errors,
        watched.join(",")
    )
}
