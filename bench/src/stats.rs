//! Numbers out of samples.

/// The sample below which `share` of all samples lie, by nearest rank; 0 when there is none.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The middle sample.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The median of the ratios of samples taken side by side: what slows the whole machine down cancels out.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let pairs: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    median(&pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_is_the_last_but_one() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((median(&samples), quantile(&samples, 0.99)), (50.0, 99.0));
    }

    #[test]
    fn a_ratio_is_taken_pair_by_pair() {
        assert_eq!(ratio(&[1.0, 20.0, 3.0], &[2.0, 40.0, 6.0]), 0.5);
    }

    #[test]
    fn no_sample_is_no_panic() {
        assert_eq!(median(&[]), 0.0);
    }
}
