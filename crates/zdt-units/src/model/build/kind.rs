//! What a service is there for, and whose releases it runs with.

use std::collections::HashMap;

use super::super::{AbsolutePath, Companion, Kind, Release, Strategy};
use super::Build;
use super::text::{AtHand, unknown_word};
use crate::config::{At, Problem, ReleaseConfig, ServiceConfig, nearest};

/// How the service is replaced, as written or by default; not checked.
pub(super) fn strategy_word(config: &ServiceConfig) -> &str {
    let several = config.instances.as_ref().is_some_and(|it| it.value > 1);
    match &config.strategy {
        Some(word) => &word.value,
        None if word_of(config) == "worker" && several => "rolling",
        None => "queue",
    }
}

/// Whether clients miss it while nothing runs.
pub(super) fn serves(config: &ServiceConfig) -> bool {
    word_of(config) == "web"
}

/// The name of the service with whose releases this one runs.
fn whose(config: &ServiceConfig) -> &str {
    let of = config
        .release
        .as_ref()
        .and_then(|release| release.of.as_ref());
    &of.unwrap_or(&config.name).value
}

/// As they are written.
pub(super) fn heads(services: &[ServiceConfig]) -> HashMap<String, String> {
    let with = services.iter().filter_map(|config| {
        let of = config.release.as_ref()?.of.as_ref()?;
        Some((config.name.value.clone(), of.value.clone()))
    });
    with.collect()
}

/// What `{{release.path}}` begins with. Where the one who keeps the releases is a mistake, that is told already.
pub(super) fn root_of(
    config: &ServiceConfig,
    roots: &HashMap<String, AbsolutePath>,
) -> Option<AbsolutePath> {
    let root = roots.get(whose(config)).cloned();
    let is_told = config.release.as_ref().is_some_and(|it| it.of.is_some());
    root.or_else(|| AbsolutePath::parse("/").ok().filter(|_| is_told))
}

fn word_of(config: &ServiceConfig) -> &str {
    config.kind.as_ref().map_or("web", |word| &word.value)
}

impl Build {
    pub(super) fn kind(&mut self, config: &ServiceConfig) -> Option<Kind> {
        let Some(word) = &config.kind else {
            return Some(Kind::Web);
        };
        self.parse(word, |text| match text {
            "web" => Ok(Kind::Web),
            "worker" => Ok(Kind::Worker),
            "singleton" => Ok(Kind::Singleton),
            "service" => Ok(Kind::Service),
            _ => Err(unknown_word(
                "kind",
                text,
                &["web", "worker", "singleton", "service"],
            )),
        })
    }

    /// Whether `strategy`, or the number of processes, is not for this kind.
    pub(super) fn is_of_another_kind(
        &mut self,
        config: &ServiceConfig,
        strategy: Option<Strategy>,
    ) -> bool {
        let known = self.problems.len();
        let kind = word_of(config);
        let wrong = match (kind, strategy) {
            ("worker", Some(Strategy::Reload)) => {
                Some("a worker takes `queue`, `rolling` or `standby`")
            }
            (
                "singleton",
                Some(Strategy::Standby | Strategy::Rolling { .. } | Strategy::Reload),
            ) => Some(
                "the new process would run beside the old one; leave `strategy` out, which is `queue`",
            ),
            ("service", Some(Strategy::Standby | Strategy::Rolling { .. } | Strategy::Reload)) => {
                Some("it has one process; leave `strategy` out, which is `queue`")
            }
            _ => None,
        };
        if let (Some(hint), Some(word)) = (wrong, &config.strategy) {
            self.problems.push(
                Problem::new(
                    &word.at,
                    format!("`{}` is not a strategy for a {kind}", word.value),
                )
                .hint(hint),
            );
        }
        let several = config.instances.as_ref().filter(|number| number.value > 1);
        if let (Some(instances), "singleton" | "service") = (several, kind) {
            self.problems.push(
                Problem::new(
                    &instances.at,
                    format!("a {kind} is one process, not {}", instances.value),
                )
                .hint("leave `instances` out, or take `kind = \"worker\"`"),
            );
        }
        if let Some(handover) = config.handover.as_ref().filter(|wanted| wanted.value)
            && config.kind.is_some()
            && !serves(config)
            && config.listen.is_none()
            && config.sockets.is_empty()
        {
            self.problems.push(
                Problem::new(
                    &handover.at,
                    "there are no connections that could be handed over",
                )
                .hint("leave `handover` out: this service has no socket"),
            );
        }
        self.problems.len() > known
    }

    /// Where releases are kept, by the names of the services that keep them. Mistakes are told elsewhere.
    pub(super) fn roots(&mut self, services: &[ServiceConfig]) -> HashMap<String, AbsolutePath> {
        let known = self.problems.len();
        let mut roots = HashMap::new();
        for config in services {
            self.at_hand = Some(AtHand::of(config));
            let root = config.release.as_ref().and_then(|it| it.root.as_ref());
            let root = root.and_then(|root| self.parse(root, AbsolutePath::parse));
            let taken = config.release.as_ref().is_some_and(|it| it.of.is_some());
            if let Some(root) = root.filter(|_| !taken) {
                roots.insert(config.name.value.clone(), root);
            }
        }
        self.problems.truncate(known);
        roots
    }

    /// Releases of its own, or those of another service.
    #[expect(
        clippy::option_option,
        reason = "what was not written, and what is a mistake"
    )]
    pub(super) fn releases(
        &mut self,
        config: &ServiceConfig,
    ) -> (Option<Option<Release>>, Option<Option<Companion>>) {
        let Some(release) = &config.release else {
            return (None, None);
        };
        match &release.of {
            Some(of) => (None, Some(self.companion(config, release, of))),
            None => {
                if let Some(early) = &release.drain_early {
                    self.problems.push(
                        Problem::new(
                            &early.at,
                            "`drain_early` is for what runs with the releases of another service",
                        )
                        .hint("name that one: `release = { of = \"shop\", drain_early = true }`"),
                    );
                }
                (Some(self.release(release)), None)
            }
        }
    }

    fn companion(
        &mut self,
        config: &ServiceConfig,
        release: &ReleaseConfig,
        of: &At<String>,
    ) -> Option<Companion> {
        let known = self.problems.len();
        let own = [
            ("root", release.root.as_ref().map(|it| &it.at)),
            ("keep", release.keep.as_ref().map(|it| &it.at)),
            ("keep_days", release.keep_days.as_ref().map(|it| &it.at)),
        ];
        for (key, at) in own {
            let Some(at) = at else { continue };
            self.problems.push(
                Problem::new(
                    at,
                    format!(
                        "the releases are those of `{}`, so `{key}` is not for here",
                        of.value
                    ),
                )
                .hint(format!("leave out `{key}`, or `of`")),
            );
        }
        if word_of(config) == "service" {
            self.problems.push(
                Problem::new(
                    &of.at,
                    "a service of this kind is not part of the deployments of others",
                )
                .hint(
                    "take `kind = \"singleton\"` for one that is, or give it releases of its own",
                ),
            );
        }
        let early = release.drain_early.as_ref().filter(|early| early.value);
        if let Some(early) = early.filter(|_| word_of(config) != "worker") {
            self.problems.push(
                Problem::new(
                    &early.at,
                    format!("a {} does not drain early", word_of(config)),
                )
                .hint("only a `worker` does: work that it leaves is taken by another one"),
            );
        }
        if let Some(early) =
            early.filter(|_| word_of(config) == "worker" && strategy_word(config) == "standby")
        {
            self.problems.push(
                Problem::new(
                    &early.at,
                    "with `standby` another process takes work before this one drains",
                )
                .hint("leave out `drain_early`, or take `strategy = \"queue\"`"),
            );
        }
        if let Some(migrate) = &config.migrate {
            self.problems.push(
                Problem::new(
                    &migrate.at,
                    "data are migrated with the releases to which they belong",
                )
                .hint(format!("move `migrate` to `[service.{}]`", of.value)),
            );
        }
        self.check_head(config, of);
        let name = self.parse(of, super::Name::parse)?;
        let root = root_of(config, &self.roots)?;
        (self.problems.len() == known).then_some(Companion {
            of: name,
            root,
            drain_early: early.is_some(),
        })
    }

    /// The service whose releases are meant has some.
    fn check_head(&mut self, config: &ServiceConfig, of: &At<String>) {
        let name = of.value.as_str();
        if self.roots.contains_key(name) {
            return;
        }
        let problem = if name == config.name.value {
            Problem::new(&of.at, "these would be its own releases")
                .hint("say where they are: `release = { root = \"/srv/NAME\" }`")
        } else if let Some(head) = self.heads.get(name) {
            Problem::new(
                &of.at,
                format!("`{name}` runs with the releases of `{head}` itself"),
            )
            .hint(format!("take `of = \"{head}\"`"))
        } else if self.known.contains_key(name) {
            Problem::new(&of.at, format!("`{name}` has no releases")).hint(format!(
                "add `release = {{ root = \"/srv/{name}\" }}` to it"
            ))
        } else {
            let known: Vec<&str> = self.roots.keys().map(String::as_str).collect();
            let problem = Problem::new(&of.at, format!("there is no service `{name}`"));
            match nearest(name, &known) {
                Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                None => problem.hint("it is the name of a service of this file that has releases"),
            }
        };
        self.problems.push(problem);
    }
}
