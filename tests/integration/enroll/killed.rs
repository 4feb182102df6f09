//! A server that is killed while somebody enrolls: the one-time token and the certificate go together.

use std::time::Instant;

use serde_json::Value;

use super::{Served, enroll, served, token};
use crate::harness::Env;

/// Over so many moments between the first word of a client and its last the kills are spread.
const ROUNDS: u32 = 8;

fn rows(served: &Served, what: &str) -> Vec<Value> {
    served.host.env.json(&format!("serve {what} list")).as_array().unwrap().clone()
}

#[test]
fn a_token_is_used_if_and_only_if_its_certificate_is_in_the_book() {
    let mut served = served();
    let first = token(&served, "");
    let begun = Instant::now();
    let _ = enroll(&served, &Env::bare(), &first).ok();
    let usual = begun.elapsed();
    let mut used = 0;
    for round in 0..ROUNDS {
        let token = token(&served, "");
        let before = rows(&served, "certificate").len();
        let env = Env::bare();
        env.write("one-time", &token);
        let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
        let line = format!("enroll {url} --context host --fingerprint {fingerprint} --token-file one-time");
        let running = env.spawn(&line);
        std::thread::sleep(usual * round / (ROUNDS - 1));
        served.kill();
        let said = running.wait();

        let id = token.split('.').next().unwrap();
        let tokens = rows(&served, "enrollment");
        let row = tokens.iter().find(|row| row["id"] == id).unwrap();
        let certificates = rows(&served, "certificate");
        let of_it = certificates.iter().filter(|certificate| certificate["serial"] == row["serial"]).count();
        let is_used = row["serial"].is_string();
        assert_eq!((of_it, certificates.len()), (usize::from(is_used), before + usize::from(is_used)), "{round}");
        assert!(is_used || said.code != 0, "{round}: who was told that it is enrolled is in the book");

        let host = served.host;
        let env = host.env.clone();
        served = Served::of(host, &env, "");
        match is_used {
            // Not twice.
            true => drop(enroll(&served, &Env::bare(), &token).exits(4).says(&["used before"])),
            false => drop(enroll(&served, &Env::bare(), &token).ok()),
        }
        used += u32::from(is_used);
    }
    eprintln!("{used} of {ROUNDS} had their certificate when the server was killed");
    assert!(used < ROUNDS, "none was killed before its certificate was in the book");
}
