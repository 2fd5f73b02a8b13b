use proptest::prelude::*;

use super::*;
use crate::model::AbsolutePath;

fn name(text: &str) -> ReleaseName {
    ReleaseName::parse(text).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Releases with what became of each, in seconds.
fn releases(current: &str, all: &[(&str, &[(Mark, u64)])]) -> Releases {
    let found = all.iter().map(|(release, marks)| {
        let mut record = Record::new(name(release), at(0));
        for (mark, time) in *marks {
            record.mark(*mark, at(*time));
        }
        Found {
            name: name(release),
            kind: Kind::Ours(Box::new(record)),
        }
    });
    Releases {
        current: Some(name(current)),
        all: found.collect(),
        ..Releases::default()
    }
}

fn config(keep: u32, keep_days: Option<u32>) -> model::Release {
    model::Release {
        root: AbsolutePath::parse("/srv/shop").unwrap(),
        keep,
        keep_days,
    }
}

#[test]
fn the_way_back_leads_to_the_good_one_before() {
    use Mark::{Failed, Served};
    let check = |current, all: &[(&str, &[(Mark, u64)])]| {
        let releases = releases(current, all);
        let shown = |name: Option<&ReleaseName>| name.map_or("none".into(), ToString::to_string);
        format!(
            "{} {}",
            shown(releases.serving()),
            shown(releases.previous())
        )
    };
    let said = [
        check("a", &[("a", &[])]),
        check("a", &[("a", &[(Served, 1)])]),
        check("b", &[("a", &[(Served, 1)]), ("b", &[(Served, 2)])]),
        // Rolled back, and the newer one was good.
        check(
            "a",
            &[("a", &[(Served, 1), (Served, 3)]), ("b", &[(Served, 2)])],
        ),
        // Rolled back, and the newer one was not.
        check(
            "b",
            &[
                ("a", &[(Served, 1)]),
                ("b", &[(Served, 2), (Served, 4)]),
                ("c", &[(Served, 3), (Failed, 4)]),
            ],
        ),
        // Somebody switched `current` by hand; `b` still runs.
        check(
            "c",
            &[("a", &[(Served, 1)]), ("b", &[(Served, 2)]), ("c", &[])],
        ),
        // Everything broke off after `current` was switched.
        check("b", &[("a", &[(Served, 1)]), ("b", &[(Failed, 2)])]),
    ];
    assert_eq!(
        said,
        ["none none", "a none", "b a", "a b", "b a", "b b", "a a"]
    );
}

#[test]
fn a_roll_back_crosses_what_changed_data_since() {
    use Mark::{Failed, Migrated, MigratedDown, Served};
    let all: [(&str, &[(Mark, u64)]); 6] = [
        ("a", &[(Migrated, 1), (Served, 2)]),
        ("b", &[(Served, 3)]),
        ("c", &[(Migrated, 4), (Served, 5)]),
        ("d", &[(Migrated, 6), (Failed, 7), (MigratedDown, 8)]),
        ("e", &[(Migrated, 9), (Failed, 10)]),
        ("f", &[(Migrated, 11), (Served, 12)]),
    ];
    let releases = releases("f", &all);
    let check = |from, to| {
        let crossed = crossed(&releases, &name(from), &name(to));
        crossed.iter().map(ReleaseName::as_str).collect::<String>()
    };
    let said = [
        check("f", "a"),
        check("f", "c"),
        check("b", "a"),
        check("a", "f"),
        check("f", "f"),
    ];
    // Between `b` and `a` lies nothing, but the data have been changed by others since.
    assert_eq!(said, ["cef", "ef", "cef", "", ""]);
}

#[test]
fn count_and_age_decide_together() {
    use Mark::Served;
    let day = 24 * 60 * 60;
    let mut releases = releases(
        "e",
        &[
            ("a", &[(Served, day)]),
            ("b", &[(Served, 2 * day)]),
            ("c", &[(Served, 3 * day)]),
            ("d", &[(Served, 4 * day)]),
            ("e", &[(Served, 5 * day)]),
        ],
    );
    releases.all.push(Found {
        name: name("theirs"),
        kind: Kind::Foreign,
    });
    let removed = |keep, days| {
        let names = to_remove(&releases, &config(keep, days), at(6 * day));
        names.iter().map(ReleaseName::as_str).collect::<String>()
    };
    let said = [
        removed(2, None),
        removed(3, None),
        removed(9, None),
        removed(2, Some(4)),
        removed(2, Some(3)),
        removed(3, Some(3)),
        removed(2, Some(30)),
    ];
    assert_eq!(said, ["cba", "ba", "", "a", "ba", "ba", ""]);

    let later = releases.once_served(&name("f"), at(6 * day));
    assert_eq!(later.previous(), Some(&name("e")));
    let names = to_remove(&later, &config(4, None), at(6 * day));
    assert_eq!(names, [name("b"), name("a")]);
}

#[test]
fn a_default_name_is_the_time_and_is_never_taken() {
    let mut taken = Releases::default();
    let mut names = Vec::new();
    for _ in 0..3 {
        let new = default_name(at(1_700_000_000), &taken);
        names.push(new.to_string());
        taken.all.push(Found {
            name: new,
            kind: Kind::Foreign,
        });
    }
    assert_eq!(
        names,
        [
            "2023-11-14T22.13.20",
            "2023-11-14T22.13.20-2",
            "2023-11-14T22.13.20-3"
        ]
    );
}

fn marks() -> impl Strategy<Value = Vec<(Mark, u64)>> {
    let mark = prop::sample::select(vec![
        Mark::Served,
        Mark::Failed,
        Mark::Migrated,
        Mark::MigratedDown,
    ]);
    prop::collection::vec((mark, 0..10_000_000u64), 0..5)
}

fn any_releases() -> impl Strategy<Value = Releases> {
    let link = || prop::option::of((0..12usize).prop_map(|number| name(&format!("r{number}"))));
    (prop::collection::vec(marks(), 0..12), link(), link()).prop_map(|(all, current, next)| {
        let named: Vec<(String, Vec<(Mark, u64)>)> = (0..)
            .map(|number: usize| format!("r{number}"))
            .zip(all)
            .collect();
        let borrowed: Vec<(&str, &[(Mark, u64)])> = named
            .iter()
            .map(|(name, marks)| (name.as_str(), marks.as_slice()))
            .collect();
        Releases {
            current,
            next,
            ..releases("r0", &borrowed)
        }
    })
}

proptest! {
    #[test]
    fn what_is_needed_is_never_removed(
        releases in any_releases(),
        keep in 2..6u32,
        days in prop::option::of(1..200u32),
        now in 0..20_000_000u64,
    ) {
        let removed = to_remove(&releases, &config(keep, days), at(now));
        let needed = [
            releases.current.as_ref(),
            releases.next.as_ref(),
            releases.serving(),
            releases.previous(),
        ];
        for name in needed.into_iter().flatten() {
            prop_assert!(!removed.contains(name), "{name} is needed");
        }
        let left = releases.records().count() - removed.len();
        prop_assert!(left >= releases.records().count().min(keep as usize));
        // Nothing that stays beyond the count is old and unneeded, and nothing newer goes.
        let gone = |record: &&Record| removed.contains(&record.name);
        let oldest_kept = releases.records().filter(|record| !gone(record))
            .filter(|record| !needed.contains(&Some(&record.name)))
            .map(Record::last_use).min();
        let newest_gone = releases.records().filter(gone).map(Record::last_use).max();
        if let (Some(kept), Some(gone)) = (oldest_kept, newest_gone) {
            prop_assert!(gone <= kept);
        }
        if days.is_none() {
            prop_assert!(left <= keep as usize + needed.len());
        }
    }
}
