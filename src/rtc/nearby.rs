//! Which packets a media port takes.
//!
//! A page that answers this machine alone takes sound from it alone. Its media port is open on all
//! interfaces all the same: Firefox pairs no candidate of its own with a loopback one, so a call from
//! this machine may come from any of the machine's addresses.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::mux::locked;

/// The machine's addresses are asked for again at most this often.
const FRESH: Duration = Duration::from_secs(1);

/// Who may send to the media port.
pub(super) struct Doorkeeper {
    /// The machine's own addresses; none where everybody may send.
    own: Option<Mutex<Own>>,
}

struct Own {
    addresses: HashSet<IpAddr>,
    asked: Instant,
}

impl Doorkeeper {
    /// `this_machine_only`: nothing is taken from elsewhere.
    pub(super) fn new(this_machine_only: bool) -> Self {
        let own = || Mutex::new(Own { addresses: own_addresses(), asked: Instant::now() });
        Self { own: this_machine_only.then(own) }
    }

    /// Whether a packet from there is taken.
    pub(super) fn lets_in(&self, from: IpAddr) -> bool {
        let Some(own) = &self.own else { return true };
        let from = from.to_canonical();
        if from.is_loopback() {
            return true;
        }
        let mut own = locked(own);
        if !own.addresses.contains(&from) && own.asked.elapsed() > FRESH {
            *own = Own { addresses: own_addresses(), asked: Instant::now() };
        }
        own.addresses.contains(&from)
    }
}

fn own_addresses() -> HashSet<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_let_in_by_any_of_its_addresses_and_strangers_are_not() {
        let near = Doorkeeper::new(true);
        let stranger: IpAddr = "192.0.2.7".parse().expect("an address");
        for own in own_addresses() {
            assert!(near.lets_in(own), "{own}");
        }
        assert!(near.lets_in("::ffff:127.0.0.1".parse().expect("an address")));
        assert!(!near.lets_in(stranger));
        assert!(Doorkeeper::new(false).lets_in(stranger));
    }
}
