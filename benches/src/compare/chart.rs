//! Bars in SVG: our own few lines of it, so that a chart needs no program and no font.
//!
//! What must stay true: it is read by people on light and on dark pages, so it paints its own ground and follows the reader's
//! preference; and a bar is never longer than its number says. One that would be is broken, visibly.

use std::fmt::{self, Display, Formatter};

/// Ratios beyond this are not drawn to scale: what is near 1 is what matters.
const LONGEST: f64 = 8.0;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 290.0;
/// Right of the longest bar, for its number.
const NUMBERS: f64 = 80.0;
const MARGIN: f64 = 12.0;
const ROW: f64 = 24.0;
const BAR: f64 = 15.0;
const HEAD: f64 = 50.0;

/// How a bar is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// What others are divided by.
    Yardstick,
    Ours,
    Other,
}

impl Paint {
    fn class(self) -> &'static str {
        match self {
            Self::Yardstick => "yardstick",
            Self::Ours => "ours",
            Self::Other => "other",
        }
    }
}

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    /// `None` where there is only something to say.
    pub(super) ratio: Option<f64>,
    /// What stands behind the bar.
    pub(super) text: String,
    pub(super) paint: Paint,
}

/// A chart of ratios, with a line at 1.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What is drawn, in a few words.
    pub(super) what: &'a str,
    pub(super) bars: &'a [Bar],
}

impl Chart<'_> {
    /// The ratio at the right end.
    fn longest(&self) -> f64 {
        let longest = self.bars.iter().filter_map(|bar| bar.ratio);
        longest.fold(1.2, f64::max).min(LONGEST)
    }
}

impl Display for Chart<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let height = HEAD + ROW * self.bars.len() as f64 + MARGIN;
        let scale = (WIDTH - LABELS - NUMBERS - MARGIN) / self.longest();
        let title = escape(self.title);
        let what = escape(self.what);
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="system-ui, sans-serif" font-size="13">"#
        )?;
        writeln!(out, "<title>{title}: {what}</title>")?;
        out.write_str(STYLE)?;
        writeln!(
            out,
            r#"<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>"#
        )?;
        writeln!(
            out,
            r#"<text class="text" x="{MARGIN}" y="20" font-weight="600">{title}</text><text class="quiet" x="{MARGIN}" y="36" font-size="11">{what}</text>"#
        )?;
        for (number, bar) in self.bars.iter().enumerate() {
            let top = HEAD + ROW * number as f64;
            bar.draw(out, top, scale, self.longest())?;
        }
        let one = LABELS + scale;
        writeln!(
            out,
            r#"<line class="one" x1="{one:.1}" y1="{:.1}" x2="{one:.1}" y2="{:.1}"/>"#,
            HEAD - 2.0,
            height - MARGIN + 2.0
        )?;
        writeln!(out, "</svg>")
    }
}

impl Bar {
    fn draw(&self, out: &mut Formatter<'_>, top: f64, scale: f64, longest: f64) -> fmt::Result {
        // Where letters stand that are centred on the bar; not every program knows how to centre them itself.
        let line = top + BAR / 2.0 + 4.5;
        writeln!(
            out,
            r#"<text class="text" x="{:.1}" y="{line:.1}" text-anchor="end">{}</text>"#,
            LABELS - 8.0,
            escape(&self.label)
        )?;
        let length = self.ratio.map_or(0.0, |ratio| ratio.min(longest) * scale);
        if length > 0.0 {
            writeln!(
                out,
                r#"<rect class="{}" x="{LABELS}" y="{top:.1}" width="{length:.1}" height="{BAR}" rx="2"/>"#,
                self.paint.class()
            )?;
        }
        if self.ratio.is_some_and(|ratio| ratio > longest) {
            // Two strokes of the ground across it.
            let at = LABELS + length - 26.0;
            writeln!(
                out,
                r#"<path class="break" d="M{:.1} {:.1}l8 {:.1}M{:.1} {:.1}l8 {:.1}"/>"#,
                at,
                top + BAR + 2.0,
                -BAR - 4.0,
                at + 6.0,
                top + BAR + 2.0,
                -BAR - 4.0,
            )?;
        }
        writeln!(
            out,
            r#"<text class="text" x="{:.1}" y="{line:.1}">{}</text>"#,
            LABELS + length + 6.0,
            escape(&self.text)
        )
    }
}

/// Light, and dark for whoever prefers that.
const STYLE: &str = "<style>
.ground{fill:#fff}.text{fill:#1f2328}.quiet{fill:#59636e}.one{stroke:#59636e;stroke-dasharray:3 3}
.yardstick{fill:#8c959f}.ours{fill:#0969da}.other{fill:#d4a72c}.break{stroke:#fff;stroke-width:2;fill:none}
@media (prefers-color-scheme:dark){
.ground{fill:#0d1117}.text{fill:#e6edf3}.quiet{fill:#9198a1}.one{stroke:#9198a1}
.yardstick{fill:#6e7681}.ours{fill:#4493f8}.other{fill:#9e6a03}.break{stroke:#0d1117}
}
</style>
";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, ratio: Option<f64>, paint: Paint) -> Bar {
        Bar {
            label: label.into(),
            ratio,
            text: ratio.map_or_else(|| "failed".into(), |ratio| format!("{ratio:.2}")),
            paint,
        }
    }

    fn draw(bars: &[Bar]) -> String {
        Chart {
            title: "Hot <cache>",
            what: "ratio & more",
            bars,
        }
        .to_string()
    }

    /// The widths of all bars.
    fn widths(svg: &str) -> Vec<f64> {
        svg.lines()
            .filter(|line| line.contains("<rect class") && !line.contains("ground"))
            .map(|line| {
                let after = line.split_once("width=\"").unwrap().1;
                after.split('"').next().unwrap().parse().unwrap()
            })
            .collect()
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_and_begin_at_zero() {
        let widths = widths(&draw(&[
            bar("floor", Some(1.0), Paint::Yardstick),
            bar("statline", Some(1.25), Paint::Ours),
            bar("find", Some(3.0), Paint::Other),
        ]));
        assert!((widths[1] / widths[0] - 1.25).abs() < 0.01, "{widths:?}");
        assert!((widths[2] / widths[0] - 3.0).abs() < 0.01, "{widths:?}");
    }

    #[test]
    fn a_bar_that_is_too_long_is_broken_and_keeps_its_number() {
        let svg = draw(&[
            bar("floor", Some(1.0), Paint::Yardstick),
            bar("find", Some(80.0), Paint::Other),
        ]);
        assert_eq!(svg.matches("class=\"break\"").count(), 1);
        assert!(svg.contains(">80.00<"));
        let widths = widths(&svg);
        assert!((widths[1] / widths[0] - LONGEST).abs() < 0.1, "{widths:?}");
        assert!(LABELS + widths[1] + NUMBERS <= WIDTH);
    }

    #[test]
    fn what_has_no_ratio_has_a_text_and_no_bar() {
        let svg = draw(&[
            bar("floor", Some(1.0), Paint::Yardstick),
            bar("x", None, Paint::Other),
        ]);
        assert_eq!(widths(&svg).len(), 1);
        assert!(svg.contains(">failed<"));
    }

    #[test]
    fn text_cannot_be_taken_for_markup() {
        let svg = draw(&[bar("a<b>&\"c\"", Some(1.0), Paint::Other)]);
        assert!(svg.contains("Hot &lt;cache&gt;") && svg.contains("ratio &amp; more"));
        assert!(svg.contains("a&lt;b&gt;&amp;&quot;c&quot;"));
    }

    #[test]
    fn it_is_readable_on_light_and_on_dark_pages() {
        let svg = draw(&[bar("floor", Some(1.0), Paint::Yardstick)]);
        assert!(svg.contains("prefers-color-scheme:dark"));
        for class in [
            "ground",
            "text",
            "quiet",
            "one",
            "yardstick",
            "ours",
            "other",
            "break",
        ] {
            assert!(
                svg.matches(&format!(".{class}{{")).count() >= 2,
                "{class} has no colour for both"
            );
        }
    }
}
