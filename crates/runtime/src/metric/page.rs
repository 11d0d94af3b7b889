//! Writes a page in Prometheus' text format.

use std::fmt::Write as _;

use super::HistogramSnapshot;

/// A page under construction. Names and labels come from this program, so nothing has to be escaped.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// The text so far.
    pub fn into_text(self) -> String {
        self.0
    }

    /// Begins a family of metrics.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// Writes the samples of one histogram.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &HistogramSnapshot) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in &histogram.buckets {
            let bound = bound.to_string();
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), float(*count));
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), float(histogram.count));
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, float(histogram.count));
    }
}

/// A count as a float, the number type of Prometheus.
#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_written_as_prometheus_reads_it() {
        let mut page = Page::default();
        let snapshot = HistogramSnapshot { buckets: vec![(0.1, 2), (1.0, 3)], count: 4, sum: 7.5 };
        page.histogram("took_seconds", &[("kind", "x")], &snapshot);
        page.sample("depth", &[], 3.0);
        assert_eq!(
            page.0,
            "took_seconds_bucket{kind=\"x\",le=\"0.1\"} 2\n\
             took_seconds_bucket{kind=\"x\",le=\"1\"} 3\n\
             took_seconds_bucket{kind=\"x\",le=\"+Inf\"} 4\n\
             took_seconds_sum{kind=\"x\"} 7.5\n\
             took_seconds_count{kind=\"x\"} 4\n\
             depth 3\n"
        );
    }
}
