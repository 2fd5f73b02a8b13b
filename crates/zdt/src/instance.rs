//! Which process answered: the identity that readiness is proved by.

use std::fmt;
use std::sync::OnceLock;

/// The identity of this process, as `/readyz` and `x-zdt-instance` name it.
///
/// On a shared socket the old process can answer a probe that was meant for the
/// new one, so a restart is verified by identity and never by status alone.
///
/// # Example
///
/// ```
/// let instance = zdt::instance();
/// assert_eq!(instance.pid, std::process::id());
/// assert!(instance.to_string().starts_with("pid="));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// The process id.
    pub pid: u32,
    /// systemd's id of this start of the unit (`INVOCATION_ID`).
    pub invocation: Option<String>,
    /// The release that runs (`ZDT_RELEASE`).
    pub release: Option<String>,
    /// The count of starts by this manager (`ZDT_GENERATION`).
    pub generation: Option<String>,
}

/// The identity of this process.
#[must_use]
pub fn instance() -> &'static Instance {
    static INSTANCE: OnceLock<Instance> = OnceLock::new();
    INSTANCE.get_or_init(Instance::from_environment)
}

impl Instance {
    #[expect(
        clippy::disallowed_methods,
        reason = "the service manager tells by the environment"
    )]
    fn from_environment() -> Self {
        let word = |name: &str| std::env::var(name).ok().filter(|value| is_word(value));
        Self {
            pid: std::process::id(),
            invocation: word("INVOCATION_ID"),
            release: word("ZDT_RELEASE"),
            generation: word("ZDT_GENERATION"),
        }
    }
}

/// Fit for a header whose parts are joined by spaces.
fn is_word(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `pid=123 invocation=… release=… generation=…`, leaving out what is unknown.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid={}", self.pid)?;
        let parts = [
            ("invocation", &self.invocation),
            ("release", &self.release),
            ("generation", &self.generation),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}
