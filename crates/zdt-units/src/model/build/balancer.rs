//! Where a service is taken out of rotation.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{AbsolutePath, Balancer, Control, Member, Name, Rotation};
use super::Build;
use super::text::all_or_nothing;
use crate::config::{At, BalancerConfig, Problem};

impl Build {
    /// `None` after a mistake.
    pub(super) fn rotation(
        &mut self,
        config: &BalancerConfig,
        name: &At<String>,
    ) -> Option<Rotation> {
        let known = self.problems.len();
        let balancer = self.balancer(config);
        let server = config.server.as_ref();
        let server = server.map(|server| self.parse(server, Member::parse));
        let by_hand = config.drain.is_some() || config.restore.is_some();
        if config.server.is_none() && !by_hand {
            self.problems.push(
                Problem::new(
                    &config.at,
                    "`balancer` does not say which server this host is",
                )
                .hint("add `server = \"BACKEND/SERVER\"`, as the balancer calls them"),
            );
        }
        let settle = balancer.as_ref().map_or(Duration::ZERO, Balancer::settle);
        let settle = self.duration(config.settle.as_ref(), settle, Duration::ZERO);
        let least = Duration::from_millis(1);
        let timeout = self.duration(config.timeout.as_ref(), Rotation::TIMEOUT, least);
        let own = || {
            let name = Name::parse(&name.value).ok()?.to_string();
            Some(Member {
                backend: name.clone(),
                server: name,
            })
        };
        let server = all_or_nothing(server)?.or_else(own);
        (self.problems.len() == known).then_some(Rotation {
            balancer: balancer?,
            server: server?,
            settle: settle?,
            timeout: timeout?,
        })
    }

    fn balancer(&mut self, config: &BalancerConfig) -> Option<Balancer> {
        let program = config.drain.as_ref().or(config.restore.as_ref());
        let said = [
            config.haproxy.as_ref().map(|it| &it.at),
            config.nginx.as_ref().map(|it| &it.at),
            config.traefik.as_ref().map(|it| &it.at),
            program.map(|it| &it.at),
        ];
        let mut said = said.into_iter().flatten();
        if said.next().is_none() {
            self.problems.push(
                Problem::new(&config.at, "`balancer` names no balancer")
                    .hint("add one of `haproxy`, `nginx` and `traefik`, or `drain` with `restore`"),
            );
            return None;
        }
        if let Some(second) = said.next() {
            self.problems.push(
                Problem::new(second, "`balancer` names more than one balancer").hint(
                    "a server is taken out at one; what talks to several is a program: `drain`",
                ),
            );
            return None;
        }
        for (key, words) in [("test", &config.test), ("reload", &config.reload)] {
            if let (None, Some(words)) = (&config.nginx, words) {
                let what = format!("`{key}` is for `nginx`");
                let problem = Problem::new(&words.at, what).hint("leave it out");
                self.problems.push(problem);
            }
        }
        if let (None, Some(api)) = (&config.traefik, &config.api) {
            let problem = Problem::new(&api.at, "`api` is for `traefik`").hint("leave it out");
            self.problems.push(problem);
        }
        if let Some(control) = &config.haproxy {
            let control = self.parse(control, Control::parse);
            return control.map(|control| Balancer::Haproxy { control });
        }
        if let Some(file) = &config.traefik {
            let file = self.file(file);
            let api = config.api.as_ref();
            let api = api.map(|api| self.parse(api, Balancer::traefik_api));
            return Some(Balancer::Traefik {
                file: file?,
                api: all_or_nothing(api)?,
            });
        }
        let mut words = |words: &Option<At<Vec<At<String>>>>| {
            all_or_nothing(words.as_ref().map(|words| self.looked_up(words)))
        };
        if let Some(file) = &config.nginx {
            let (given_test, given_reload) = (words(&config.test), words(&config.reload));
            let default = Balancer::nginx(self.file(file)?);
            let Balancer::Nginx { file, test, reload } = default else {
                return Some(default);
            };
            return Some(Balancer::Nginx {
                file,
                test: given_test?.unwrap_or(test),
                reload: given_reload?.unwrap_or(reload),
            });
        }
        match (words(&config.drain), words(&config.restore)) {
            (Some(Some(drain)), Some(Some(restore))) => Some(Balancer::Command { drain, restore }),
            (None, _) | (_, None) => None,
            _ => {
                self.problems.push(
                    Problem::new(&config.at, "`drain` and `restore` go together")
                        .hint("what is taken out by a program is put back by one"),
                );
                None
            }
        }
    }

    fn file(&mut self, text: &At<String>) -> Option<PathBuf> {
        let path = self.parse(text, AbsolutePath::parse)?;
        Some(PathBuf::from(path.to_string()))
    }
}
