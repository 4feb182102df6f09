//! The connections there are: how many may be, and which one goes when there are too many.
//!
//! Whoever is being answered stays; of those that wait for a request, slowly send one or do not take their answer, the
//! oldest goes. So nobody keeps others out by holding connections. What is said on them is not its business.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{guard::Limits, guard::Source, listen::Connection};

/// All connections, in the order in which they came.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    next: u64,
    by_age: BTreeMap<u64, (Source, Connection)>,
}

/// A connection's place, for as long as this is there.
pub(super) struct Seat {
    seats: Seats,
    number: u64,
}

impl Seats {
    /// A seat for a new connection; `None` when all are taken by others that are being answered.
    pub(super) fn take(&self, limits: &Limits, source: Source, connection: &Connection) -> Option<Seat> {
        let mut taken = self.taken();
        let of_source = taken.by_age.values().filter(|(from, _)| *from == source).count();
        if of_source >= limits.per_source {
            taken.clear_one(source)?;
        } else if taken.by_age.len() >= limits.connections {
            let most = taken.greediest()?;
            taken.clear_one(most)?;
        }
        let number = taken.next;
        taken.next += 1;
        taken.by_age.insert(number, (source, connection.clone()));
        drop(taken);
        Some(Seat { seats: self.clone(), number })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The source that has the most connections which could go.
    fn greediest(&self) -> Option<Source> {
        let mut counts = std::collections::HashMap::<Source, usize>::new();
        for (source, _) in self.by_age.values().filter(|(_, connection)| !connection.is_answered()) {
            *counts.entry(*source).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source)
    }

    /// Ends the oldest connection of a source that is not being answered.
    fn clear_one(&mut self, source: Source) -> Option<()> {
        let mut of_source = self.by_age.iter().filter(|(_, (from, _))| *from == source);
        let (number, _) = of_source.find(|(_, (_, connection))| !connection.is_answered())?;
        let number = *number;
        let (_, connection) = self.by_age.remove(&number)?;
        connection.hang_up();
        Some(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_waits_makes_room_and_who_is_answered_stays() {
        let limits = Limits { connections: 3, per_source: 2, ..Limits::strict() };
        let seats = Seats::default();
        let source = |last: u8| Source::of([192, 0, 2, last].into());
        let [first, second, third, other, more]: [Connection; 5] = Default::default();
        let _first = seats.take(&limits, source(1), &first).unwrap();
        let _second = seats.take(&limits, source(1), &second).unwrap();
        let answered = first.answering();
        let _third = seats.take(&limits, source(1), &third).unwrap();
        let stays = |connection: &Connection| seats.taken().by_age.values().any(|(_, have)| have.is(connection));
        assert!(stays(&first) && !stays(&second) && stays(&third));
        let also = third.answering();
        assert!(seats.take(&limits, source(1), &more).is_none(), "both are being answered");
        let _other = seats.take(&limits, source(2), &other).unwrap();
        drop((answered, also));
        let _more = seats.take(&limits, source(3), &more).unwrap();
        assert!(!stays(&first) && stays(&other), "who has the most gives one");
    }
}
