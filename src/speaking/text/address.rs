//! Web and mail addresses, read aloud: "example dot com".

use super::tongue::Marks;

/// Ends of host names that make an address of a bare `example.com`.
const ENDS: &[&str] = &[
    "com", "org", "net", "io", "dev", "fr", "de", "uk", "eu", "es", "it", "ch", "be", "ca", "us",
    "app", "ai", "gov", "edu", "info", "co", "tv",
];

/// How a web or mail address is read; `None` if the token is none.
pub(super) fn read(token: &str, marks: &Marks) -> Option<String> {
    let scheme = ["https://", "http://", "ftp://", "mailto:"]
        .into_iter()
        .find(|scheme| token.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme)));
    let rest = &token[scheme.map_or(0, str::len)..];
    let plain = rest.get(..4).filter(|www| www.eq_ignore_ascii_case("www."));
    let rest = &rest[plain.map_or(0, str::len)..];
    let mail = rest.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.split('.').filter(|part| !part.is_empty()).count() >= 2
    });
    if scheme.is_none() && plain.is_none() && !mail && !is_host(rest) {
        return None;
    }
    // Nobody wants to hear a query, or a path longer than a few words.
    let path = rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches('/');
    let host = path.split('/').next().unwrap_or(path);
    let address = if path.chars().count() <= 40 { path } else { host };
    let mut read = String::new();
    for c in address.chars() {
        let mark = match c {
            '.' => marks.dot,
            '/' => marks.slash,
            '@' => marks.at,
            '-' => marks.dash,
            '_' => marks.underscore,
            ':' => marks.colon,
            c if c.is_alphanumeric() => {
                read.push(c);
                continue;
            }
            _ => "",
        };
        read.push(' ');
        read.push_str(mark);
        read.push(' ');
    }
    Some(read.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|read| !read.is_empty())
}

/// `example.com`, `docs.example.org/guide`.
fn is_host(token: &str) -> bool {
    let host = token.split('/').next().unwrap_or(token);
    let mut labels = host.split('.').rev();
    let end = labels.next().unwrap_or_default();
    let named = |label: &str| {
        label.len() > 1
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && label.chars().any(char::is_alphabetic)
    };
    let mut labels = labels.peekable();
    ENDS.contains(&end) && labels.peek().is_some() && labels.all(named)
}
