//! What is printed: Markdown, so that rows can be copied as they are.

use crate::contestant::{Contestant, Rounds};
use std::io::Write;

/// A median, and how far apart the least and the most are.
#[derive(Clone, Copy)]
pub struct Figure {
    pub median: f64,
    pub spread: f64,
}

/// Of what `number` makes of each round. None: there was no round.
pub fn figure(rounds: &Rounds, number: impl Fn(&[f64]) -> f64) -> Option<Figure> {
    let mut all: Vec<f64> = rounds.iter().map(|round| number(round)).collect();
    all.sort_by(f64::total_cmp);
    Some(Figure {
        median: *all.get(all.len() / 2)?,
        spread: all.last()? - all.first()?,
    })
}

/// A title, and the head of a table.
pub fn head<'a>(title: &str, note: &str, columns: impl Iterator<Item = &'a str>) {
    println!("\n**{title}**. {note}\n");
    print!("| {:52} |", "");
    let mut width = 0;
    for column in columns {
        print!(" {column:22} |");
        width += 1;
    }
    println!(
        "\n|{}|{}",
        "-".repeat(54),
        format!("{}|", "-".repeat(24)).repeat(width)
    );
}

/// A row.
pub fn row(label: &str, cells: impl Iterator<Item = String>) {
    print!("| {label:52} |");
    cells.for_each(|cell| print!(" {cell:22} |"));
    println!();
    let _ = std::io::stdout().flush();
}

pub fn names(all: &[Contestant]) -> impl Iterator<Item = &str> {
    all.iter().map(|contestant| contestant.name.as_str())
}

/// A figure beside the one that it is compared with.
pub fn beside(of: Option<Figure>, ours: Option<Figure>, is_ours: bool) -> String {
    match (of, ours) {
        (None, _) => "-".into(),
        (Some(it), Some(ours)) if !is_ours => {
            format!(
                "{:.1} ({:.1}) {:.1}x",
                it.median,
                it.spread,
                it.median / ours.median
            )
        }
        (Some(it), _) => format!("{:.2} ({:.2})", it.median, it.spread),
    }
}
