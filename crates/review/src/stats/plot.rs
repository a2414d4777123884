//! The figures as an SVG chart.

use super::Stats;

/// Width of the picture, of the names' column, and of the longest bar, in pixels. Behind it the figures have room.
const WIDTH: usize = 760;
const NAMES: usize = 170;
const BARS: usize = 460;
const ROW: usize = 46;
const TOP: usize = 64;

/// One bar a reviewer: reported findings, split into those of this reviewer only and those that others had too; a thin bar under
/// it for what was confirmed and declined. No scripts, no fonts from elsewhere, readable in light and dark.
pub fn svg(all: &[Stats]) -> String {
    let height = TOP + all.len() * ROW + 16;
    let most = all.iter().map(|s| s.reported).max().unwrap_or(0).max(1);
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="What each reviewer is worth" font-family="system-ui, sans-serif" font-size="13">
<style>
text {{ fill: #24292f }} .quiet {{ fill: #57606a }} .back {{ fill: #ffffff }}
.unique {{ fill: #0969da }} .shared {{ fill: #80ccff }} .confirmed {{ fill: #1a7f37 }} .declined {{ fill: #bf8700 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .quiet {{ fill: #8d96a0 }} .back {{ fill: #0d1117 }}
.unique {{ fill: #4493f8 }} .shared {{ fill: #1f6feb66 }} .confirmed {{ fill: #3fb950 }} .declined {{ fill: #d29922 }} }}
</style>
<rect class="back" width="{WIDTH}" height="{height}"/>
<text x="16" y="24" font-size="15" font-weight="600">What each reviewer is worth</text>
"##
    );
    let mut x = 16;
    for (class, name) in [
        ("unique", "reported by this reviewer only"),
        ("shared", "reported, found by others too"),
        ("confirmed", "confirmed"),
        ("declined", "declined"),
    ] {
        text.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"38\" width=\"11\" height=\"11\" rx=\"2\"/><text class=\"quiet\" x=\"{}\" y=\"48\" font-size=\"12\">{name}</text>\n",
            x + 16
        ));
        x += 36 + name.len() * 6;
    }
    for (number, stats) in all.iter().enumerate() {
        let y = TOP + number * ROW;
        let length = |n: usize| n * BARS / most;
        let unique = length(stats.unique);
        let shared = length(stats.reported.saturating_sub(stats.unique));
        let confirmed = length(stats.confirmed);
        let declined = length(stats.declined);
        text.push_str(&format!(
            "<text x=\"16\" y=\"{}\">{}</text>\n",
            y + 18,
            escape(&stats.reviewer)
        ));
        for (class, from, width, dy, high) in [
            ("unique", NAMES, unique, 5, 16),
            ("shared", NAMES + unique, shared, 5, 16),
            ("confirmed", NAMES, confirmed, 24, 6),
            ("declined", NAMES + confirmed, declined, 24, 6),
        ] {
            text.push_str(&format!(
                "<rect class=\"{class}\" x=\"{from}\" y=\"{}\" width=\"{width}\" height=\"{high}\"/>\n",
                y + dy
            ));
        }
        text.push_str(&format!(
            "<text class=\"quiet\" x=\"{}\" y=\"{}\" font-size=\"12\">{} ({} unique)</text>\n",
            NAMES + unique + shared + 6,
            y + 18,
            stats.reported,
            stats.unique
        ));
    }
    text.push_str("</svg>\n");
    text
}

/// A name comes from a report, so it may hold anything.
fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(24)
        .map(|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        let stats = Stats {
            reviewer: "<script>&".to_owned(),
            ..Stats::default()
        };
        let text = svg(&[stats]);
        assert!(text.contains("&lt;script&gt;&amp;") && !text.contains("<script>"));
    }
}
