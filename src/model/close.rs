//! Which of the known names a misspelt one may have meant. It knows no names of its own.

/// The three candidates most like a word, if they are like it at all.
pub fn closest(word: &str, candidates: impl Iterator<Item = String>) -> Vec<String> {
    const LIKE_ENOUGH: f64 = 0.8;
    let mut scored: Vec<(f64, String)> = candidates
        .map(|candidate| (strsim::jaro_winkler(word, &candidate), candidate))
        .filter(|(score, _)| *score >= LIKE_ENOUGH)
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    scored.dedup_by(|(_, a), (_, b)| a == b);
    scored.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}
