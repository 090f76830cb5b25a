//! How often callers may come: token buckets for each address and each key.
//!
//! In: an address, a key. Out: leave to go on, or an error with the seconds to wait. Calls at once
//! and half-open ones are counted in [`crate::admission`]. This machine's own addresses have no
//! limit of their own, so that nobody who develops on it meets one.

use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::ApiError;
use crate::admission::{CallLimits, Denied, network};

/// Requests that may come at once after a pause, in seconds' worth of the lasting rate.
const BURST_S: u32 = 4;
/// Addresses that are remembered until those that paused are forgotten at once.
const MANY_ADDRESSES: usize = 50_000;

/// What one address may do, and what all may.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests a second from one address; no limit where `None`.
    pub requests_per_second: Option<NonZeroU32>,
    /// Calls that one address may begin in a minute.
    pub call_starts_per_minute: Option<NonZeroU32>,
    /// Calls at once.
    pub calls: CallLimits,
}

impl Limits {
    /// What fits a gateway for so many calls at once.
    pub fn for_places(places: usize) -> Self {
        Self {
            requests_per_second: NonZeroU32::new(50),
            call_starts_per_minute: NonZeroU32::new(30),
            calls: CallLimits::for_places(places),
        }
    }

    /// No limits: for measurements and tests.
    pub fn none() -> Self {
        Self { requests_per_second: None, call_starts_per_minute: None, calls: CallLimits::none() }
    }
}

fn per_second(rate: NonZeroU32) -> Quota {
    Quota::per_second(rate)
        .allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_S - 1)))
}

/// One bucket, for a key.
pub struct Rate(DefaultDirectRateLimiter);

impl Rate {
    /// So many a second, four seconds' worth at once after a pause.
    pub fn per_second(rate: NonZeroU32) -> Self {
        Self(RateLimiter::direct(per_second(rate)))
    }

    /// So many a minute, all at once after a pause.
    pub fn per_minute(rate: NonZeroU32) -> Self {
        Self(RateLimiter::direct(Quota::per_minute(rate)))
    }

    /// Takes one.
    ///
    /// # Errors
    /// The seconds until there is one again.
    pub fn take(&self) -> Result<(), u32> {
        self.0
            .check()
            .map_err(|until| whole_seconds(until.wait_time_from(DefaultClock::default().now())))
    }
}

/// A bucket for each address.
pub(super) struct Rates {
    requests: Option<DefaultKeyedRateLimiter<IpAddr>>,
    call_starts: Option<DefaultKeyedRateLimiter<IpAddr>>,
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            requests: limits.requests_per_second.map(|rate| RateLimiter::keyed(per_second(rate))),
            call_starts: limits
                .call_starts_per_minute
                .map(|rate| RateLimiter::keyed(Quota::per_minute(rate))),
        }
    }

    /// One more request from there.
    pub(super) fn request(&self, from: IpAddr) -> Result<(), ApiError> {
        take(self.requests.as_ref(), from)
            .map_err(|wait| too_often("Your address sends too many requests", wait))
    }

    /// One more call from there.
    pub(super) fn call_start(&self, from: IpAddr) -> Result<(), ApiError> {
        take(self.call_starts.as_ref(), from)
            .map_err(|wait| too_often("Your address begins too many calls", wait))
    }

    /// Forgets addresses that have paused.
    pub(super) fn sweep(&self) {
        for rates in [&self.requests, &self.call_starts].into_iter().flatten() {
            rates.retain_recent();
        }
    }
}

fn take(rates: Option<&DefaultKeyedRateLimiter<IpAddr>>, from: IpAddr) -> Result<(), u32> {
    let Some(rates) = rates.filter(|_| !from.is_loopback()) else { return Ok(()) };
    if rates.len() > MANY_ADDRESSES {
        rates.retain_recent();
    }
    rates
        .check_key(&network(from))
        .map_err(|until| whole_seconds(until.wait_time_from(DefaultClock::default().now())))
}

fn whole_seconds(wait: std::time::Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// The error of who comes too often.
pub(super) fn too_often(what: &str, wait: u32) -> ApiError {
    let message = format!("{what}; wait {wait} s, then go on.");
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message).retry_after(wait)
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::HalfOpen => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(5)
            }
            Denied::HalfOpenHere(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_offers", message).retry_after(5)
            }
            Denied::Address(_) | Denied::Owner(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", message).retry_after(5)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_comes_too_often_waits_and_others_do_not() {
        let limits = Limits { requests_per_second: NonZeroU32::new(2), ..Limits::for_places(8) };
        let rates = Rates::new(&limits);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..8 {
            assert!(rates.request(one).is_ok());
        }
        let error = rates.request(one).unwrap_err();
        assert_eq!(error.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(error.retry_after, Some(1));
        assert!(rates.request(other).is_ok());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!((0..1000).all(|_| rates.request(loopback).is_ok()));
        rates.sweep();
    }
}
