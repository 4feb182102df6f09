//! Lists as Proxmox writes them into one text: `a,b;c d`.
//!
//! The text is kept as it came. Tags, which are a set of words with rules of their own, are [`Tags`](super::Tags).

use std::fmt;

/// A text whose members stand between commas, semicolons and white space, in any mixture.
///
/// ```
/// use pvectl::model::List;
///
/// let mut order = List::from("scsi0;net0");
/// order.push("ide2");
/// assert_eq!(order.iter().collect::<Vec<_>>(), ["scsi0", "net0", "ide2"]);
/// assert_eq!(order.to_string(), "scsi0;net0;ide2");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct List(String);

impl List {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// The members, without what is between them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        Self::members(&self.0)
    }

    /// The same of a text that is looked at and left.
    pub fn members(text: &str) -> impl Iterator<Item = &str> {
        text.split(is_between).filter(|member| !member.is_empty())
    }

    /// Whether this very member is there.
    pub fn contains(&self, member: &str) -> bool {
        self.iter().any(|have| have == member)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Adds one at the end, after what stands between the others: a semicolon if there is nothing to go by, for that is
    /// the one that may also stand in a property string.
    pub fn push(&mut self, member: &str) {
        if !self.is_empty() && !self.0.ends_with(is_between) {
            let between = self.0.trim_start_matches(is_between).chars().find(|c| is_between(*c)).unwrap_or(';');
            self.0.push(between);
        }
        self.0.push_str(member);
    }
}

fn is_between(c: char) -> bool {
    matches!(c, ',' | ';' | '\0') || c.is_whitespace()
}

impl From<&str> for List {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for List {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl<S: AsRef<str>> FromIterator<S> for List {
    /// With semicolons between them.
    fn from_iter<I: IntoIterator<Item = S>>(members: I) -> Self {
        let mut list = Self::new();
        members.into_iter().for_each(|member| list.push(member.as_ref()));
        list
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_stands_between() {
        let list = List::from("a,b;c d,, e\0f");
        assert_eq!(list.iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e", "f"]);
        assert!(List::from(" ;,").is_empty() && !list.is_empty() && list.contains("d") && !list.contains("a,b"));
    }

    #[test]
    fn a_new_member_stands_like_the_others() {
        for (before, after) in
            [("", "x"), ("a", "a;x"), ("a b", "a b x"), ("a,b;c", "a,b;c,x"), ("a,", "a,x"), (" ;a", " ;a;x")]
        {
            let mut list = List::from(before);
            list.push("x");
            assert_eq!(list.to_string(), after);
        }
    }

    proptest! {
        #[test]
        fn survives_a_round_trip(text in "[a-c,; \t]{0,20}", members in proptest::collection::vec("[a-z0-9.:/-]{1,8}", 0..6)) {
            prop_assert_eq!(List::from(&*text).to_string(), text);
            let list: List = members.iter().collect();
            let read = List::from(list.to_string());
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), members);
        }
    }
}
