//! Limits per second as the VMM's token buckets.

use super::super::vmm::config::TokenBucket;

/// A bucket for so many tokens a second: filled ten times a second, the limiter's own pace, where that is exact, else
/// once. At least one token.
pub(super) fn bucket(per_second: f64) -> TokenBucket {
    let whole = per_second.round().max(1.0) as u64;
    let (size, refill_time) = if whole.is_multiple_of(10) { (whole / 10, 100) } else { (whole, 1000) };
    TokenBucket { size, refill_time, ..TokenBucket::default() }
}

/// The same with a burst on top, which the VMM grants once.
pub(super) fn bucket_with_burst(per_second: f64, burst: Option<f64>) -> TokenBucket {
    let one_time_burst = burst.filter(|burst| *burst > per_second).map(|burst| burst.round() as u64);
    TokenBucket { one_time_burst, ..bucket(per_second) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rate_is_exact_and_the_refill_no_faster_than_the_limiter(rate in 1_u64..10_000_000_000) {
            let bucket = bucket(rate as f64);
            prop_assert_eq!(bucket.size * 1000, rate * bucket.refill_time);
            prop_assert!(bucket.refill_time >= 100 && bucket.size > 0);
        }
    }

    #[test]
    fn less_than_one_is_one() {
        assert_eq!(bucket(0.2).size, 1);
    }
}
