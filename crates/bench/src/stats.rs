//! Medians, quartiles and percentiles, all of them measured values: nothing is interpolated.

use hdrhistogram::Histogram;

use crate::report::Spread;

/// Nearest rank: the smallest value that is at least as large as this share of all values.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub fn median(values: Vec<f64>) -> Option<f64> {
    quantile(&sorted(values), 0.5)
}

/// Median and quartiles.
pub fn spread(values: Vec<f64>) -> Option<Spread> {
    let values = sorted(values);
    Some(Spread {
        low: quantile(&values, 0.25)?,
        median: quantile(&values, 0.5)?,
        high: quantile(&values, 0.75)?,
    })
}

/// `None` if the base is below the clock's resolution, where a ratio means nothing.
pub fn ratio(value: f64, base: f64) -> Option<f64> {
    (base >= 0.1).then(|| value / base)
}

/// Three significant digits, from one tick to some minutes.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 40, 3).expect("the bounds are right")
}

/// Points for a plot over the nines (1 is the 90th percentile, 2 the 99th), as long as there are values
/// beyond them; the last one is the maximum.
pub fn curve(values: &Histogram<u64>, convert: impl Fn(u64) -> f64) -> Vec<(f64, f64)> {
    if values.is_empty() {
        return Vec::new();
    }
    let last = (values.len() as f64).log10();
    let mut points: Vec<_> = (0..)
        .map(|tenths| f64::from(tenths) / 10.0)
        .take_while(|nines| *nines < last)
        .map(|nines| (nines, convert(values.value_at_quantile(1.0 - 10f64.powf(-nines)))))
        .collect();
    points.push((last, convert(values.max())));
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::random::Random;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values = sorted(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(quantile(&values, 0.5), Some(2.0));
        assert_eq!(quantile(&values, 0.51), Some(3.0));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn spread_is_median_and_quartiles() {
        let values = (1..=100).map(f64::from).collect();
        assert_eq!(spread(values), Some(Spread { low: 25.0, median: 50.0, high: 75.0 }));
        assert_eq!(spread(Vec::new()), None);
    }

    #[test]
    fn no_ratio_to_what_the_clock_cannot_tell() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
    }

    #[test]
    fn curve_ends_with_the_maximum() {
        let mut values = histogram();
        for value in 1..=1000 {
            values.record(value).unwrap();
        }
        let points = curve(&values, |ticks| ticks as f64);
        assert_eq!(points.first().unwrap().0, 0.0);
        assert_eq!(points[10], (1.0, 900.0));
        assert_eq!(points.last().unwrap(), &(3.0, 1000.0));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(curve(&histogram(), |ticks| ticks as f64).is_empty());
    }

    #[test]
    fn random_numbers_stay_below_their_end() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| random.below(10) < 10));
        assert_ne!(random.below(1_u64 << 60), random.below(1_u64 << 60));
    }
}
