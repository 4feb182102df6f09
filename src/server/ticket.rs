//! Signed tickets: `PVE:user@realm:HEXTIME::SIGNATURE`, their CSRF tokens, and the challenge for a second factor.
//!
//! Made and verified here with a key that only this kit has; real servers sign with RSA, and no client looks inside.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::Kit;

/// Tickets and CSRF tokens are good for two hours; clocks may differ by five minutes.
const LIFETIME: i64 = 2 * 60 * 60;
const SKEW: i64 = 5 * 60;

/// What a challenge's JSON must not contain, because tickets are split at colons.
const IN_CHALLENGE: &AsciiSet = &CONTROLS.add(b':').add(b'%');

/// Marks a challenge where a ticket has its user.
const CHALLENGE: &str = "!tfa!";

/// A ticket for a user; nothing can be signed without a key.
pub(super) fn mint(kit: &Kit, user: &str) -> Option<String> {
    sign(kit, &format!("PVE:{user}:{:08X}", kit.now().as_second()), "")
}

/// The user of a ticket that is ours and not too old, and when it is over.
pub(super) fn verify(kit: &Kit, ticket: &str) -> Option<(String, Timestamp)> {
    let (user, begun) = verified(kit, ticket, "")?;
    let end = Timestamp::from_second(begun + LIFETIME).ok()?;
    (!user.starts_with(CHALLENGE)).then(|| (user.to_owned(), end))
}

/// The ticket of somebody who has yet to show a second factor of one of these kinds.
pub(super) fn mint_challenge(kit: &Kit, user: &str, kinds: &[&str]) -> Option<String> {
    let wanted: serde_json::Map<_, _> = kinds.iter().map(|kind| ((*kind).to_owned(), true.into())).collect();
    let wanted = serde_json::Value::from(wanted).to_string();
    let wanted = utf8_percent_encode(&wanted, IN_CHALLENGE);
    sign(kit, &format!("PVE:{CHALLENGE}{wanted}:{:08X}", kit.now().as_second()), user)
}

/// Whether this is a challenge that was given to this user.
pub(super) fn verify_challenge(kit: &Kit, ticket: &str, user: &str) -> bool {
    verified(kit, ticket, user).is_some_and(|(subject, _)| subject.starts_with(CHALLENGE))
}

/// The token that writes need beside the user's ticket: `HEXTIME:SIGNATURE`.
pub(super) fn mint_csrf(kit: &Kit, user: &str) -> Option<String> {
    let time = format!("{:08X}", kit.now().as_second());
    let signature = signature(kit, &format!("CSRF:{time}:{user}"), "")?;
    Some(format!("{time}:{signature}"))
}

/// Whether this is a CSRF token that was given to this user.
pub(super) fn verify_csrf(kit: &Kit, token: &str, user: &str) -> bool {
    token.split_once(':').is_some_and(|(time, given)| {
        begun(kit, time).is_some() && same(given, signature(kit, &format!("CSRF:{time}:{user}"), ""))
    })
}

/// The text between `PVE:` and the time, and the time, of what is signed by us for this subject and is not too old.
fn verified<'a>(kit: &Kit, ticket: &'a str, bound_to: &str) -> Option<(&'a str, i64)> {
    let (plain, given) = ticket.rsplit_once("::")?;
    let (subject, time) = plain.strip_prefix("PVE:")?.rsplit_once(':')?;
    let begun = begun(kit, time)?;
    same(given, signature(kit, plain, bound_to)).then_some((subject, begun))
}

fn sign(kit: &Kit, plain: &str, bound_to: &str) -> Option<String> {
    Some(format!("{plain}::{}", signature(kit, plain, bound_to)?))
}

/// When what is not too old was made, in seconds since 1970.
fn begun(kit: &Kit, time: &str) -> Option<i64> {
    let begun = i64::from_str_radix(time, 16).ok()?;
    let age = kit.now().as_second().checked_sub(begun)?;
    (-SKEW..=LIFETIME).contains(&age).then_some(begun)
}

fn signature(kit: &Kit, plain: &str, bound_to: &str) -> Option<String> {
    Some(STANDARD.encode(hmac(kit.secret()?, format!("{plain}\0{bound_to}").as_bytes())))
}

/// Compares without telling by the time it takes where the difference is.
fn same(given: &str, ours: Option<String>) -> bool {
    let Some(ours) = ours else { return false };
    given.len() == ours.len() && given.bytes().zip(ours.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, text: &[u8]| Sha256::new().chain_update(block.map(|byte| byte ^ pad)).chain_update(text);
    let inner = keyed(0x36, message).finalize();
    keyed(0x5c, &inner).finalize().into()
}

/// A cookie's or header's value, which may be percent-encoded or not.
pub(super) fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_gives_the_published_results() {
        // RFC 4231, cases 2 and 6.
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
