//! What becomes of certificates and of the tokens that they are asked for with.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;

const LIFETIME: i64 = 100;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn signed(name: &str) -> Signed {
    Signed { chain: String::new(), fingerprint: format!("{name}-print"), serial: name.to_owned() }
}

fn new<'a>(signed: &'a Signed, second: i64) -> New<'a> {
    New { signed, user: "root@pam", issued: at(second), expires: at(second + LIFETIME) }
}

/// A book with a certificate of root's, `one`, of the second 1000.
fn book() -> (tempfile::TempDir, Access) {
    let home = tempfile::tempdir().unwrap();
    let access = Access::open(&home.path().join("tokens.db")).unwrap();
    access.set_password("root@pam", "correct horse").unwrap();
    let made = access.invite("root@pam", at(1000), at(1000) + Duration::from_secs(60), LIFETIME).unwrap();
    let found = access.check_enrollment(made.token.expose_secret(), at(1001)).unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.lifetime), (made.enrollment.id.as_str(), LIFETIME));
    access.enrolled(&found.id, &new(&signed("one"), 1000)).unwrap();
    // Once, and that is told to whoever has it.
    assert!(access.enrolled(&found.id, &new(&signed("two"), 1000)).is_err());
    let again = access.check_enrollment(made.token.expose_secret(), at(1001)).unwrap().unwrap_err();
    assert_eq!((again.class(), again.message()), (Class::Unauthenticated, USED));
    (home, access)
}

fn holds(access: &Access, name: &str, second: i64) -> bool {
    access.certified(&format!("{name}-print"), at(second)).is_ok()
}

#[test]
fn a_certificate_holds_until_its_end_or_until_it_is_revoked() {
    let (_home, access) = book();
    assert_eq!(access.certified("one-print", at(1050)).unwrap().expires, at(1100));
    assert!(holds(&access, "one", 1099) && !holds(&access, "one", 1100) && !holds(&access, "two", 1050));
    assert!(access.revoke("one", at(1050)).unwrap());
    assert!(!access.revoke("one", at(1060)).unwrap());
    assert!(!holds(&access, "one", 1055));
    assert_eq!(access.certificates().unwrap()[0].revoked, Some(at(1050)));
    assert_eq!(access.revoke("two", at(1050)).unwrap_err().class(), Class::NotFound);
}

#[test]
fn the_old_one_holds_until_the_new_one_is_used() {
    let (_home, access) = book();
    for name in ["two", "three"] {
        access.renewed("one", &new(&signed(name), 1010)).unwrap();
    }
    assert!(holds(&access, "one", 1020) && !holds(&access, "two", 1020));
    assert!(holds(&access, "three", 1020) && !holds(&access, "one", 1020));
    // What nobody has used yet goes with the one that it was to replace, and nothing comes of that one any more.
    access.renewed("three", &new(&signed("four"), 1030)).unwrap();
    access.revoke("three", at(1040)).unwrap();
    assert!(!holds(&access, "three", 1050) && !holds(&access, "four", 1050));
    assert!(access.renewed("three", &new(&signed("five"), 1050)).is_err());
}

#[test]
fn a_token_that_is_wrong_or_over_is_none() {
    let (_home, access) = book();
    let made = access.invite("root@pam", at(1000), at(1060), LIFETIME).unwrap();
    let over = access.check_enrollment(made.token.expose_secret(), at(1060)).unwrap().unwrap_err();
    assert_eq!(over.message(), OVER);
    for wrong in ["", ".", "x", "no.thing", &format!("{}.x", made.enrollment.id)] {
        assert!(access.check_enrollment(wrong, at(1001)).is_none(), "{wrong}");
    }
    assert_eq!(access.invite("eve@pve", at(1000), at(1060), LIFETIME).unwrap_err().class(), Class::NotFound);
    assert_eq!(access.enrollments().unwrap().len(), 2);
    access.delete_enrollment(&made.enrollment.id).unwrap();
    assert!(access.check_enrollment(made.token.expose_secret(), at(1001)).is_none());
}
