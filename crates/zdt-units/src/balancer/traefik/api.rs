//! What Traefik's API says of a service of its file provider.

use serde_json::Value;

use crate::balancer::{State, Trouble};

/// What it is asked for.
pub fn path(backend: &str) -> String {
    let mut path = "/api/http/services/".to_owned();
    for byte in backend.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path + "@file"
}

/// How Traefik has the server with that URL. Out: not at all.
pub fn state(status: u16, body: &[u8], backend: &str, url: &str) -> Result<State, Trouble> {
    match status {
        200 => {}
        404 => {
            return Err(Trouble::new(
                None,
                format!("there is no service `{backend}@file`"),
                "is it Traefik's API, with `insecure: true` or a router, and did Traefik take the file? Its log says",
            ));
        }
        _ => {
            return Err(Trouble::new(
                None,
                format!("it answers {status}"),
                "it has to answer without a password to this host",
            ));
        }
    }
    let told: Value = serde_json::from_slice(body).map_err(|error| {
        Trouble::new(
            None,
            format!("it does not answer in JSON: {error}"),
            "is it Traefik's API?",
        )
    })?;
    let servers = told["loadBalancer"]["servers"].as_array();
    let has = servers.is_some_and(|servers| servers.iter().any(|server| server["url"] == url));
    Ok(match (has, told["serverStatus"][url].as_str()) {
        (false, _) => State::Out,
        (true, Some("DOWN")) => State::Down,
        (true, _) => State::Up,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Traefik 3.7 says it.
    const TWO: &str = r#"{"loadBalancer":{"servers":[{"url":"http://h:1"},{"url":"http://h:2"}],
        "strategy":"wrr","passHostHeader":true},"status":"enabled","usedBy":["shop@file"],"name":"shop@file",
        "provider":"file","type":"loadbalancer","serverStatus":{"http://h:1":"UP","http://h:2":"DOWN"}}"#;
    const NONE: &str =
        r#"{"loadBalancer":{"strategy":"wrr"},"status":"enabled","name":"shop@file"}"#;

    #[test]
    fn a_server_is_out_where_it_is_not_told() {
        let state = |body: &str, url| state(200, body.as_bytes(), "shop", url).unwrap();
        assert_eq!(state(TWO, "http://h:1"), State::Up);
        assert_eq!(state(TWO, "http://h:2"), State::Down);
        assert_eq!(state(TWO, "http://h:3"), State::Out);
        assert_eq!(state(NONE, "http://h:1"), State::Out);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let told = |status, body: &str| {
            let trouble = state(status, body.as_bytes(), "shop", "http://h:1").unwrap_err();
            trouble.to_string()
        };
        let unknown = r#"{"message":"service not found: shop@file"}"#;
        assert_eq!(told(404, unknown), "there is no service `shop@file`");
        assert_eq!(told(401, ""), "it answers 401");
        assert!(told(200, "<html>").starts_with("it does not answer in JSON: "));
    }

    #[test]
    fn names_are_words_of_a_path() {
        assert_eq!(path("shop-1.a_b"), "/api/http/services/shop-1.a_b@file");
        assert_eq!(path("a?b/ö"), "/api/http/services/a%3Fb%2F%C3%B6@file");
    }
}
