//! How many calls one caller may hold, and how many may be half open.
//!
//! In: a wish to begin a call, with its owner and address. Out: a [`CallTicket`], given back when it
//! is dropped, or a [`Denied`]. A call is half open from its ticket until its media connects: an
//! offer costs its sender one request and the gateway a place for some seconds, so few may be half
//! open at once and live callers keep their places. Knows no keys and no media.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most calls, by what they have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// From one address, loopback excepted.
    pub per_address: usize,
    /// Not connected yet, in all.
    pub half_open: usize,
    /// Not connected yet, from one address.
    pub half_open_per_address: usize,
}

impl CallLimits {
    /// What fits a gateway for so many calls: no address takes more than half of it, and offers
    /// that never connect leave a quarter of it free.
    pub fn for_places(places: usize) -> Self {
        Self {
            per_address: (places / 2).max(2),
            half_open: (places * 3 / 4).max(4),
            half_open_per_address: (places / 2).max(2),
        }
    }

    /// No limits.
    pub fn none() -> Self {
        let most = usize::MAX;
        Self { per_address: most, half_open: most, half_open_per_address: most }
    }
}

/// Why a call may not begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The owner has as many calls as its key allows.
    #[error("Your key has {0} calls already, which is as many as it may have; end one first.")]
    Owner(usize),
    /// The address has as many as it may have.
    #[error("Your address has {0} calls already, which is as many as it may have; end one first.")]
    Address(usize),
    /// Offers from there were not followed by media.
    #[error(
        "Your address has {0} calls that are not connected yet; connect them, or wait until they are given up."
    )]
    HalfOpenHere(usize),
    /// Too many offers everywhere.
    #[error("Many calls are being set up just now; try again in a few seconds.")]
    HalfOpen,
}

/// Tells whether a call is connected by now.
type Connected = Box<dyn Fn() -> bool + Send>;

struct Entry {
    owner: Arc<str>,
    network: IpAddr,
    connected: Connected,
}

#[derive(Default)]
struct Table {
    next: u64,
    calls: HashMap<u64, Entry>,
}

/// The calls in progress, as far as limits go. Holds one entry a call, so it is as large as the
/// gateway's own table.
pub struct Admission {
    limits: CallLimits,
    table: Arc<Mutex<Table>>,
}

impl Admission {
    /// Nobody has called yet.
    pub fn new(limits: CallLimits) -> Self {
        Self { limits, table: Arc::default() }
    }

    /// Takes a call in. `most` is what the owner may have at once.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub fn enter(
        &self,
        owner: &Arc<str>,
        address: IpAddr,
        most: Option<usize>,
    ) -> Result<CallTicket, Denied> {
        let network = network(address);
        let mut table = locked(&self.table);
        let mut counts = [0_usize; 4];
        for call in table.calls.values() {
            let half_open = !(call.connected)();
            let here = call.network == network;
            let marks = [*call.owner == **owner, here, half_open, half_open && here];
            counts.iter_mut().zip(marks).for_each(|(count, mark)| *count += usize::from(mark));
        }
        let [owned, here, half_open, half_open_here] = counts;
        let limits = &self.limits;
        if let Some(most) = most.filter(|most| owned >= *most) {
            return Err(Denied::Owner(most));
        }
        if here >= limits.per_address && !address.is_loopback() {
            return Err(Denied::Address(here));
        }
        if half_open_here >= limits.half_open_per_address {
            return Err(Denied::HalfOpenHere(half_open_here));
        }
        if half_open >= limits.half_open {
            return Err(Denied::HalfOpen);
        }
        let id = table.next;
        table.next += 1;
        let entry = Entry { owner: owner.clone(), network, connected: Box::new(|| false) };
        table.calls.insert(id, entry);
        Ok(CallTicket { id, table: self.table.clone() })
    }

    /// Calls that hold a ticket.
    pub fn calls(&self) -> usize {
        locked(&self.table).calls.len()
    }
}

/// A call's leave to be there; keep it as long as the call.
pub struct CallTicket {
    id: u64,
    table: Arc<Mutex<Table>>,
}

impl CallTicket {
    /// The call is half open until `connected` says that it is not. It is asked whenever a call
    /// begins, so it must be quick and keep nothing alive.
    pub fn follow(&self, connected: impl Fn() -> bool + Send + 'static) {
        if let Some(call) = locked(&self.table).calls.get_mut(&self.id) {
            call.connected = Box::new(connected);
        }
    }

    /// The call is connected: over a WebSocket it is from the start.
    pub fn connected(&self) {
        self.follow(|| true);
    }
}

impl Drop for CallTicket {
    fn drop(&mut self) {
        locked(&self.table).calls.remove(&self.id);
    }
}

impl std::fmt::Debug for CallTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CallTicket").field(&self.id).finish()
    }
}

fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What limits count as one address: IPv4 as it is, of IPv6 the /64 that one customer gets.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn far(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn half_open_offers_leave_room_and_connected_ones_do_not_count() {
        let admission = Admission::new(CallLimits::for_places(8));
        let owner: Arc<str> = "a".into();
        let first: Vec<_> =
            (0..4).map(|_| admission.enter(&owner, far(1), None).unwrap()).collect();
        assert_eq!(admission.enter(&owner, far(1), None).unwrap_err(), Denied::Address(4));
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let _two = [(); 2].map(|()| admission.enter(&owner, loopback, None).unwrap());
        assert_eq!(admission.enter(&owner, far(2), None).unwrap_err(), Denied::HalfOpen);
        let connected = Arc::new(AtomicBool::new(false));
        let flag = connected.clone();
        first[0].follow(move || flag.load(Ordering::Relaxed));
        assert!(admission.enter(&owner, far(2), None).is_err());
        connected.store(true, Ordering::Relaxed);
        assert!(admission.enter(&owner, far(2), None).is_ok());
        drop(first);
        assert_eq!(admission.calls(), 2);
    }

    #[test]
    fn one_address_cannot_hold_all_half_open_places() {
        let admission = Admission::new(CallLimits::for_places(8));
        let owner: Arc<str> = "a".into();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let _held = [(); 4].map(|()| admission.enter(&owner, loopback, None).unwrap());
        let denied = admission.enter(&owner, loopback, None).unwrap_err();
        assert_eq!(denied, Denied::HalfOpenHere(4));
        assert!(admission.enter(&owner, far(1), None).is_ok());
    }

    #[test]
    fn an_owner_has_as_many_calls_as_its_key_allows() {
        let admission = Admission::new(CallLimits::none());
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let held = admission.enter(&one, far(1), Some(1)).unwrap();
        held.connected();
        assert_eq!(admission.enter(&one, far(2), Some(1)).unwrap_err(), Denied::Owner(1));
        assert!(admission.enter(&other, far(2), Some(1)).is_ok());
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
