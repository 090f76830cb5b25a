//! Keys, scopes and secrets, without a gateway.

use serde_json::json;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn bearing(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().expect("a header value"))])
}

fn bearer(key: &str) -> HeaderMap {
    bearing(&format!("Bearer {key}"))
}

fn check(access: &Access, headers: &HeaderMap, scope: Scope) -> Result<Caller, ApiError> {
    access.check(headers, HERE, scope)
}

fn status(access: &Access, headers: &HeaderMap, scope: Scope) -> StatusCode {
    check(access, headers, scope).err().map_or(StatusCode::OK, |error| error.status)
}

/// A key that is good for calls and one for everything, with two calls at once.
fn two_keys() -> (Access, String, String) {
    let calls = new_key("calls", [Scope::Call].into_iter().collect(), None).unwrap();
    let all = new_key("all", Scopes::all(), None).unwrap();
    let text =
        format!("{}calls_at_once = 2\ncall_starts_per_minute = 3\n{}", calls.entry, all.entry);
    let keys = Keys::read("keys.toml", &text).unwrap();
    (Access::with_keys(keys), calls.key, all.key)
}

#[test]
fn only_the_key_opens() {
    let access = Access::with_key("secret");
    assert_eq!(check(&access, &bearer("secret"), Scope::Call).unwrap().owner(), "owner");
    assert!(check(&access, &bearing("bearer secret"), Scope::Admin).is_ok());
    for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer "] {
        assert_eq!(status(&access, &bearing(wrong), Scope::Call), StatusCode::UNAUTHORIZED);
    }
    assert!(check(&access, &HeaderMap::new(), Scope::Call).is_err());
    let caller = check(&Access::open(), &HeaderMap::new(), Scope::Call).unwrap();
    assert_eq!((caller.owner(), caller.may(Scope::Admin)), ("anybody", true));
}

#[test]
fn a_websocket_brings_its_key_as_a_subprotocol() {
    let access = Access::with_key("secret");
    for (value, good) in [
        ("realtime, openai-insecure-api-key.secret, openai-beta.realtime-v1", true),
        ("eva-key.secret", true),
        ("realtime, eva-key.wrong", false),
        ("secret", false),
    ] {
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
        assert_eq!(check(&access, &headers, Scope::Call).is_ok(), good, "{value}");
    }
}

#[test]
fn a_key_opens_what_its_scopes_say() {
    let (access, calls, all) = two_keys();
    assert_eq!(check(&access, &bearer(&calls), Scope::Call).unwrap().owner(), "calls");
    for scope in [Scope::Chat, Scope::Speech, Scope::Admin] {
        assert_eq!(status(&access, &bearer(&calls), scope), StatusCode::FORBIDDEN);
        assert_eq!(status(&access, &bearer(&all), scope), StatusCode::OK);
    }
    access.replace_keys(Keys::one("other"));
    assert_eq!(status(&access, &bearer(&all), Scope::Call), StatusCode::UNAUTHORIZED);
    assert_eq!(status(&access, &bearer("other"), Scope::Call), StatusCode::OK);
}

#[test]
fn a_secret_makes_calls_and_nothing_else() {
    let (access, calls, all) = two_keys();
    let key = check(&access, &bearer(&all), Scope::Call).unwrap();
    let session = json!({"voice": "x"});
    let secret = access.issue(&key, 60, Some(session.clone())).unwrap();
    let shown = bearer(&secret.value);
    let caller = check(&access, &shown, Scope::Call).unwrap();
    assert_eq!((caller.owner(), caller.is_ephemeral()), ("all", true));
    assert_eq!(access.session_of(&caller), Some(session));
    assert_eq!(access.session_of(&key), None);
    for scope in [Scope::Chat, Scope::Speech, Scope::Admin] {
        assert_eq!(status(&access, &shown, scope), StatusCode::FORBIDDEN);
    }
    assert_eq!(access.issue(&caller, 60, None).unwrap_err().status, StatusCode::FORBIDDEN);
    for ttl in [0, 9, 7201, u64::MAX] {
        assert_eq!(access.issue(&key, ttl, None).unwrap_err().code, "bad_ttl");
    }
    assert_eq!(status(&access, &bearer("ek_nonsense"), Scope::Call), StatusCode::UNAUTHORIZED);
    // With its key a secret is gone too.
    let key = check(&access, &bearer(&calls), Scope::Call).unwrap();
    let of_calls = access.issue(&key, 60, None).unwrap();
    access.replace_keys(Keys::one("other"));
    for value in [secret.value, of_calls.value] {
        assert_eq!(status(&access, &bearer(&value), Scope::Call), StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn a_key_has_limits_of_its_own() {
    let (access, calls, all) = two_keys();
    let caller = check(&access, &bearer(&calls), Scope::Call).unwrap();
    let first = access.call_ticket(&caller).unwrap();
    let _second = access.call_ticket(&caller).unwrap();
    assert_eq!(access.call_ticket(&caller).unwrap_err().code, "too_many_calls");
    drop(first);
    let error = access.call_ticket(&caller).unwrap_err();
    assert_eq!((error.code, error.retry_after), ("rate_limit_exceeded", Some(20)));
    let caller = check(&access, &bearer(&all), Scope::Call).unwrap();
    assert!(access.call_ticket(&caller).is_ok());
}
