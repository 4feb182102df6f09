//! What breaks in the middle: answers that are lost, commands that are killed.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::*;

/// How much of what a client says after the server's first words is its request, and not a handshake.
const REQUEST: usize = 600;

/// Stands before a server, and loses its answer to the first request of a connection. Gives its address.
fn loses_answers(to: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, to) = (listener.local_addr().unwrap(), to.trim_start_matches("https://").to_owned());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
            let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let said = Arc::new(AtomicUsize::new(0));
            let heard = said.clone();
            thread::spawn(move || {
                let mut bytes = [0; 16 * 1024];
                let mut begun = false;
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    if begun {
                        said.fetch_add(count, Ordering::SeqCst);
                    }
                    begun = true;
                    if server.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
            });
            thread::spawn(move || {
                let mut bytes = [0; 16 * 1024];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    // The answer has a certificate in it; what comes before is shorter.
                    let is_answer = heard.load(Ordering::SeqCst) > REQUEST && count > REQUEST;
                    if is_answer || back.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = back.shutdown(Shutdown::Both);
            });
        }
    });
    format!("https://{address}")
}

#[test]
fn a_lost_answer_is_told_and_leaves_nothing_here() {
    let served = served();
    let once = token(&served, "");
    let env = Env::bare();
    let url = loses_answers(served.said("url"));
    let line = format!("enroll {url} --context host --fingerprint {} --token {once}", served.said("fingerprint"));
    let _ = env.run(&line).exits(10).says(&["may be used up", "serve enrollment list"]);
    assert!(!certificate(&env).exists() && !env.path(".config/pvectl/config.yaml").exists());
    // It was: whoever looks sees whom to revoke, and who tries again is told.
    assert_eq!(valid(&served).len(), 1);
    let _ = enroll(&served, &env, &once).exits(4).says(&["was used before"]);
    let _ = enroll(&served, &env, &token(&served, "")).ok();
}

#[test]
fn whenever_enroll_is_killed_the_next_one_goes_on() {
    let served = served();
    let env = Env::bare();
    for step in 0..12 {
        let once = token(&served, "");
        let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
        let line = format!("enroll {url} --context host --fingerprint {fingerprint} --token {once} --overwrite");
        let running = env.spawn(&line);
        thread::sleep(Duration::from_millis(15 * step));
        running.kill();
        let has_context = env.path(".config/pvectl/config.yaml").exists();
        if has_context {
            let _ = env.run("vm list").ok();
        }
    }
    let _ = enroll_over(&served, &env);
    let _ = env.run("vm list").ok();
}

fn enroll_over(served: &Served, env: &Env) -> Output {
    env.write("one-time", &token(served, ""));
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    env.run(&format!("enroll {url} --context host --fingerprint {fingerprint} --token-file one-time --overwrite")).ok()
}

#[test]
fn whenever_renew_is_killed_the_login_is_there() {
    let served = served();
    let (env, _) = enrolled(&served, "");
    for step in 0..16 {
        let running = env.spawn("renew");
        thread::sleep(Duration::from_millis(15 * step));
        running.kill();
        let _ = env.run("vm list").ok();
    }
    let _ = env.run("renew").ok();
    let _ = env.run("vm list").ok();
    // What was signed and never kept is taken away by the next one.
    assert_eq!(valid(&served).len(), 1);
    // Several at once wait for each other.
    let running: Vec<_> = (0..4).map(|_| env.spawn("renew")).collect();
    running.into_iter().for_each(|running| assert_eq!(running.wait().code, 0));
    let _ = env.run("vm list").ok();
    assert_eq!(valid(&served).len(), 1);
}
