//! The types that a page declares, as far as they decide which lines are written.

/// At most this many families are remembered; with more, all are forgotten. The samples of a family
/// stand right behind its type, so that hardly matters.
const MOST: usize = 10_000;

/// Which families of metrics are summaries or histograms. It costs 16 bytes each.
#[derive(Default)]
pub struct Types {
    /// Sorted by the hash of the name.
    families: Vec<(u64, Kind)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Summary,
    Histogram,
    Other,
}

const CREATED: &str = "_created";

impl Types {
    /// Takes in a `# TYPE` line.
    pub fn declare(&mut self, name: &str, kind: &str) {
        let kind = match kind {
            "summary" => Kind::Summary,
            "histogram" | "gaugehistogram" => Kind::Histogram,
            _ => Kind::Other,
        };
        if self.families.len() >= MOST {
            self.families.clear();
        }
        let hash = hash(name);
        match self.families.binary_search_by_key(&hash, |family| family.0) {
            Ok(at) => self.families[at].1 = kind,
            // Nothing depends on whether another type is declared or none is.
            Err(_) if kind == Kind::Other && !name.ends_with(CREATED) => {}
            Err(at) => self.families.insert(at, (hash, kind)),
        }
    }

    /// Whether a sample of this name is a quantile of a summary, or tells when a summary or histogram
    /// was created.
    pub fn is_extra(&self, name: &str) -> bool {
        match (self.of(name), name.strip_suffix(CREATED)) {
            (Some(kind), _) => kind == Kind::Summary,
            (None, Some(family)) => {
                matches!(self.of(family), Some(Kind::Summary | Kind::Histogram))
            }
            (None, None) => false,
        }
    }

    fn of(&self, name: &str) -> Option<Kind> {
        let hash = hash(name);
        let at = self.families.binary_search_by_key(&hash, |family| family.0);
        Some(self.families[at.ok()?].1)
    }
}

/// FNV-1a. A page that is made for collisions deceives nobody but itself.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_times_of_creation_are_told_apart_from_metrics_of_such_names() {
        let mut types = Types::default();
        for (name, kind) in [
            ("s", "summary"),
            ("h", "histogram"),
            ("c", "counter"),
            ("gauge_created", "gauge"),
            ("h2", "histogram"),
            ("h2_created", "gauge"),
        ] {
            types.declare(name, kind);
        }
        for (name, extra) in [
            ("s", true),
            ("s_sum", false),
            ("s_count", false),
            ("s_created", true),
            ("h", false),
            ("h_bucket", false),
            ("h_created", true),
            ("c_total", false),
            ("c_created", false),
            ("gauge_created", false),
            ("h2_created", false),
            ("S", false),
        ] {
            assert_eq!(types.is_extra(name), extra, "{name}");
        }
        types.declare("s", "gauge");
        assert!(!types.is_extra("s"));
    }

    #[test]
    fn the_table_is_bounded_and_knows_the_newest_family() {
        let mut types = Types::default();
        for n in 0..3 * MOST {
            let name = format!("s{n}");
            types.declare(&name, "summary");
            assert!(types.is_extra(&name));
        }
        assert!(types.families.len() <= MOST);
    }
}
