//! The figures as a table.

use super::Stats;

/// A table in Markdown that also reads well in a terminal. A dash: no report says.
pub fn table(all: &[Stats]) -> String {
    let header = [
        "Reviewer",
        "Reports",
        "Findings",
        "Reported",
        "Unique",
        "Confirmed",
        "Declined",
        "False pos.",
        "Downgraded",
        "Cost",
        "Median time",
    ];
    let mut rows: Vec<Vec<String>> = vec![header.iter().map(|h| (*h).to_owned()).collect()];
    for stats in all {
        let maybe = |n: Option<usize>| n.map_or("–".to_owned(), |n| n.to_string());
        rows.push(vec![
            stats.reviewer.replace('|', "\\|"),
            stats.reports.to_string(),
            stats.findings.to_string(),
            stats.reported.to_string(),
            stats.unique.to_string(),
            stats.confirmed.to_string(),
            stats.declined.to_string(),
            maybe(stats.false_positives),
            maybe(stats.downgraded),
            stats
                .cost_usd
                .map_or("–".to_owned(), |c| format!("${c:.2}")),
            stats.median_seconds().map_or("–".to_owned(), duration),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let padded = if column == 0 {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            };
            text.push_str(&padded);
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let rule = "-".repeat(width + 1);
                text.push_str(&if column == 0 {
                    format!("|-{rule}")
                } else {
                    format!("|{rule}:")
                });
            }
            text.push_str("|\n");
        }
    }
    text
}

fn duration(seconds: f64) -> String {
    let all = seconds.round() as u64;
    format!("{}m {:02}s", all / 60, all % 60)
}
