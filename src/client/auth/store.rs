//! Where tickets are kept between runs, as a trait; the command line has a file for it.

use jiff::Timestamp;
use secrecy::SecretString;

/// A ticket as it is kept.
#[derive(Debug, Clone)]
pub struct StoredTicket {
    /// The ticket, `PVE:user@realm:…`.
    pub ticket: SecretString,
    /// What a change must carry beside it.
    pub csrf: SecretString,
    /// When it came, by this machine's clock. It lives for two hours from then.
    pub issued: Timestamp,
}

/// Keeps tickets. What it keeps is as good as a password for two hours.
///
/// It may fail silently: a ticket that is not found is bought anew.
pub trait TicketStore: Send + Sync {
    /// The ticket that was saved under this key.
    fn load(&self, key: &str) -> Option<StoredTicket>;

    /// Keeps a ticket under this key, in place of an earlier one.
    fn save(&self, key: &str, ticket: &StoredTicket);

    /// Drops a ticket that is no longer good.
    fn forget(&self, key: &str);
}
