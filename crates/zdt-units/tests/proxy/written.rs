//! Whole files for whole `zdt.toml`s, and what the programs say to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use zdt_units::model::Model;
use zdt_units::render::{ProxyFile, proxy_file};

use super::running::{NEWER_NGINX, Proxy};

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxy/cases");
    let entries = fs::read_dir(directory).unwrap();
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 6, "the cases are gone: {cases:?}");
    cases
}

/// The file, or what is said in its place.
fn written(text: &str, proxy: Proxy, names: &[&str]) -> Result<ProxyFile, String> {
    let model = Model::read("zdt.toml", text).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    proxy_file(&model, "zdt.toml", proxy.kind(), &names).map_err(|mistakes| {
        let said = mistakes.into_iter();
        let said = said.map(|it| format!("{}\n  {}\n", it.message, it.hint.unwrap_or_default()));
        said.collect()
    })
}

pub(super) fn every_case_is_written_as_expected() {
    for case in cases() {
        let text = fs::read_to_string(case.join("zdt.toml")).unwrap();
        let mut files = BTreeMap::new();
        for proxy in Proxy::ALL {
            match written(&text, proxy, &[]) {
                Ok(file) => {
                    assert_eq!(
                        written(&text, proxy, &[]).unwrap(),
                        file,
                        "not twice the same"
                    );
                    if !file.notes.is_empty() {
                        files.insert(format!("{}.notes", file.name), file.notes.join("\n") + "\n");
                    }
                    files.insert(file.name.to_owned(), file.text);
                }
                Err(said) => drop(files.insert(format!("{}.refused", proxy.program()), said)),
            }
        }
        let directory = case.join("expected");
        if std::env::var_os("BLESS").is_some() {
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir(&directory).unwrap();
            for (name, text) in &files {
                fs::write(directory.join(name), text).unwrap();
            }
        }
        let entries = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap());
        let expected: BTreeMap<String, String> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        assert!(
            files.keys().eq(expected.keys()),
            "{}: {:?}",
            case.display(),
            files.keys()
        );
        for (name, text) in &files {
            assert!(
                *text == expected[name],
                "{}/{name} is not what is written:\n{text}",
                directory.display()
            );
        }
    }
}

pub(super) fn what_cannot_be_written_is_told() {
    let service =
        |name: &str, more: &str| format!("[service.{name}]\nexec = [\"/bin/{name}\"]\n{more}\n");
    let a = service("a", "listen = \":80\"");
    let b = service("b", "listen = \":81\"");
    let jobs = service("jobs", "kind = \"worker\"");
    let every = "proxy = {}";
    let both = service("a", "listen = \":80\"\nproxy = {}") + &b + every;
    let said = [
        written(&(a.clone() + &b), Proxy::Haproxy, &[]),
        written(&both, Proxy::Nginx, &[]),
        written(&(a.clone() + &jobs), Proxy::Nginx, &["a", "jobs"]),
        written(&jobs, Proxy::Nginx, &[]),
    ];
    let said = said.map(Result::unwrap_err);
    assert_eq!(
        said,
        [
            "no service of this file says which hosts are its own\n  \
             add `proxy = { domains = [\"a.example\"] }` to each, or name one for every host\n",
            "`a` and `b` both take every host\n  \
             add `proxy = { domains = [\"b.example\"] }` to one of them\n",
            "`jobs` has no address that a proxy could connect to\n  \
             a proxy needs `listen`, or one fixed `port`\n",
            "no service of this file has an address that a proxy could connect to\n  \
             a proxy needs `listen`, or one fixed `port`\n",
        ]
    );
    // The only one that there is, and one that is named, take every host.
    let only = written(&(a.clone() + &jobs), Proxy::Haproxy, &[]).unwrap();
    let named = written(&(a + &b), Proxy::Haproxy, &["b"]).unwrap();
    assert!(only.text.contains("default_backend a\n"), "{}", only.text);
    assert!(named.text.contains("default_backend b\n"), "{}", named.text);
}

const FOR_NEWER: &str = "\n    keepalive_min_timeout 5s;\n";

/// Nobody else's file has a word that older releases do not know.
pub(super) fn a_newer_nginx_keeps_connections() {
    let texts = cases().into_iter().map(|case| {
        let path = case.join("expected").join(Proxy::Nginx.file());
        fs::read_to_string(path).unwrap()
    });
    let texts: Vec<String> = texts.filter(|text| text.contains(FOR_NEWER)).collect();
    assert_eq!(texts.len(), 1);
    assert_eq!(Proxy::Nginx.check_by(NEWER_NGINX, &texts[0]), Ok(()));
    let typo = texts[0].replace("keepalive_min", "keepalive_mim");
    let said = Proxy::Nginx.check_by(NEWER_NGINX, &typo).unwrap_err();
    assert!(said.contains("keepalive_mim_timeout"), "{said}");
}

/// As it is, beside a main file as small as can be.
pub(super) fn accepts_every_case(proxy: Proxy) {
    for case in cases() {
        let path = case.join("expected").join(proxy.file());
        let Ok(text) = fs::read_to_string(&path) else {
            let refused = case
                .join("expected")
                .join(format!("{}.refused", proxy.program()));
            assert!(refused.exists(), "{} is not there", path.display());
            continue;
        };
        if proxy == Proxy::Nginx && text.contains(FOR_NEWER) {
            continue;
        }
        let said = proxy.check(&text);
        assert_eq!(said, Ok(()), "{}", path.display());
        // One letter less, and it is not.
        let (word, typo) = match proxy {
            Proxy::Haproxy => ("timeout server", "timeout serve"),
            Proxy::Nginx => ("proxy_read_timeout", "proxy_red_timeout"),
            Proxy::Caddy => ("dial_timeout", "dial_timout"),
            Proxy::Traefik => ("responseHeaderTimeout", "responseHeaderTimout"),
        };
        let said = proxy.check(&text.replace(word, typo));
        assert!(said.is_err(), "{}: {typo} was taken", path.display());
    }
}
