//! A series of figures as a picture of characters.
//!
//! Knows nothing of what it draws but numbers over time.

/// From nothing to a whole cell.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for a terminal that knows no blocks.
const PLAIN: [char; 9] = [' ', '.', ':', '-', '=', '+', '*', '%', '#'];

/// The averages of the points in each of so many equal spans of time; nothing for a span without any.
pub(crate) fn spans(points: &[(f64, Option<f64>)], count: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0_u32); count];
    let first = points.iter().map(|(time, _)| *time).fold(f64::INFINITY, f64::min);
    let last = points.iter().map(|(time, _)| *time).fold(f64::NEG_INFINITY, f64::max);
    let length = (last - first).max(1.0);
    for (time, value) in points {
        let place = ((time - first) / length * count as f64) as usize;
        if let (Some(value), Some((sum, number))) = (value, sums.get_mut(place.min(count.saturating_sub(1)))) {
            *sum += value;
            *number += 1;
        }
    }
    sums.into_iter().map(|(sum, number)| (number > 0).then(|| sum / f64::from(number))).collect()
}

/// Columns as high as their values, the upper line first; `top` is what fills a column. What is not nothing is seen.
pub(crate) fn columns(values: &[Option<f64>], height: usize, top: f64, plain: bool) -> Vec<String> {
    let marks = if plain { PLAIN } else { BLOCKS };
    let level = |value: Option<f64>| {
        let value = value.unwrap_or(0.0).max(0.0);
        let whole = (value / top * height as f64 * 8.0).round() as usize;
        if value > 0.0 { whole.max(1) } else { 0 }
    };
    let line = |below: usize| -> String {
        let cell = |value: &Option<f64>| marks[level(*value).saturating_sub(8 * below).min(8)];
        values.iter().map(cell).collect::<String>().trim_end().to_owned()
    };
    (0..height).rev().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fall_into_spans_of_time() {
        let points = [(0.0, Some(1.0)), (1.0, Some(3.0)), (2.0, None), (8.0, Some(5.0)), (10.0, Some(7.0))];
        assert_eq!(spans(&points, 5), [Some(2.0), None, None, None, Some(6.0)]);
        assert_eq!(spans(&[], 2), [None, None]);
        assert_eq!(spans(&[(5.0, Some(1.0))], 2), [Some(1.0), None]);
    }

    #[test]
    fn columns_are_as_high_as_their_values() {
        let values = [Some(0.0), Some(0.001), Some(4.0), Some(8.0), Some(12.0), Some(16.0), None];
        assert_eq!(columns(&values, 2, 16.0, false), ["    ▄█", " ▁▄███"]);
        assert_eq!(columns(&values, 1, 16.0, true), [" .:=*#"]);
        assert_eq!(columns(&[None], 1, 0.0, false), [""]);
    }
}
