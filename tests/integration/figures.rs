//! `metrics --since`: what was kept of guests, drawn and as data.

use serde_json::json;

use crate::harness::Env;

#[test]
fn the_past_is_drawn_as_wide_as_the_terminal() {
    let env = Env::new();
    let drawn = env.run("vm metrics 100 --since 24h").ok();
    let lines: Vec<&str> = drawn.raw.lines().collect();
    assert_eq!(lines.len(), 1 + 6 * 4 + 1, "{drawn}");
    assert!(lines[0].starts_with("vm/100 (web-1) on pve1, 23h "), "{drawn}");
    for (at, title) in ["cpu", "memory", "network in", "network out", "disk read", "disk written"].iter().enumerate() {
        assert!(lines[1 + at * 4].starts_with(&format!("{title}  last ")), "{drawn}");
    }
    assert!(lines[5].contains(" of 2.00 GiB, average "), "{drawn}");
    let widths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width <= 100) && widths.contains(&100), "{widths:?}\n{drawn}");
    assert!(drawn.raw.contains('█'), "{drawn}");
    let plain = env.with("TERM", "dumb").with("COLUMNS", "60").run("vm metrics 100 --since 24h").ok();
    assert!(plain.raw.is_ascii() && plain.raw.contains('#'), "{plain}");
    assert!(plain.raw.lines().all(|line| line.len() <= 100), "{plain}");
    let off = env.run("vm metrics 101 --since 1h").ok();
    assert!(off.stdout.contains("cpu: nothing is kept of this time"), "{off}");
}

#[test]
fn the_past_is_data_as_the_server_has_it() {
    let env = Env::new();
    for (since, timeframe, rows) in
        [("30m", "hour", 30), ("24h", "day", 1440), ("3d", "week", 144), ("10d", "month", 480)]
    {
        let kept = env.json(&format!("vm metrics 100 --since {since}"));
        assert_eq!((&kept["timeframe"], kept["rows"].as_array().unwrap().len()), (&json!(timeframe), rows), "{since}");
    }
    let kept = env.json("vm metrics 100 --since 1h");
    let row = kept["rows"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&kept["vmid"], &kept["context"], &row["maxmem"]),
        (&json!(100), &json!("sandbox"), &json!(2_u64 << 30))
    );
    for key in ["time", "cpu", "mem", "netin", "netout", "diskread", "diskwrite"] {
        assert!(row[key].is_number(), "{key}: {row}");
    }
    assert_eq!(env.json("container metrics 110 --since 1h")["type"], json!("lxc"));
    assert_eq!(env.json("vm metrics 100,102 --since 1h").as_array().unwrap().len(), 2);
    let _ = env.run("vm metrics 100 --since 2y").exits(2).says(&["kept for a year"]);
    let _ = env.run("vm metrics 100 --since soon").exits(2).says(&["is no span of time"]);
    let _ = env.run("vm metrics --since 1h").exits(2);
}
